"""What came of a canary."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefopt.errors import UserError
from reward_models.errors import DataError, ModelError

MENDABLE = (UserError, ModelError, DataError)


@dataclass(frozen=True)
class Outcome:
    """Whether a canary fired, and the sentence of the refusal, or None where what it lay in was taken.

    ``must`` says that it had to be refused.
    """

    name: str
    fired: bool
    refusal: str | None
    must: bool

    @property
    def held(self) -> bool:
        """Nothing ran, and what had to be refused was."""
        return not self.fired and (self.refusal is not None or not self.must)


@contextmanager
def willing_user() -> Iterator[None]:
    """Answer yes to every question: a library that asks whether to run code must never get to ask."""
    asked = builtins.input
    builtins.input = lambda *_: "y"
    try:
        yield
    finally:
        builtins.input = asked


def attempt(
    name: str, load: Callable[[], Any], canary: Path, must: bool, refusals: tuple[type[Exception], ...] = MENDABLE
) -> Outcome:
    """Load, and look for the canary. An error that is none of ``refusals`` is raised as it is."""
    with willing_user():
        try:
            load()
            refusal = None
        except refusals as error:
            refusal = str(error)
    return Outcome(name, canary.exists(), refusal, must)
