"""Run programs that a model wrote so that they cannot harm the machine, and say which guarantee that is."""

from __future__ import annotations

from reward_models.verifiable.sandbox.errors import SandboxFailure, SandboxUnavailable
from reward_models.verifiable.sandbox.limits import Limits
from reward_models.verifiable.sandbox.process import Process, advance
from reward_models.verifiable.sandbox.remote import RemoteSandbox
from reward_models.verifiable.sandbox.sandbox import CONFINED, Sandbox
from reward_models.verifiable.sandbox.usage import Usage

__all__ = [
    "CONFINED",
    "Limits",
    "Process",
    "RemoteSandbox",
    "Sandbox",
    "SandboxFailure",
    "SandboxUnavailable",
    "Usage",
    "advance",
]
