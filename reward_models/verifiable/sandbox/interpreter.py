"""The interpreter that runs programs: one that an unprivileged user can reach, and the files that it reads."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reward_models.verifiable.sandbox.errors import SandboxUnavailable

VARIABLE = "PREFOPT_SANDBOX_PYTHON"
OLDEST = (3, 10)
ENVIRONMENT = {"PYTHONUTF8": "1", "PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}
# Not -I, which would ignore the fixed hash seed. The environment is ours, and the current directory holds no modules.
FLAGS = ("-s", "-S")
LOAD = """
import os
length, text = int.from_bytes(os.read(0, 4), "big"), b""
while len(text) < length:
    text += os.read(0, length - len(text)) or os._exit(1)
exec(compile(text, "<launcher>", "exec"))
"""
QUESTION = """
import json, os, sys
print(json.dumps([sys.version.split()[0], sys.version_info[:2] >= (3, 10), sys.executable, os.path.dirname(os.__file__),
                  sys.base_prefix, [path for path in sys.path if path]]))
"""
# Directories of shared libraries; Python's own directories in them are not for programs to read.
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64")
PACKAGES = ("site-packages", "dist-packages")


@dataclass(frozen=True)
class Interpreter:
    """A Python without site-packages.

    Attributes:
        executable, version, prefix: of it. stdlib: directory of the standard library.
        path: what ``sys.path`` is.
    """

    executable: str
    version: str
    stdlib: str
    prefix: str
    path: tuple[str, ...]

    @property
    def command(self) -> list[str]:
        """Run the program whose length (four bytes) and text come on stdin; what follows there is the program's."""
        return [self.executable, *FLAGS, "-c", LOAD]

    @property
    def libraries(self) -> list[str]:
        """Directories that hold shared libraries which it may load."""
        own = [f"{self.prefix}/lib", f"{self.prefix}/lib64"]
        return [path for path in dict.fromkeys([*LIBRARIES, *own]) if os.path.isdir(path)]

    @property
    def packages(self) -> list[str]:
        """Directories of installed packages, which may hold data sets and their answers."""
        patterns = [f"{library}/python*/{name}" for library in self.libraries for name in PACKAGES]
        found = [path for pattern in [*patterns, f"{self.stdlib}/*-packages"] for path in glob.glob(pattern)]
        return sorted({os.path.realpath(path) for path in found})

    @property
    def readable(self) -> list[str]:
        """What a program may read: the standard library and shared libraries, installed packages left out."""
        libraries = [entry for path in self.libraries for entry in _entries(path) if not _name(entry, "python")]
        modules = [entry for path in self.listable for entry in _entries(path) if not entry.endswith(PACKAGES)]
        files = [self.executable, *(path for path in self.path if os.path.isfile(path)), "/etc/ld.so.cache"]
        others = ["/usr/share/zoneinfo", "/dev/zero", "/dev/urandom", "/dev/random"]
        return [*libraries, *modules, *files, *others]

    @property
    def listable(self) -> list[str]:
        """Directories whose names the import system reads."""
        return [path for path in self.path if os.path.isdir(path)]


def find_interpreter(user: int | None) -> Interpreter:
    """Return the interpreter that runs this process, or else one of the system, if ``user`` can run it.

    The environment's PREFOPT_SANDBOX_PYTHON names another. ``user`` None: the present one.

    Raises:
        SandboxUnavailable: there is none.
    """
    named = os.environ.get(VARIABLE)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    usual = [shutil.which(name, path="/usr/local/bin:/usr/bin:/bin") for name in (version, "python3")]
    own = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    candidates = [named] if named else [own, *(path for path in usual if path)]
    reasons = []
    for candidate in dict.fromkeys(candidates):
        found = _ask(candidate, user)
        if isinstance(found, Interpreter):
            return found
        reasons.append(f"{candidate}: {found}")
    who = "this user" if user is None else f"the unprivileged user {user}"
    raise SandboxUnavailable(
        f"no Python of version {OLDEST[0]}.{OLDEST[1]} or later that {who} can run ({'; '.join(reasons)}). "
        f"Install the system's python3, or name one with {VARIABLE}=/path/to/python3"
    )


def identity(user: int | None) -> dict[str, Any]:
    """Arguments of ``subprocess`` that start a process as another user, None the present one."""
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}


def _ask(executable: str, user: int | None) -> Interpreter | str:
    try:
        done = subprocess.run(
            [executable, *FLAGS, "-c", QUESTION],
            env=ENVIRONMENT,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=20,
            **identity(user),  # type: ignore[call-overload]
        )
        version, new, path, stdlib, prefix, paths = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error) if user is None else f"as user {user}: {error}"
    except ValueError:
        return done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}"
    if not new:
        return f"version {version} is too old"
    return Interpreter(os.path.realpath(path), version, os.path.realpath(stdlib), prefix, tuple(paths))


def _entries(directory: str) -> list[str]:
    try:
        return sorted(entry.path for entry in os.scandir(directory))
    except OSError:
        return []


def _name(path: str, beginning: str) -> bool:
    return Path(path).name.startswith(beginning)
