"""Versions of what writes and reads checkpoints."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

from prefopt import __version__

LIBRARIES = ("torch", "transformers", "trl")


@cache
def versions() -> dict[str, str]:
    """Return the versions of prefopt and of the libraries that decide a run's numbers."""
    found = {"prefopt": __version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
