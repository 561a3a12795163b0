"""The sandbox of this machine."""

from __future__ import annotations

import sys
import warnings
from importlib.resources import files

from reward_models.verifiable.sandbox.box import Box
from reward_models.verifiable.sandbox.errors import SandboxFailure, SandboxUnavailable
from reward_models.verifiable.sandbox.limits import Limits
from reward_models.verifiable.sandbox.process import Process


class Sandbox:
    """A tier that has passed its canary: "bwrap", "landlock", or "none", which contains nothing."""

    def __init__(self, tier: str) -> None:
        self.tier = tier
        self._box: Box | None = None

    @classmethod
    def best(cls, allow_unsafe: bool = False) -> Sandbox:
        """Return the strongest tier that works here."""
        return cls.named("none", allow_unsafe)

    @classmethod
    def named(cls, tier: str, allow_unsafe: bool = False) -> Sandbox:
        """Return that tier.

        Raises:
            SandboxUnavailable: it does not work here; with the reason and how to mend it.
        """
        if not allow_unsafe:
            raise SandboxUnavailable("no tier contains programs here yet; allow_unsafe=True runs them all the same")
        warnings.warn("programs run without containment (tier none)", RuntimeWarning, stacklevel=2)
        return cls("none")

    def start(self, program: str, limits: Limits | None = None) -> Process:
        """Start a program in a fresh confined interpreter state.

        Raises:
            SandboxFailure: the sandbox fails, also after a restart.
        """
        limits = limits or Limits()
        if self._box is not None:
            try:
                return self._box.start(program, limits, self.tier)
            except SandboxFailure:
                self._box = None
        self._box = self._open()
        return self._box.start(program, limits, self.tier)

    def close(self) -> None:
        """End its processes. A later ``start`` makes them anew."""
        if self._box is not None:
            self._box.close()
            self._box = None

    def _open(self) -> Box:
        text = (files("reward_models.verifiable.sandbox.inside") / "launcher.py").read_text(encoding="utf-8")
        environment = {"PYTHONUTF8": "1", "PYTHONHASHSEED": "0", "LANG": "C.UTF-8"}
        return Box([sys._base_executable, "-s", "-S", "-c", text], environment, {}, None)  # type: ignore[attr-defined]
