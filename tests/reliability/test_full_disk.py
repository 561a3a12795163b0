"""A disk that is full: older checkpoints stay as they were, and the message says what is intact."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from prefopt.trainers.checkpointing.failure import SaveError
from prefopt.trainers.checkpointing.verification import verify
from scripts.faults.full_disk import refusals, until_full
from scripts.faults.small_disk import small_disk
from scripts.faults.tiny_trainers import TRAINERS


@pytest.mark.parametrize("kind", TRAINERS)
def test_a_save_that_is_refused_room(kind: str, tmp_path: Path) -> None:
    """At five sizes from nothing to just below the largest file: no trace is left of the save, checkpoint 3 is whole.

    The message names what failed, the room that is left, and where a resumed run goes on.
    """
    for one in refusals(kind, tmp_path, 5):
        assert one.said.startswith("checkpoint-6 could not be saved: "), one.said
        assert "File too large" in one.said or "as on a full disk" in one.said
        assert f"{tmp_path / 'run'} still holds checkpoint-3, whole" in one.said
        assert "start the run again: resume goes on from checkpoint-3" in one.said
        assert one.left == one.before
        assert "checkpoint-3 is whole" in one.left


def test_a_disk_of_one_megabyte(tmp_path: Path) -> None:
    """Checkpoints are written until it is full: all of them are whole, and the run stops and says so."""
    with small_disk(tmp_path, 1024) as disk:
        if disk is None:
            pytest.skip("this user may not mount a small file system")
        said, whole = until_full("reward", disk.path / "run")
        assert "No space left on device" in said or "as on a full disk" in said
        assert len(whole) > 1
        assert f"{disk.path}/run still holds {', '.join(whole)}, whole" in said
        assert not list((disk.path / "run").glob("_unfinished*"))


class Full:
    """Writes that end with ENOSPC while ``full``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = True
        original = torch.save

        def save(*given: Any, **named: Any) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            original(*given, **named)

        monkeypatch.setattr(torch, "save", save)


def test_the_run_may_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """With ``on_failed_save: continue`` a failed save is an error in the log, and the next one is tried."""
    disk = Full(monkeypatch)
    settings = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4}
    trainer = TRAINERS["offline"](tmp_path, on_failed_save="continue", **settings)
    original = trainer._save_checkpoint

    def freed(*given: Any) -> None:
        original(*given)
        disk.full = False

    monkeypatch.setattr(trainer, "_save_checkpoint", freed)
    trainer.train()
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-4"]
    assert verify(tmp_path / "checkpoint-4").valid
    assert "checkpoint-2 could not be saved" in caplog.text
    assert "The run goes on, as on_failed_save says" in caplog.text


def test_the_model_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A final save that fails leaves the older model in the folder as it was."""
    trainer = TRAINERS["offline"](tmp_path, max_steps=1)
    trainer.train()
    trainer.save_model()
    before = load_file(tmp_path / "model.safetensors")
    names = {path.name for path in tmp_path.iterdir()}
    with torch.no_grad():
        next(trainer.model.parameters()).add_(1)
    monkeypatch.setattr(
        type(trainer.processing_class), "save_pretrained", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(SaveError, match="the model could not be saved"):
        trainer.save_model()
    after = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {path.name for path in tmp_path.iterdir()} == names
