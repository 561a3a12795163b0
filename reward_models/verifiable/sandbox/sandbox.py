"""The sandbox of this machine: the strongest tier that works, proven by a canary, with a pool of boxes."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Collection
from contextlib import suppress

from reward_models.verifiable.sandbox.box import Box
from reward_models.verifiable.sandbox.canary import run_canary
from reward_models.verifiable.sandbox.errors import SandboxFailure, SandboxUnavailable
from reward_models.verifiable.sandbox.limits import Limits
from reward_models.verifiable.sandbox.process import Process
from reward_models.verifiable.sandbox.tiers import GUARANTEES, Tier, find_tier, remedy

CONFINED = ("bwrap", "landlock")
IDLE_BOXES = 32

_found: dict[str, Sandbox | SandboxUnavailable] = {}
_finding = threading.Lock()


class Sandbox:
    """A tier that works here. Make one with ``best`` or ``named``.

    A program runs alone in a box; boxes are kept for the next program. In a fork of this process new ones are made.

    Attributes:
        tier: "bwrap", "landlock", or "none", which contains nothing.
        guarantee: what programs cannot do, in words.
    """

    def __init__(self, tier: Tier, without: Collection[str] = ()) -> None:
        self.tier, self.guarantee = tier.name, GUARANTEES[tier.name]
        self.interpreter = tier.interpreter
        self._tier, self._without = tier, without
        self._lock = threading.Lock()
        self._idle: list[Box] = []
        self._owner = os.getpid()

    @classmethod
    def best(cls, allow_unsafe: bool = False) -> Sandbox:
        """Return the strongest tier that works here, found once in a process.

        Raises:
            SandboxUnavailable: none does, and ``allow_unsafe`` is not given, which runs programs without containment.
        """
        reasons = []
        for tier in CONFINED:
            try:
                return cls.named(tier)
            except SandboxUnavailable as error:
                reasons.append(f"{error}")
        if allow_unsafe:
            return cls.named("none", allow_unsafe=True)
        raise SandboxUnavailable(
            "programs that a model wrote cannot be contained on this machine. "
            + " ".join(f"Tier {reason}." for reason in reasons)
            + " Otherwise use a remote executor, or accept the risk with allow_unsafe=True."
        )

    @classmethod
    def named(cls, tier: str, allow_unsafe: bool = False) -> Sandbox:
        """Return that tier, found once in a process.

        Raises:
            SandboxUnavailable: it does not work here; with the reason and how to mend it.
        """
        if tier == "none":
            if not allow_unsafe:
                raise SandboxUnavailable("none: it contains nothing, and allow_unsafe=True is not given")
            warnings.warn("programs that a model wrote run without containment", RuntimeWarning, stacklevel=2)
        with _finding:
            if tier not in _found:
                try:
                    _found[tier] = cls._prove(tier)
                except SandboxUnavailable as error:
                    _found[tier] = SandboxUnavailable(f"{tier}: {error}")
        found = _found[tier]
        if isinstance(found, SandboxUnavailable):
            raise found
        return found

    @classmethod
    def _prove(cls, name: str) -> Sandbox:
        sandbox = cls(find_tier(name))
        try:
            box = sandbox._tier.open()
            if name in CONFINED:
                run_canary(box, name)
        except SandboxFailure as error:
            raise SandboxUnavailable(remedy(str(error))) from error
        sandbox._idle.append(box)
        return sandbox

    def start(self, program: str, limits: Limits | None = None) -> Process:
        """Start a program in a fresh interpreter state, confined.

        Raises:
            SandboxFailure: the sandbox fails, also after a restart.
        """
        limits = limits or Limits()
        while box := self._take():
            with suppress(SandboxFailure):
                return self._start(box, program, limits)
        return self._start(self._tier.open(self._without), program, limits)

    def close(self) -> None:
        """End the boxes that are idle. A later ``start`` makes new ones."""
        while box := self._take():
            box.close()

    def _start(self, box: Box, program: str, limits: Limits) -> Process:
        return box.start(program, limits, self.tier, lambda sound: self._give_back(box, sound))

    def _take(self) -> Box | None:
        with self._lock:
            if self._owner != os.getpid():
                self._owner, self._idle = os.getpid(), []
            return self._idle.pop() if self._idle else None

    def _give_back(self, box: Box, sound: bool) -> None:
        if self._owner == os.getpid() and sound and not box.worn:
            with self._lock:
                if len(self._idle) < IDLE_BOXES:
                    self._idle.append(box)
                    return
        box.close()
