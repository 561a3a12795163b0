"""Nothing grows with the number of steps. The long runs of `scripts.faults.soak` are among the slow tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefopt.trainers.checkpointing import verification
from scripts.faults.soak import STEPS, Growth, leaks, live
from scripts.faults.tiny_trainers import TRAINERS


def grown(**per_step: float) -> Growth:
    """Samples of a run of 2,000 steps that holds 500 MB, 7 files, 2 threads and 40 tensors, and so much more a step."""
    start = {"bytes": 5e8, "files": 7.0, "threads": 2.0, "children": 0.0, "tensors": 40.0}
    steps = list(range(20, STEPS + 1, 20))
    samples = [{name: value + per_step.get(name, 0.0) * step for name, value in start.items()} for step in steps]
    return Growth(steps=steps, samples=samples)


def test_a_leak_is_found() -> None:
    """A page every other step is 2 KB a step, a file every 500 steps 0.002; growth in the first fifth is no leak."""
    assert leaks(grown().slopes()) == []
    assert leaks(grown(bytes=2048.0).slopes()) == ["bytes"]
    assert leaks(grown(files=0.002, tensors=1.0).slopes()) == ["files", "tensors"]
    warm = grown()
    for step, sample in zip(warm.steps, warm.samples, strict=True):
        sample["bytes"] += 1e8 * min(step / 400, 1)
    assert leaks(warm.slopes()) == []


@pytest.mark.parametrize("kind", TRAINERS)
def test_a_short_life(kind: str, tmp_path: Path) -> None:
    """120 steps with a checkpoint, an evaluation and log lines every tenth: after the first twenty not a file, a thread
    or a child more, and tensors, of which a batch in hand has more or fewer, come back to where they were. Bytes need
    the long run.
    """
    often = {"logging_steps": 10, "save_steps": 10, "eval_steps": 10}
    trainer, growth = live(kind, tmp_path, 120, **often)
    assert trainer.state.global_step == 120
    late = [sample for step, sample in zip(growth.steps, growth.samples, strict=True) if step > 20]
    for name in ("files", "threads", "children"):
        assert len({sample[name] for sample in late}) == 1, name
    tensors = [sample["tensors"] for sample in late]
    assert min(tensors[-2:]) == min(tensors)
    assert len(list(tmp_path.glob("checkpoint-*"))) == 2
    # Those that are there, and at most the one that was removed last.
    assert sum(place.is_relative_to(tmp_path) for place in verification._found) <= 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRAINERS)
def test_a_long_life(kind: str, tmp_path: Path) -> None:
    """2,000 steps: less than a kilobyte a step, and nothing of what is counted."""
    _, growth = live(kind, tmp_path)
    assert leaks(growth.slopes()) == []
