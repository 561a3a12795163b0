"""A stage measures, shows a bar, and keeps what libraries print off the terminal."""

from __future__ import annotations

import io
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from prefopt.quickstart.stages import Stages, TrainingBar


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def stages(screen: io.StringIO, tmp_path: Path) -> Stages:
    return Stages(Console(file=screen, width=80), tmp_path / "run.log", count=2)


def test_chatter_goes_to_the_file(stages: Stages, screen: io.StringIO) -> None:
    with stages("first") as bar:
        print("from a library")
        print("from its log", file=sys.stderr)
        warnings.warn("hidden", stacklevel=1)
        bar.finish("done")
    assert stages.log.read_text() == "--- first\nfrom a library\nfrom its log\n"
    assert screen.getvalue().startswith("[1/2] first")
    assert screen.getvalue().rstrip().endswith("done")
    assert "library" not in screen.getvalue()


def test_seconds_are_those_of_the_clock(stages: Stages) -> None:
    with stages("first"):
        time.sleep(0.2)
    with stages("second"):
        pass
    assert stages.seconds["first"] == pytest.approx(0.2, abs=0.15)
    assert list(stages.seconds) == ["first", "second"]


def test_a_failure_names_the_stage_and_the_file(stages: Stages, screen: io.StringIO) -> None:
    with pytest.raises(ValueError, match="broken"), stages("first"):
        raise ValueError("broken")
    assert f"Stopped in 'first'; {stages.log} has what the libraries said." in screen.getvalue()
    assert stages.seconds == {}


def test_bar_follows_the_steps_of_a_trainer(stages: Stages) -> None:
    """Three of five steps, and the last of two logged figures."""
    with stages("first") as bar:
        callback = TrainingBar(bar, {"loss": "loss"})
        state = SimpleNamespace(max_steps=5)
        callback.on_train_begin(None, state, None)
        for _ in range(3):
            callback.on_step_end(None, state, None)
        callback.on_log(None, state, None, logs={"loss": "0.5"})
        callback.on_log(None, state, None, logs={"loss": 0.25, "other": 1.0})
        task = bar.progress.tasks[0]
        assert (task.completed, task.total, task.fields["note"]) == (3, 5, "loss 0.25")
