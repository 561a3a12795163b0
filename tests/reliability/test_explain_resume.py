"""``--explain-resume`` and the level that is promised: from settings and checkpoint, without a model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prefopt.cli import main
from prefopt.trainers.checkpointing.explain import explain_resume
from prefopt.trainers.checkpointing.promise import Promise, promise_at_resume, promise_of
from prefopt.trainers.checkpointing.verification import verify
from prefopt.trainers.stages import StagedRun
from scripts.faults.checkpoints import trained
from scripts.faults.tiny_trainers import TRAINERS


class Settings:
    """What a promise is made from."""

    def __init__(self, device: str = "cpu", **changed: Any) -> None:
        given = {
            "world_size": 1, "full_determinism": False, "use_vllm": False, "save_only_model": False,
            "ignore_data_skip": False, "deepspeed": None, "fsdp": "",
        }  # fmt: skip
        self.device = type("Device", (), {"type": device})()
        self.__dict__.update({**given, **changed})


@pytest.mark.parametrize(
    ("settings", "promise"),
    [
        (Settings(), Promise(1)),
        (Settings(world_size=2), Promise(1)),
        (Settings("cuda"), Promise(3, ("cuda without full_determinism",))),
        (Settings("cuda", full_determinism=True), Promise(2, ("cuda with full_determinism",))),
        (Settings("cuda", full_determinism=True, world_size=2), Promise(3, ("2 processes on cuda",))),
        (Settings(use_vllm=True), Promise(3, ("vLLM generates",))),
        (
            Settings(save_only_model=True),
            Promise(3, ("save_only_model: optimiser and random numbers are not saved",)),
        ),
        (Settings(ignore_data_skip=True), Promise(3, ("ignore_data_skip: rows that were seen are seen again",))),
    ],
)
def test_levels(settings: Settings, promise: Promise) -> None:
    """L1 on a CPU, L2 on one GPU with deterministic kernels, L3 with the reason otherwise."""
    assert promise_of(settings) == promise


def test_what_lowers_it(tmp_path: Path) -> None:
    """Another learning rate, other versions or other data than those of the checkpoint; where they go doesn't."""
    trainer = trained("reward", tmp_path)
    found, data = verify(tmp_path / "checkpoint-6"), {"rows": 8, "sha256": "other"}
    assert promise_at_resume(trainer.args, found).level == 1
    assert promise_at_resume(replace(trainer.args, output_dir="elsewhere", save_steps=1), found).level == 1
    other = promise_at_resume(replace(trainer.args, learning_rate=0.5), found)
    assert (other.level, other.reasons) == (3, ("learning_rate was 0.01 and is 0.5",))
    assert found.manifest is not None
    aged = replace(found, manifest=replace(found.manifest, versions={**found.manifest.versions, "torch": "1.0"}))
    assert "torch was 1.0 and is" in promise_at_resume(trainer.args, aged).reasons[0]
    assert "other training data: 8 rows then" in promise_at_resume(trainer.args, found, data).reasons[0]
    moved = replace(found, manifest=replace(found.manifest, level=2, reasons=("cuda with full_determinism",)))
    assert promise_at_resume(trainer.args, moved) == Promise(
        3, ("written at L2 (cuda with full_determinism), resumed at L1",)
    )


@pytest.mark.parametrize("kind", TRAINERS)
def test_what_is_explained(kind: str, tmp_path: Path) -> None:
    """Which checkpoints there are, what is wrong with one, which is taken, what is restored; nothing is changed."""
    trainer = trained(kind, tmp_path)
    weights = tmp_path / "checkpoint-6" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    (tmp_path / "_unfinished-9").mkdir()
    before = sorted(tmp_path.rglob("*"))
    said = explain_resume(trainer.args).splitlines()
    assert sorted(tmp_path.rglob("*")) == before
    assert said[0] == f"checkpoints in {tmp_path}: 2"
    assert said[1].startswith("  checkpoint-6: damaged: model.safetensors is truncated: ")
    assert said[2].startswith("  checkpoint-3: whole, written 20")
    assert said[3] == f"taken: {tmp_path / 'checkpoint-3'}, step 3"
    assert said[4] == "promise: L1: the same bits as a run that was not stopped"
    restored = next(line for line in said if line.startswith("restored: "))
    for what in ("weights", "the optimiser's state", "the learning-rate schedule", "random numbers"):
        assert what in restored
    own = {"online": "rollouts", "offline": "the moving reference", "reward": "weights"}
    assert own[kind] in restored
    assert "settings changed since: none" in said
    asked = explain_resume(trainer.args, str(tmp_path / "checkpoint-6"))
    assert "none can be resumed from" in asked


COMMANDS = {
    "reward": ["train-reward", "--model", "none", "--data", "none.jsonl"],
    "offline": ["align-offline", "--model", "none", "--data", "none.jsonl"],
    "online": ["align-online", "--model", "none", "--data", "none.jsonl", "--rewards", '[{"source": "exact_answer"}]'],
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_the_flag(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither model nor data need to be there."""
    trained(kind, tmp_path)
    rewards = ["--num-generations", "4"] if kind == "online" else []
    assert (
        main([*COMMANDS[kind], *rewards, "--output-dir", str(tmp_path), "--use-cpu", "true", "--explain-resume"]) == 0
    )
    said = capsys.readouterr().out
    assert f"taken: {tmp_path / 'checkpoint-6'}, step 6" in said
    assert "learning_rate from 0.01 to " in said
    assert "promise: L3" in said


def test_a_run_without_a_checkpoint(tmp_path: Path) -> None:
    """Said as it is: with resume it is refused."""
    said = explain_resume(type("Config", (), {"output_dir": str(tmp_path)})()).splitlines()
    assert said == [
        f"{tmp_path} holds no checkpoint",
        "none can be resumed from: resume is refused; without it the run begins anew",
    ]


def test_a_run_of_several_stages(tmp_path: Path) -> None:
    """What is finished, and where the stage that was stopped goes on."""
    run = StagedRun(tmp_path)
    run.stage("guide", {}, lambda place: {})
    done: dict[str, Any] = {}

    def stopped(place: Path) -> Any:
        done["trainer"] = trained("offline", place)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.stage("policy", {}, stopped)
    said = explain_resume(replace(done["trainer"].args, output_dir=str(tmp_path)))
    assert "guide: finished in 0 s, not repeated" in said
    assert "policy: begun, goes on" in said
    assert "checkpoint-6: whole" in said
    assert json.loads((tmp_path / "policy" / "stage.json").read_text())["finished"] is False
