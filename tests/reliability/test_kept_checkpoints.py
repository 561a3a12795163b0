"""Which checkpoints are kept, which names others see of them, and what a second save of a step replaces."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer

from prefopt.errors import UserError
from prefopt.trainers.checkpointing import manifest
from prefopt.trainers.checkpointing.choice import newest_whole_checkpoint
from prefopt.trainers.checkpointing.leftovers import aside_of
from prefopt.trainers.checkpointing.placing import place, remove_older
from prefopt.trainers.checkpointing.verification import verify
from prefopt.trainers.offline_trainer import OfflineTrainer
from scripts.faults.checkpoints import trained
from scripts.faults.stop_signals import told_to_stop
from scripts.faults.tiny_trainers import TRAINERS, offline, reward


def steps(run: Path) -> list[int]:
    """Steps of the checkpoints in a folder."""
    return sorted(int(path.name.rpartition("-")[2]) for path in run.glob("checkpoint-*"))


@pytest.mark.parametrize("kind", TRAINERS)
def test_the_limit(kind: str, tmp_path: Path) -> None:
    """A checkpoint a step, two kept: 5 and 6."""
    trained(kind, tmp_path, save_steps=1, save_total_limit=2)
    assert steps(tmp_path) == [5, 6]
    assert all(verify(path).valid for path in tmp_path.glob("checkpoint-*"))


def test_a_damaged_checkpoint_does_not_count(tmp_path: Path) -> None:
    """Of 1 to 4 with 3 damaged and two to keep: 4 and 2. Where 4 is damaged itself, none goes."""
    trained("reward", tmp_path, save_steps=1, max_steps=4)
    state = tmp_path / "checkpoint-3" / "optimizer.pt"
    whole = state.read_bytes()
    state.write_bytes(whole[:-1])
    newest = tmp_path / "checkpoint-4"
    weights = newest / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(b"")
    remove_older(newest, 2, None)
    assert steps(tmp_path) == [1, 2, 3, 4]
    weights.write_bytes(content)
    remove_older(newest, 2, None)
    assert steps(tmp_path) == [2, 4]


class Losses(dict):
    """Evaluation losses by step: the best is 2."""

    def __missing__(self, step: int) -> float:
        return 0.5 if step == 2 else 1.0


def test_the_best_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Step 2 evaluates best: with a limit of 1 it is kept beside the newest, and its state names the final folder."""
    settings: dict[str, Any] = {
        "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1, "max_steps": 4,
        "save_total_limit": 1, "metric_for_best_model": "loss", "load_best_model_at_end": True,
    }  # fmt: skip
    trainer = reward(tmp_path, **settings)
    monkeypatch.setattr(trainer, "_evaluate", lambda *_, **__: {"eval_loss": Losses()[trainer.state.global_step]})
    at_two: dict[str, torch.Tensor] = {}
    original = trainer._save_checkpoint

    def watched(*given: Any) -> None:
        original(*given)
        if trainer.state.global_step == 2:
            at_two.update({name: value.clone() for name, value in trainer.model.state_dict().items()})
        best = tmp_path / f"checkpoint-{min(trainer.state.global_step, 2)}"
        assert trainer.state.best_model_checkpoint == str(best)
        here = tmp_path / f"checkpoint-{trainer.state.global_step}" / "trainer_state.json"
        said = json.loads(here.read_text())
        assert said["best_model_checkpoint"] == str(best)
        assert said["best_global_step"] == min(trainer.state.global_step, 2)
        assert steps(tmp_path) == sorted({min(trainer.state.global_step, 2), trainer.state.global_step})

    monkeypatch.setattr(trainer, "_save_checkpoint", watched)
    trainer.train()
    assert all(torch.equal(value, at_two[name]) for name, value in trainer.model.state_dict().items())


def test_a_best_checkpoint_that_is_damaged_is_not_loaded(tmp_path: Path) -> None:
    """Nor are the others removed for it."""
    trainer = reward(
        tmp_path, eval_strategy="steps", eval_steps=2, save_strategy="steps", save_steps=2, max_steps=4,
        metric_for_best_model="loss", load_best_model_at_end=True,
    )  # fmt: skip
    original = trainer._finalize_training

    def damaged(*given: Any) -> Any:
        weights = Path(trainer.state.best_model_checkpoint) / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1])
        return original(*given)

    trainer._finalize_training = damaged
    with pytest.raises(UserError, match=r"the best checkpoint, .*, cannot be loaded: model.safetensors is truncated"):
        trainer.train()
    assert steps(tmp_path) == [2, 4]


