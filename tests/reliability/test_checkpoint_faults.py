"""Every file of a checkpoint, damaged in every way: noticed, named, and the checkpoint before is taken."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainingArguments

from prefopt.errors import UserError
from prefopt.trainers.checkpointing import choice, manifest
from prefopt.trainers.checkpointing.choice import checkpoint_to_resume, newest_whole_checkpoint
from prefopt.trainers.checkpointing.verification import verify
from scripts.faults.checkpoints import FAULTS, damaged, resumed_from_the_one_before, trained
from scripts.faults.tiny_trainers import TRAINERS, parameters
from tests.tiny import tiny_llama

WRITTEN = {
    "online": {"critic.safetensors", "online_state_0.safetensors", "online_state_0.json"},
    "offline": {"moving_reference.safetensors"},
    "reward": {"reward_head.json"},
}
ALWAYS = {
    "model.safetensors", "config.json", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json",
    "training_args.json", "manifest.json", "tokenizer.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, object]]:
    """A finished run of each trainer, with checkpoints 3 and 6."""
    place = tmp_path_factory.mktemp("runs")
    return {kind: (place / kind, trained(kind, place / kind)) for kind in TRAINERS}


@pytest.mark.parametrize("kind", TRAINERS)
def test_every_damage_is_noticed(kind: str, runs: dict, tmp_path: Path) -> None:
    """Each file x missing, empty, truncated, a flipped bit, swapped with that of step 3: 3 is taken, the file named."""
    run = shutil.copytree(runs[kind][0], tmp_path / "run")
    found = list(damaged(run, seed=0))
    assert {one.file for one in found} >= ALWAYS | WRITTEN[kind]
    assert {one.fault for one in found} == set(FAULTS)
    assert [one for one in found if not one.noticed] == []


@pytest.mark.parametrize("kind", TRAINERS)
def test_the_run_goes_on_from_the_one_before(
    kind: str, runs: dict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the bits of the run that was not stopped, and the reason stands in the log."""
    run = shutil.copytree(runs[kind][0], tmp_path / "run")
    with caplog.at_level(logging.WARNING):
        assert resumed_from_the_one_before(kind, run, runs[kind][1])
    said = [record.message for record in caplog.records if "is skipped" in record.message]
    assert said
    assert all("checkpoint-6" in line and "truncated" in line for line in said)
    assert verify(run / "checkpoint-6").valid  # written anew, in place of the damaged one


def test_a_damaged_checkpoint_that_is_named(runs: dict, tmp_path: Path) -> None:
    """An explicit path is refused with the reason and the newest that is whole; by `Trainer.train`, too."""
    run = shutil.copytree(runs["reward"][0], tmp_path / "run")
    (run / "checkpoint-6" / "optimizer.pt").unlink()
    expected = (
        r"checkpoint-6 cannot be resumed from: optimizer.pt is missing; the newest that is whole is .*checkpoint-3"
    )
    with pytest.raises(UserError, match=expected):
        checkpoint_to_resume(str(run / "checkpoint-6"), str(run))
    with pytest.raises(UserError, match=expected):
        TRAINERS["reward"](run).train(resume_from_checkpoint=str(run / "checkpoint-6"))


def test_a_folder_of_another_step(runs: dict, tmp_path: Path) -> None:
    """Checkpoint 3 under the name of 9 is not step 9."""
    run = shutil.copytree(runs["reward"][0], tmp_path / "run")
    shutil.copytree(run / "checkpoint-3", run / "checkpoint-9")
    assert verify(run / "checkpoint-9").reason == "trainer_state.json is of step 3, and the folder's name says 9"
    assert newest_whole_checkpoint(run) == str(run / "checkpoint-6")


def test_a_checkpoint_of_ours_without_manifest(runs: dict, tmp_path: Path) -> None:
    """It was not written to its end; a file that is not in the manifest does no harm."""
    run = shutil.copytree(runs["offline"][0], tmp_path / "run")
    (run / "checkpoint-6" / "notes.txt").write_text("mine", encoding="utf-8")
    assert newest_whole_checkpoint(run) == str(run / "checkpoint-6")
    (run / "checkpoint-6" / "manifest.json").unlink()
    assert "manifest.json is missing" in verify(run / "checkpoint-6").reason
    assert newest_whole_checkpoint(run) == str(run / "checkpoint-3")


