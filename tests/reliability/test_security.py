"""Canaries: files that are written if anything runs that was only to be read. None may fire."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.faults.canaries import files, folders, plants, runs
from scripts.faults.canaries.outcome import Outcome


def check(found: list[Outcome], at_least: int) -> None:
    """No canary fired, what had to be refused was, and a refusal is a sentence."""
    assert len(found) >= at_least
    assert [outcome.name for outcome in found if outcome.fired] == []
    assert [outcome.name for outcome in found if not outcome.held] == []
    assert [outcome.name for outcome in found if outcome.refusal is not None and len(outcome.refusal) < 20] == []


def test_a_canary_fires_where_it_is_let(tmp_path: Path) -> None:
    """The traps are real: unpickled as they are, both kinds write the canary; else nothing here would prove a thing."""
    import pickle

    import torch

    plants.trap(tmp_path / "bare", tmp_path / "first")
    plants.trap(tmp_path / "archive", tmp_path / "second", zipped=True)
    pickle.loads((tmp_path / "bare").read_bytes())
    torch.load(tmp_path / "archive", weights_only=False)
    assert (tmp_path / "first").exists()
    assert (tmp_path / "second").exists()


def test_model_folders_and_adapters(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Pickled weights, code beside or in place of a model or tokenizer, kernels, indices that lead elsewhere: for every
    loader of policies, reward models, judges, adapters, and for `score`, `serve` and `average`.
    """
    check(folders.try_all(tmp_path), 130)


def test_configurations_data_templates_and_caches(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """YAML tags, pickled tests and columns, folders with scripts, templates that reach out of their sandbox."""
    check(files.try_all(tmp_path), 20)


def test_checkpoints(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """All three trainers go on from checkpoints whose optimiser, scheduler, generators or settings are malicious."""
    check(runs.try_all(tmp_path), 21)
