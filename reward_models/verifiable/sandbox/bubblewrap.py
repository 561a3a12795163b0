"""Tier 1: a launcher in namespaces of its own, on a root that holds the interpreter alone and that nobody can write."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection
from functools import cache

from reward_models.verifiable.sandbox.errors import SandboxUnavailable
from reward_models.verifiable.sandbox.interpreter import Interpreter

NOBODY = 65534
DEVICES = ("null", "zero", "full", "random", "urandom")
# Where a distribution has merged them into /usr these are links, elsewhere directories.
TOP = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
NAMESPACES = {
    "process_namespace": "--unshare-pid",
    "network_namespace": "--unshare-net",
    "ipc_namespace": "--unshare-ipc",
    "host_name_namespace": "--unshare-uts",
    "control_group_namespace": "--unshare-cgroup-try",
}


def find_bubblewrap() -> str:
    """Return where bwrap is.

    Raises:
        SandboxUnavailable: it is not installed.
    """
    found = shutil.which("bwrap")
    if found is None:
        raise SandboxUnavailable(
            "bubblewrap is not installed. Debian, Ubuntu: apt install bubblewrap; Fedora: dnf install bubblewrap"
        )
    return found


@cache
def options(bubblewrap: str) -> str:
    """What this version's help says."""
    return subprocess.run([bubblewrap, "--help"], capture_output=True, text=True, timeout=20).stdout


def command(bubblewrap: str, interpreter: Interpreter, protections: Collection[str]) -> list[str]:
    """Return the command that starts a launcher in the box. The environment is that of the caller, who clears it."""
    arguments = [bubblewrap, "--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY), "--cap-drop", "ALL"]
    arguments += [option for name, option in NAMESPACES.items() if name in protections]
    if "host_name_namespace" in protections:
        arguments += ["--hostname", "sandbox"]
    if "no_user_namespaces" in protections and "--disable-userns" in options(bubblewrap):
        arguments.append("--disable-userns")
    arguments += _root(interpreter) if "minimal_root" in protections else ["--ro-bind", "/", "/"]
    if "no_packages" in protections:
        for path in interpreter.packages:
            arguments += ["--tmpfs", path, "--remount-ro", path]
    for device in DEVICES:
        arguments += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    if "read_only_root" in protections:
        arguments += ["--remount-ro", "/"]
    return [*arguments, "--chdir", "/", "--", *interpreter.command]


def _root(interpreter: Interpreter) -> list[str]:
    arguments = ["--ro-bind", "/usr", "/usr"]
    for path in TOP:
        if os.path.islink(path):
            arguments += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            arguments += ["--ro-bind", path, path]
    outside = [interpreter.executable, *interpreter.libraries, *interpreter.path, "/etc/ld.so.cache"]
    mounted = tuple(f"{top}/" for top in ("/usr", *TOP))
    for path in dict.fromkeys(outside):
        if os.path.exists(path) and not f"{path}/".startswith(mounted):
            arguments += ["--ro-bind", path, path]
    return arguments
