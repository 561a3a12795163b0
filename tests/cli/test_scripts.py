"""The shell of ``scripts/quickstart`` and ``scripts/test``: which Python they take, and what they say without one."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_house_rules import requirements
from tests.test_module_graph import ROOT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the scripts are written for bash")


def interpreter(folder: Path, name: str, version: str) -> Path:
    """A stand-in for Python of the given version: it runs the version check of the script with that version."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    new_enough = tuple(map(int, version.split("."))) >= (3, 11)
    file.write_text(f'#!/bin/sh\ncase "$1" in -c) exit {0 if new_enough else 1};; *) echo Python {version};; esac\n')
    file.chmod(0o755)
    return file


def shell(code: str, path: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(path), **extra}
    command = ["/bin/bash", "-c", f"set -euo pipefail; . scripts/environment.sh; {code}"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_the_first_python_that_is_new_enough(tmp_path: Path) -> None:
    """python3 is 3.9 and python3.12 is there: the latter is taken."""
    interpreter(tmp_path, "python3", "3.9.18")
    interpreter(tmp_path, "python3.12", "3.12.1")
    assert shell("find_python", tmp_path).stdout == "python3.12\n"


def test_a_clear_message_without_one(tmp_path: Path) -> None:
    interpreter(tmp_path, "python3", "3.10.13")
    done = shell("find_python", tmp_path)
    assert done.returncode != 0
    assert done.stderr.startswith(
        "Python 3.11 or newer is needed (by TRL 1.16 and transformers); python3 is: Python 3.10.13\n"
    )


def test_a_named_python_is_taken_or_refused_never_passed_over(tmp_path: Path) -> None:
    interpreter(tmp_path, "python3", "3.12.1")
    old = interpreter(tmp_path, "old", "3.8.1")
    done = shell("find_python", tmp_path, PREFOPT_PYTHON=str(old))
    assert done.returncode != 0
    assert f"{old} is: Python 3.8.1" in done.stderr


def test_an_active_environment_that_is_too_old_is_refused(tmp_path: Path) -> None:
    interpreter(tmp_path / "bin", "python", "3.10.13")
    done = shell("prepare_environment ''", tmp_path / "bin", VIRTUAL_ENV=str(tmp_path))
    assert done.returncode != 0
    assert "has Python 3.10.13; 3.11 or newer is needed." in done.stderr


def test_constraints_hold_the_versions_that_are_tested() -> None:
    """Every requirement of the package and of its extras is pinned."""
    lines = (ROOT / "scripts" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    names = {canonicalize_name(requirement.name) for requirement in requirements()}
    assert names - {canonicalize_name(name) for name in pinned} == set()


def test_constraints_hold_what_comes_along() -> None:
    """What the requirements require in turn, as far as it is installed here, is pinned at the version that ran."""
    lines = (ROOT / "scripts" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonicalize_name(name): version for name, version in (one.split("==") for one in lines if one[0] != "#")}
    waiting, seen = [(requirement.name, requirement.extras) for requirement in requirements()], set()
    while waiting:
        name, extras = waiting.pop()
        if (name := canonicalize_name(name)) in seen or name in ("prefopt", "setuptools"):
            continue  # setuptools is what builds packages, and comes with the interpreter's environment.
        seen.add(name)
        with suppress(importlib.metadata.PackageNotFoundError):
            version = importlib.metadata.version(name).partition("+")[0]
            assert pinned.get(name) == version, f"{name} {version} is installed, and {pinned.get(name)} is pinned"
            for line in importlib.metadata.requires(name) or []:
                wanted = Requirement(line)
                if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
                    waiting.append((wanted.name, wanted.extras))
    assert len(seen) > 40


def test_python_floor_is_the_same_everywhere() -> None:
    """``requires-python`` in pyproject.toml and the check in the scripts name one version."""
    declared = re.search(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    checked = re.search(r"sys\.version_info < \(3, (\d+)\)", (ROOT / "scripts" / "environment.sh").read_text())
    assert declared
    assert checked
    assert declared[1] == checked[1]
    assert sys.version_info >= (3, int(declared[1]))
