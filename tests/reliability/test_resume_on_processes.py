"""A run of two processes goes on with two, bit for bit, or with one: the same rows in the same steps, and its state."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.reliability import resume_ranks

ROOT = Path(__file__).parents[2]
STEP = resume_ranks.STEP


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the runs of two processes with two rows each."""
    folder = tmp_path_factory.mktemp("two")
    for kind in resume_ranks.KINDS:
        resume_ranks.trainer(kind, folder / kind / "unused")  # makes the model that both processes load
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    done = subprocess.run(
        [*command, "-m", "tests.reliability.resume_ranks", str(folder)], cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def rows_of(folder: Path) -> list[list[str]]:
    """Return the rows of both processes, step by step."""
    both = [json.loads((folder / f"rows_{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1)]
    return [sorted(one + other) for one, other in zip(*both, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", resume_ranks.KINDS)
def test_as_many_processes(kind: str, two: Path) -> None:
    """Each of the two processes is where it would have been: batches, weights, moments, states, figures and numbers."""
    for rank in (0, 1):
        assert json.loads((two / kind / f"differing_{rank}.json").read_text(encoding="utf-8")) == []


@pytest.mark.slow
@pytest.mark.parametrize(("size", "together"), [(4, 1), (2, 2)])
@pytest.mark.parametrize("kind", ["reward", "offline"])
def test_the_same_steps(kind: str, size: int, together: int, two: Path, tmp_path: Path, capsys: Any) -> None:
    """Four rows a step from one process, at once or in turn: same rows, weights equal to 1e-5, and said to be L3."""
    found = resume_ranks.trainer(
        kind, two / kind / f"{size}-{together}", per_device_train_batch_size=size, gradient_accumulation_steps=together
    )
    rows = resume_ranks.watched(found)
    found.train(resume_from_checkpoint=str(two / kind / "whole" / f"checkpoint-{STEP}"))
    assert [sorted(one) for one in rows][STEP:] == rows_of(two / kind)[STEP:]
    for name, value in load_file(two / kind / "end.safetensors").items():
        torch.testing.assert_close(dict(found.model.named_parameters())[name].data, value, atol=1e-5, rtol=0)
    assert "L3" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(("size", "together", "steps"), [(4, 1, 4), (2, 2, 8)])
def test_rollouts_are_made_anew(size: int, together: int, steps: int, two: Path, capsys: Any) -> None:
    """Inside a buffer of four steps: the prompts are those that were asked, and the weighting's state goes on."""
    folder = two / "online"
    found = resume_ranks.trainer(
        "online", folder / f"{size}-{together}", per_device_train_batch_size=size, steps_per_generation=steps,
        gradient_accumulation_steps=together,
    )  # fmt: skip
    rows = resume_ranks.watched(found)
    found.train(resume_from_checkpoint=str(folder / "whole" / f"checkpoint-{STEP}"))
    asked = [{*one} for one in rows][STEP:]
    assert asked == [{*one} for one in rows_of(folder)][STEP:]
    assert found.state.global_step == 6
    written = load_file(folder / "whole" / f"checkpoint-{STEP}" / "online_state_0.safetensors")
    assert {name.split("|")[1] for name in written if name.startswith("state|")} == found.objective_state.keys()
    assert "L3" in capsys.readouterr().out
