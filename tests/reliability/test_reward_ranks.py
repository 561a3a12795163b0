"""A source that fails on one of two processes: both stop, or both go on with the same rewards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.trainers.online.test_processes import LAUNCH, ROOT


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each process saw, case by case."""
    folder = tmp_path_factory.mktemp("ranks")
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *LAUNCH, "-m", "tests.reliability.reward_ranks", str(folder)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"rank_{rank}.json").read_text()) for rank in (0, 1)]


def test_rewards_of_both(seen: list[dict[str, Any]]) -> None:
    """Four rows of 1 on the first, four of 2 on the second, in this order on both."""
    for one in seen:
        assert one["fine"] == {"rewards": [1.0] * 4 + [2.0] * 4, "missing": {"unscored.0": 0}}


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("away", "infrastructure: the judge of rank 1 (after 1 attempt)"),
        ("hangs", "infrastructure: no answer within 0.3 s (after 1 attempt)"),
    ],
)
def test_an_outage_of_one(case: str, words: str, seen: list[dict[str, Any]]) -> None:
    """Half of eight rows are missing, three may be: both stop, with the words of the one that failed."""
    for one in seen:
        assert one[case]["rewards"] == [1.0] * 4 + [None] * 4
        assert one[case]["missing"] == {"unscored.0": 4, "unscored_by_infrastructure.0": 4}
        message = "RewardSourceError: reward source 'judge' left 4 of 8 completions unscored"
        assert one[case]["error"].startswith(message)
        assert words in one[case]["error"]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("divides", "reward source 'judge' raised ZeroDivisionError"),
        ("too_few", "reward source 'judge' returned 2 scores, expected 4"),
        ("broken", "KeyError: 'something of ours'"),
    ],
)
def test_an_error_of_one(case: str, words: str, seen: list[dict[str, Any]]) -> None:
    """Both raise; the one that is well says that it was the other."""
    assert seen[0][case]["error"].startswith(f"RewardSourceError: on another process: {words}")
    assert words in seen[1][case]["error"]
    assert "another process" not in seen[1][case]["error"]
