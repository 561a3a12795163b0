"""A save that is killed, at chosen and at random moments: a whole checkpoint is left, and the run goes on from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.faults.kills import at_instants, kill_models, kill_saves


@pytest.mark.parametrize("kind", ["online", "offline", "reward"])
def test_killed_at_a_call_of_the_system(kind: str, tmp_path: Path) -> None:
    """Every 40th of the calls that a save makes, and the last ones, where names change: 3 or 6 is left, whole.

    After two of the kills the run is resumed, and ends at the bits of one that was not killed.
    """
    kills, same = kill_saves(kind, tmp_path, lambda count: [*range(5, count - 12, 40), *range(count - 12, count)], 2)
    assert len(kills) > 15
    assert [one for one in kills if not one.survived] == []
    assert {one.newest for one in kills} == {3, 6}
    assert same == 2


def test_killed_at_random_instants(tmp_path: Path) -> None:
    """No checkpoint that was announced is lost, and the run goes on from it after each kill."""
    (tmp_path / "run").mkdir()
    left = list(at_instants("reward", tmp_path / "run", seed=0, count=2))
    assert all(kept for kept, _ in left)
    steps = [step for _, step in left]
    assert steps == sorted(set(steps))  # each got further than the one before


def test_a_model_killed_while_it_is_written_over_another(tmp_path: Path) -> None:
    """At every 20th call: the folder loads as the old model, the new one, or none; saved again, as the new one."""
    found = kill_models(tmp_path, 20)
    assert len(found) > 3
    assert all(found)
