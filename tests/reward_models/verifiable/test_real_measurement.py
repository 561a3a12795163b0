"""What the measurement on real programs is made of."""

from __future__ import annotations

import pytest

from scripts.verifiable_real.codet import pass_at
from scripts.verifiable_real.mutants import mutants
from scripts.verifiable_real.programs import cut


def test_pass_at() -> None:
    """Of 4 programs 1 passes: one drawn passes in 1/4, one of two in 1 - C(3,2)/C(4,2) = 1/2, one of four surely."""
    assert [pass_at(k, 1, 4) for k in (1, 2, 4)] == [0.25, 0.5, 1.0]
    assert pass_at(4, 0, 4) == 0.0


def test_mutants() -> None:
    """``return x + 1 < y`` has three tokens to change, in three programs; the prefix is left alone."""
    found = mutants("def f(x, y=2):\n", "    return x + 1 < y\n", most=10, seed=0)
    assert sorted(found) == ["    return x + 1 <= y\n", "    return x + 2 < y\n", "    return x - 1 < y\n"]
    assert len(mutants("def f(x, y=2):\n", "    return x + 1 < y\n", most=2, seed=0)) == 2
    assert mutants("def f():\n", "    return 'a'\n", most=2, seed=0) == ["    return 'ax'\n"]


@pytest.mark.parametrize(
    ("completion", "kept"),
    [
        ("    return 1\n", "    return 1\n"),
        ("    return 1\n\ndef g(): ...", "    return 1\n\n"),
        ("    return 1\nassert f() == 1", "    return 1\n"),
        ("    if x:\n        return 1\n# more", "    if x:\n        return 1\n"),
    ],
)
def test_cut(completion: str, kept: str) -> None:
    """A sample ends where the first line that is not indented begins a statement or a comment."""
    assert cut(completion) == kept
