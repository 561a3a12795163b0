"""Real runs of all three trainers in which every third step is given a number that is not finite."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.faults.non_finite import CASES
from scripts.faults.poisoning.two_processes import on_two

STEPS = 9


@pytest.mark.parametrize("name", CASES)
def test_a_spoilt_step_changes_nothing_and_names_its_rows(name: str, tmp_path: Path) -> None:
    """Of nine steps three are spoilt, with NaN, infinity and minus infinity.

    After each of the three, parameters, moments, the objective's state and a reference that moves are bit for bit as
    before, the log named exactly the rows that were spoilt, and the batch is on disk. The other six moved the
    parameters. A logged loss is NaN for the three, and for no other step.
    """
    done = CASES[name](tmp_path, seed=1, steps=STEPS)
    assert done.injected == 3
    assert (done.caught, done.named, done.written) == (3, 3, 3)
    assert (done.moved, done.others) == (6, 6)
    assert done.finite


@pytest.mark.slow
def test_one_process_of_two_is_spoilt(tmp_path: Path) -> None:
    """Rank 1 alone has three bad steps of nine: both ranks leave them out, and agree bit for bit at the end.

    Where a row was spoilt, it is named; a gradient is the mean of both ranks', so that no row can be told from others.
    """
    for found in on_two(tmp_path, seed=0):
        for name, one in found.items():
            assert one["ranks_agree"], name
            assert (one["injected"], one["caught"], one["moved"], one["finite"]) == (3, 3, 6, True), name
            if one["rank"] == 1 and not name.endswith("gradient"):
                assert one["named"] == 3, name
