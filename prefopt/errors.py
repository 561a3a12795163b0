"""Errors that the user can mend. Their message names the file, row, field or key, and the fix."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Bad input. The command line prints the message without a traceback and exits with status 2."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest valid name, or an empty string where none is close."""
    close = get_close_matches(name, list(valid), n=20)
    # Letters in the wrong order are the commonest slip, and difflib does not favour them; rarely is it the first one.
    close.sort(key=lambda candidate: (sorted(candidate) != sorted(name), candidate[:1] != name[:1]))
    return f" Did you mean '{close[0]}'?" if close else ""
