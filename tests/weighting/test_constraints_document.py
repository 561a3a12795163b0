"""What docs/constraints.md shows works."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import yaml

from prefopt.trainers.compose import compose
from prefopt.trainers.rewards.reading import KEYS
from tests.test_module_graph import ROOT

TEXT = (ROOT / "docs" / "constraints.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_examples(tmp_path):
    """The Python blocks run in their order, and what they assert is true."""
    assert len(blocks("python")) == 3
    program = tmp_path / "document.py"
    program.write_text("\n".join(blocks("python")), encoding="utf-8")
    done = subprocess.run([sys.executable, str(program)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", blocks("yaml"))
def test_settings(text):
    """Recipes can be built, and every key of a reward is one."""
    settings = yaml.safe_load(text)
    assert compose(settings["recipe"]).recipe
    assert all(set(entry) <= set(KEYS) for entry in settings["rewards"])
