"""Nothing that the project reads can run: no pickle, no evaluation, no module by a name from data.

Where a rule has an exception, that is a place with a reason in `PLACES`; one that is no longer needed fails too.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.reliability.code_from_data import findings
from tests.test_module_graph import ROOT

FOLDERS = ("prefopt", "reward_models", "scripts")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
INSIDE = ("reward_models/verifiable/sandbox/inside/", "reward_models/verifiable/grading/inside/")
"""Programs of these folders run within the sandbox, where running a candidate's code is the purpose."""
OWN_TABLE = "imports a module of ours, whose name stands in a table of ours or is a file of our package"
PLACES: dict[str, dict[str, str]] = {
    "prefopt/cli/__init__.py": {"importlib.import_module": OWN_TABLE},
    "prefopt/recipes/evaluation/__init__.py": {"import_module": OWN_TABLE},
    "prefopt/recipes/games/__init__.py": {"import_module": OWN_TABLE},
    "prefopt/recipes/offline/__init__.py": {"import_module": OWN_TABLE},
    "prefopt/recipes/online/__init__.py": {"import_module": OWN_TABLE},
    "prefopt/recipes/reward/__init__.py": {"import_module": OWN_TABLE},
    "prefopt/recipes/weighting/__init__.py": {"import_module": OWN_TABLE},
    "prefopt/trainers/rewards/reading.py": {
        "importlib.util.spec_from_file_location": "the user's own reward function, which the user names"
    },
    "scripts/bench/__main__.py": {"importlib.import_module": OWN_TABLE},
    "scripts/claims/table.py": {"importlib.import_module": OWN_TABLE},
    "scripts/faults/__main__.py": {"import_module": OWN_TABLE},
    "scripts/reward_real/__main__.py": {"import_module": OWN_TABLE},
    "scripts/faults/canaries/plants.py": {
        "import pickle": "writes the malicious pickles that nothing may read",
        "torch.save": "writes the malicious archives that nothing may read",
        "__reduce__": "is the canary",
    },
    "scripts/faults/canaries/files.py": {"import pickle": "writes the malicious pickles that nothing may read"},
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_that_is_read_can_run(path: Path) -> None:
    """Every finding stands in `PLACES`, and every place there is still needed."""
    name = name_of(path)
    found = list(findings(path.read_text(encoding="utf-8")))
    if name.startswith(INSIDE):
        found = [(line, what) for line, what in found if what not in ("eval", "exec", "compile", "__import__")]
    allowed = PLACES.get(name, {})
    assert [f"{name}:{line}: {what}" for line, what in found if what not in allowed] == []
    assert set(allowed) == {what for _, what in found}


GUILTY = """
import pickle, marshal
from joblib import load
from torch import load as read
import torch, yaml, numpy, subprocess, importlib, tempfile, jinja2
eval("1"); exec("x = 1"); compile("x", "y", "eval"); __import__("os")
torch.load("a"); torch.save({}, "a"); torch.load("a", weights_only=False)
numpy.load("a", allow_pickle=True)
yaml.load("a"); yaml.unsafe_load("a"); yaml.load("a", Loader=yaml.UnsafeLoader)
AutoModel.from_pretrained("a", trust_remote_code=True, use_safetensors=True)
AutoTokenizer.from_pretrained("a")
AutoModel.from_pretrained("a", trust_remote_code=False)
importlib.import_module(row["module"]); subprocess.run("ls", shell=True); tempfile.mktemp()
jinja2.Environment(); jinja2.Environment(autoescape=False)
class Trap:
    def __reduce__(self): ...
"""
INNOCENT = """
import json, re, yaml, importlib, subprocess, numpy, jinja2
re.compile("a"); model.eval(); json.loads("{}"); yaml.load("a", Loader=StrictLoader)
importlib.import_module("reward_models.serving.app"); subprocess.run(["ls"]); numpy.load("a", allow_pickle=False)
AutoModel.from_pretrained("a", trust_remote_code=False, use_safetensors=True)
AutoTokenizer.from_pretrained("a", trust_remote_code=False)
jinja2.Environment(autoescape=True)
"""


def test_the_rule_finds_what_it_forbids() -> None:
    """One line or more of `GUILTY` for each rule; the counts are those of the calls that stand there."""
    found = Counter(what for _, what in findings(GUILTY))
    assert found == {
        "import pickle": 1, "import marshal": 1, "import joblib": 1, "import joblib.load": 1, "import torch.load": 1,
        "eval": 1, "exec": 1, "compile": 1, "__import__": 1,
        "torch.load": 2, "torch.save": 1, "weights_only": 1, "allow_pickle": 1,
        "yaml.load": 2, "yaml.unsafe_load": 1, "trust_remote_code": 1,
        "AutoModel.from_pretrained without trust_remote_code=False": 1,
        "AutoTokenizer.from_pretrained without trust_remote_code=False": 1,
        "AutoModel.from_pretrained without use_safetensors=True": 1,
        "importlib.import_module": 1, "shell": 1, "tempfile.mktemp": 1,
        "jinja2.Environment without autoescape=True": 2, "__reduce__": 1,
    }  # fmt: skip


def test_the_rule_leaves_the_innocent_alone() -> None:
    """`re.compile`, a model's `eval`, a literal module name, and the safe forms of all of the above."""
    assert list(findings(INNOCENT)) == []
