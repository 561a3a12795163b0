"""`MathAnswer` on solutions whose labels people gave."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from tests.test_module_graph import ROOT

DATA = Path(os.environ.get("PREFOPT_REAL_DATA", ROOT.parent / "shared" / "data"))


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}; set PREFOPT_REAL_DATA")
@pytest.mark.skipif(importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed")
def test_labels_of_gsm8k() -> None:
    """5,276 solutions of four models: each verdict is the label."""
    from scripts.verifiable_real.gsm8k import measure

    found = measure()
    assert (found["solutions"], found["agree"], found["unscored"]) == (5276, 5276, 0)
    assert found["disagreements"] == []