def test_what_a_manifest_says(runs: dict) -> None:
    """Step, versions, processes, trainer, recipe, hash of the state, data, promise, every file."""
    run, trainer = runs["online"]
    said = manifest.read(run / "checkpoint-6")
    assert (said.step, said.processes, said.trainer, said.level, said.reasons) == (6, 1, "OnlineTrainer", 1, ())
    assert said.versions["torch"] == torch.__version__.partition("+")[0] or said.versions["torch"] == torch.__version__
    assert {"prefopt", "torch", "transformers", "trl"} <= said.versions.keys()
    assert said.recipe["recipe"] == "gae"
    assert said.objective_state == manifest.hash_of(trainer.objective_state)
    assert said.data["rows"] == len(trainer.train_dataset)
    names = {path.name for path in (run / "checkpoint-6").iterdir()} - {"manifest.json"}
    assert set(said.files) == names
    assert said.run == manifest.read(run / "checkpoint-3").run
    assert json.loads((run / "checkpoint-6" / "manifest.json").read_text())["format"] == 1


def test_a_checkpoint_of_plain_transformers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Accepted with a lower promise that names what is absent; damaged, it is refused as far as its files tell."""
    from scripts.faults.tiny_trainers import offline

    settings = TrainingArguments(
        output_dir=str(tmp_path), max_steps=2, save_steps=2, use_cpu=True, report_to=[], disable_tqdm=True
    )
    rows = [{"input_ids": [1, 2, 3], "labels": [1, 2, 3]}] * 16
    Trainer(tiny_llama(hidden=16, layers=1, positions=128), settings, train_dataset=rows).train()
    checkpoint = tmp_path / "checkpoint-2"
    assert verify(checkpoint).valid
    (checkpoint / "optimizer.pt").unlink()
    trainer = offline(tmp_path, max_steps=3)
    trainer.train(resume_from_checkpoint=True)
    said = capsys.readouterr().out
    assert "L3" in said
    assert "a checkpoint of plain transformers" in said
    assert "it has no optimizer.pt, so the optimiser's state begins anew" in said
    assert parameters(trainer)
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert verify(checkpoint).reason == "model.safetensors is damaged"


def test_a_change_within_a_tick_of_the_clock(runs: dict, tmp_path: Path) -> None:
    """What was found is remembered only once the files have settled: a change straight after a look is seen."""
    run = shutil.copytree(runs["reward"][0], tmp_path / "run")
    file = run / "checkpoint-6" / "rng_state.pth"
    content = file.read_bytes()
    for _ in range(20):
        file.write_bytes(content)
        assert verify(run / "checkpoint-6").valid
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert not verify(run / "checkpoint-6").valid


def test_a_file_that_the_disk_does_not_give(runs: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad sector, or a file of another user: said, and the checkpoint before is taken."""
    run = shutil.copytree(runs["reward"][0], tmp_path / "run")
    digest = hashlib.file_digest

    def refused(file: Any, name: str) -> Any:
        if Path(file.name) == run / "checkpoint-6" / "optimizer.pt":
            raise OSError(errno.EIO, "Input/output error")
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", refused)
    assert verify(run / "checkpoint-6").reason == "optimizer.pt cannot be read: Input/output error"
    assert newest_whole_checkpoint(run) == str(run / "checkpoint-3")


def test_one_process_of_a_machine_looks(runs: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one is told, and reads no checkpoint a second time."""
    run = shutil.copytree(runs["reward"][0], tmp_path / "run")
    found = verify(run / "checkpoint-6")
    monkeypatch.setattr(choice, "leads_machine", lambda: False)
    monkeypatch.setattr(choice, "gathered", lambda mine: [found, mine])
    monkeypatch.setattr(choice, "verify", lambda folder: pytest.fail(f"{folder} was read"))
    assert choice.verdict_of(run / "checkpoint-6") == found
    assert checkpoint_to_resume(str(run / "checkpoint-6"), str(run)) == str(run / "checkpoint-6")