def test_what_is_pushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push sees the final folder, whole."""
    pushed: list[str] = []

    def push(self: Any, folder: str) -> None:
        assert verify(Path(folder)).valid
        pushed.append(folder)

    monkeypatch.setattr(Trainer, "_push_from_checkpoint", push)
    trainer = offline(tmp_path, save_strategy="steps", save_steps=1, max_steps=2)
    trainer.args.push_to_hub = True
    monkeypatch.setattr(Trainer, "_finish_current_push", lambda self: None)
    trainer.train()
    assert pushed == [str(tmp_path / "checkpoint-1"), str(tmp_path / "checkpoint-2")]


def test_a_second_save_of_a_step(tmp_path: Path) -> None:
    """It takes the place of the first; nothing of it is left."""
    trainer = trained("offline", tmp_path)
    (tmp_path / "checkpoint-6" / "stray.txt").write_text("of the first", encoding="utf-8")
    trainer._save_checkpoint(trainer.model, None)
    assert not (tmp_path / "checkpoint-6" / "stray.txt").exists()
    assert verify(tmp_path / "checkpoint-6").valid
    assert [path.name for path in tmp_path.glob("_*")] == []


def test_a_rename_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first checkpoint of the step gets its name back; after a kill in between, the next run gives it."""
    trained("offline", tmp_path)
    target, staged = tmp_path / "checkpoint-6", tmp_path / "_unfinished-6" / "checkpoint-6"
    shutil.copytree(target, staged)
    rename = os.replace

    def refused(source: Any, goal: Any) -> None:
        if Path(source) == staged:
            raise OSError("refused")
        rename(source, goal)

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(OSError, match="refused"):
        place(staged, target)
    assert verify(target).valid
    monkeypatch.undo()
    os.replace(target, aside_of(target))
    assert newest_whole_checkpoint(tmp_path) == str(target)
    assert steps(tmp_path) == [3, 6]


def test_what_a_killed_save_left_is_removed(tmp_path: Path) -> None:
    """By the next run, before it trains."""
    (tmp_path / "_unfinished-9" / "checkpoint-9").mkdir(parents=True)
    (tmp_path / "_unfinished-model").mkdir()
    trainer = offline(tmp_path, max_steps=1)
    trainer.train()
    assert [path.name for path in tmp_path.glob("_*")] == []


def test_another_machine_gives_the_name_back_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines with one disk find what a kill between two renames left; the second finds it gone."""
    trained("offline", tmp_path)
    target, rename = tmp_path / "checkpoint-6", os.replace
    os.replace(target, aside_of(target))

    def first(source: Any, goal: Any) -> None:
        rename(source, goal)
        rename(source, goal)

    monkeypatch.setattr(os, "replace", first)
    assert newest_whole_checkpoint(tmp_path) == str(target)


class Noting(OfflineTrainer):
    """Writes files of its own, before and after its base does."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        place = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "before.txt").write_text("mine", encoding="utf-8")
        super()._save_checkpoint(model, trial)
        (place / "after.txt").write_text("mine", encoding="utf-8")


def test_everything_that_a_class_writes_is_staged(tmp_path: Path) -> None:
    """A stateful objective's file, which the class itself writes, and those of a subclass are in the manifest."""
    trainer = offline(tmp_path, recipe="bco_pair", save_strategy="steps", save_steps=1, max_steps=2)
    trainer.__class__ = Noting
    trainer.train()
    assert {"before.txt", "after.txt", "objective_state.safetensors"} <= manifest.read(
        tmp_path / "checkpoint-2"
    ).files.keys()
    assert verify(tmp_path / "checkpoint-1").valid


def test_a_run_begun_anew_in_the_folder_of_an_earlier_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The earlier run left checkpoints 3 and 6, the new one was stopped after its step 2: 2 is gone on from."""
    trained("offline", tmp_path)
    trained("offline", tmp_path, max_steps=2, save_steps=2)
    assert steps(tmp_path) == [2, 3, 6]
    assert newest_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
    assert "checkpoint-6 is skipped: it is of an earlier run in this folder than checkpoint-2" in caplog.text
    assert "begins anew in" in caplog.text
    assert "checkpoint-6 and others of an earlier run" in caplog.text


def test_a_run_that_went_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of 3 and 6, 3 is asked for, and the run stopped after step 4: that is gone on from, not the abandoned 6."""
    trained("offline", tmp_path)
    again = offline(tmp_path, save_strategy="steps", save_steps=2, max_steps=4)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert steps(tmp_path) == [3, 4, 6]
    assert newest_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    more = offline(tmp_path, save_strategy="steps", save_steps=1, max_steps=5)
    more.train(resume_from_checkpoint=True)
    assert newest_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-5")
    assert verify(tmp_path / "checkpoint-5").run == verify(tmp_path / "checkpoint-4").run


@pytest.mark.parametrize("stops", [True, False])
def test_the_newest_stays_beside_the_best(stops: bool, tmp_path: Path) -> None:
    """The loss falls and a greater one counts as better, so that step 1 is the best. With a limit of 1, the newest
    stays at the end as well, whether the run was told to stop in step 3 or came to its end at 4: it is the one that
    a resumed run goes on from.
    """
    settings: dict[str, Any] = {
        "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1, "max_steps": 4,
        "save_total_limit": 1, "metric_for_best_model": "loss", "greater_is_better": True, "learning_rate": 1e-3,
    }  # fmt: skip
    if stops:
        assert told_to_stop("offline", tmp_path, "backward", 3, **settings)[1] == 143
    else:
        offline(tmp_path, **settings).train()
    assert steps(tmp_path) == [1, 3 if stops else 4]
