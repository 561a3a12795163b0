"""What docs/serving.md shows works."""

from __future__ import annotations

import json
import re
from pathlib import Path

from reward_models.serving import ScoringService
from tests.reward_models.serving.server import call, running, tiny_reward_model
from tests.test_module_graph import ROOT

TEXT = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
CURL = re.findall(r"^curl localhost:8000(\S+) .*?-d '(.*?)'$", TEXT, re.MULTILINE | re.DOTALL)
PYTHON = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_examples(tmp_path: Path) -> None:
    """Each protocol has one example, and it is answered; the Python block gives a score for each head."""
    model = tiny_reward_model(tmp_path)
    assert [path for path, _ in CURL] == ["/score", "/get_reward", "/classify"]
    with running(ScoringService(model, "reward")) as url:
        for path, body in CURL:
            assert call(url + path, json.loads(body)).status == 200
        names: dict[str, list[list[float]]] = {}
        (block,) = PYTHON
        exec(block.replace("http://localhost:8000", url), names)
    assert [len(row) for row in names["scores"]] == [2]
