"""How each tier opens a box on this machine, and why it cannot where it cannot."""

from __future__ import annotations

import base64
import os
import platform
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from reward_models.verifiable.sandbox import bubblewrap
from reward_models.verifiable.sandbox.box import Box
from reward_models.verifiable.sandbox.errors import SandboxUnavailable
from reward_models.verifiable.sandbox.interpreter import ENVIRONMENT, Interpreter, find_interpreter
from reward_models.verifiable.sandbox.protections import TIERS
from reward_models.verifiable.sandbox.seccomp import Filter, build_filter

LEAST_LANDLOCK = 3
ONLY_ON_LINUX = {"memory_limit", "thread_limit", "dies_with_launcher"}
GUARANTEES = {
    "bwrap": "a program reads no file but those of /usr and its interpreter, installed packages left out, writes "
    "nothing, reaches no network and no other process, starts none, and ends at its deadline; each is alone in its "
    "namespaces",
    "landlock": "a program opens no file but the interpreter's, writes nothing, reaches no network, starts no process "
    "and signals none, and ends at its deadline; whether a path exists, and its size, it can see",
    "none": "nothing; resource limits stop accidents only",
}
NO_LANDLOCK = (
    "the kernel offers Landlock version {found}, and at least 3 is needed (Linux 6.2). "
    "Version 0 also means that it is not enabled (boot with lsm=landlock,...) or that the container runtime denies it"
)
# What bubblewrap says, and what helps.
REMEDIES = {
    "setting up uid map": "this system restricts user namespaces (Ubuntu 24.04 by AppArmor). Give /usr/bin/bwrap an "
    "AppArmor profile that allows userns, or set sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    "namespace": "user namespaces are forbidden here. In a container, start it with a seccomp profile that allows "
    "them (docker run --security-opt seccomp=unconfined); elsewhere set sysctl user.max_user_namespaces=10000, and on "
    "Debian kernel.unprivileged_userns_clone=1",
}


@dataclass(frozen=True)
class Tier:
    """A kind of box, ready to be opened.

    ``user``: the unprivileged user that root becomes, None if the present one is not root.
    """

    name: str
    interpreter: Interpreter
    user: int | None

    def open(self, without: Collection[str] = ()) -> Box:
        """Open a box. ``without`` names protections to leave out, for tests.

        Raises:
            SandboxFailure: it does not open.
        """
        if unknown := set(without) - TIERS[self.name].keys():
            raise ValueError(f"tier {self.name} has no protection {', '.join(sorted(unknown))}")
        protections = set(TIERS[self.name]) - set(without)
        environment = ENVIRONMENT if "clean_environment" in protections else {**os.environ, **ENVIRONMENT}
        user = self.user if "unprivileged_user" in protections else None
        return Box(self._command(protections), environment, self._settings(protections, without), user)

    def _command(self, protections: Collection[str]) -> list[str]:
        if self.name == "bwrap":
            return bubblewrap.command(bubblewrap.find_bubblewrap(), self.interpreter, protections)
        return self.interpreter.command

    def _settings(self, protections: set[str], without: Collection[str]) -> dict[str, Any]:
        built = Filter(b"", ()) if self.name == "none" else build_filter(without)
        listed = {
            "readable": self.interpreter.readable,
            "listable": self.interpreter.listable,
            "writable": ["/dev/null"],
        }
        return {
            "protections": sorted(protections if sys.platform == "linux" else protections - ONLY_ON_LINUX),
            "filter": base64.b64encode(built.code).decode(),
            "pid_places": built.pid_places,
            "shared_user": self.name != "bwrap" and sys.platform == "linux",
            "paths": listed if "landlock" in protections else {},
        }


def find_tier(name: str) -> Tier:
    """Return that tier if this system has what it needs.

    Raises:
        SandboxUnavailable: it has not; with the reason and how to mend it.
    """
    if name not in TIERS:
        raise SandboxUnavailable(f"there is no tier {name!r}; there are {', '.join(TIERS)}")
    if name != "none":
        if sys.platform != "linux":
            raise SandboxUnavailable(
                f"it needs Linux, and this is {platform.system()}. Use a remote executor, or a Linux container"
            )
        build_filter()
    if name == "bwrap":
        bubblewrap.find_bubblewrap()
    if name == "landlock":
        _require_landlock()
    if not hasattr(os, "fork"):
        raise SandboxUnavailable(f"{platform.system()} cannot fork. Use a remote executor")
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    user = bubblewrap.NOBODY if root and name != "none" else None
    return Tier(name, find_interpreter(user), user)


def _require_landlock() -> None:
    from reward_models.verifiable.sandbox.inside import confinement

    found = confinement.landlock_version()
    if found < LEAST_LANDLOCK:
        raise SandboxUnavailable(NO_LANDLOCK.format(found=found))


def remedy(complaint: str) -> str:
    """Add to a complaint of bubblewrap what helps."""
    for words, help_ in REMEDIES.items():
        if words in complaint:
            return f"{complaint}: {help_}"
    return complaint
