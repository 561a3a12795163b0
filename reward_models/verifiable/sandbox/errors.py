"""Errors of the sandbox."""

from __future__ import annotations

from reward_models.errors import ModelError
from reward_models.failures import InfrastructureError


class SandboxUnavailable(ModelError):
    """No tier, or not the one asked for, works on this machine; the message says why and how to mend it."""


class SandboxFailure(InfrastructureError):
    """A sandbox that had worked failed. The program is not to blame, and has no verdict."""
