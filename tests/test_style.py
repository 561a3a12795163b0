"""Style and types, by the tools that check them; settings in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.test_module_graph import ROOT


@pytest.mark.parametrize(
    "command", [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]], ids=["lint", "format", "types"]
)
def test_style(command: list[str]) -> None:
    """The tool finds nothing to complain of; its report is shown otherwise."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
