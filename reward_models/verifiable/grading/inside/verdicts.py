"""Run one piece of test code and say how it ended."""

from __future__ import annotations

from typing import Any

from reward_models.verifiable.grading.inside.candidate import message
from reward_models.verifiable.grading.inside.codec import encode


class SetupError(Exception):
    """The trusted setup of the tests failed."""


def prepare(setup: str) -> dict[str, Any]:
    """Return new globals in which the setup has run."""
    names: dict[str, Any] = {"__name__": "tests"}
    try:
        exec(compile(setup, "<setup>", "exec", dont_inherit=True), names)
    except BaseException as error:
        raise SetupError(f"the setup of the tests: {type(error).__name__}: {message(error)}") from None
    return names


def test(source: str, names: dict[str, Any], entry_point: str | None) -> None:
    """Run test code; a check gets what ``entry_point`` names."""
    exec(compile(source, "<test>", "exec", dont_inherit=True), names)
    if entry_point is not None:
        if entry_point not in names:
            raise NameError(f"name '{entry_point}' is not defined")
        names["check"](names[entry_point])


def status_of(error: BaseException, by_program: bool) -> tuple[str, str]:
    """Return status and reason of a test that ended with an exception; ``by_program``: the program raised it."""
    reason = f"{type(error).__name__}: {message(error)}"
    if isinstance(error, SetupError):
        return "ungradable", message(error)
    if isinstance(error, MemoryError):
        return "memory", reason
    if isinstance(error, ImportError) and not by_program and error.name != "solution":
        return "ungradable", f"the test itself: {reason}"
    return ("error" if by_program or isinstance(error, NameError) else "wrong"), reason


def verdict(token: str, status: str, reason: str) -> str:
    """Return the line of a verdict."""
    return f'V["{token}","{status}",{encode(reason)}]'
