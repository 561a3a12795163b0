"""What docs/online.md shows works."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from prefopt import recipes
from tests.test_module_graph import ROOT

TEXT = (ROOT / "docs" / "online.md").read_text(encoding="utf-8")


def test_examples(tmp_path):
    """The Python blocks run in their order, and what they assert is true; a process of its own, as they register."""
    blocks = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    program = tmp_path / "document.py"
    program.write_text("\n".join(blocks), encoding="utf-8")
    done = subprocess.run([sys.executable, str(program)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("mark", "holds"), [("Scope", lambda method: method.scope == "batch"),
                                             ("Whole groups", lambda method: method.whole_groups),
                                             ("State", lambda method: bool(method.init_state()))])  # fmt: skip
def test_methods_named_as_examples(mark, holds):
    """`See a, b, c` behind a heading names methods that have what the heading says; REINFORCE with its baseline."""
    (paragraph,) = re.findall(rf"- \*\*{mark}.*?See (.*?)\.\n", TEXT, re.DOTALL)
    for name in re.findall(r"`(\w+)`", paragraph):
        assert holds(recipes.build(name, **({"baseline_momentum": 0.9} if name == "reinforce" else {}))), name
