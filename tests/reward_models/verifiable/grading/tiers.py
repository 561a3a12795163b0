"""The sandboxes that this machine offers, for tests that run on each."""

from __future__ import annotations

import warnings

from reward_models.verifiable.sandbox import Sandbox, SandboxUnavailable


def find(name: str) -> Sandbox | None:
    """A sandbox of that tier, or None where it doesn't work."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return Sandbox.named(name, allow_unsafe=True)
    except SandboxUnavailable:
        return None


TIERS = [name for name in ("bwrap", "landlock", "none") if find(name)]


def quickest() -> Sandbox:
    """The best tier that works, or none at all: for tests of what does not depend on containment."""
    found = find(TIERS[0])
    assert found is not None
    return found
