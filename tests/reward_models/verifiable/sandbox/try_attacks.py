"""``python try_attacks.py TIER`` tries all attacks as the present user and prints JSON.

The packages around the sandbox import torch, which another user's interpreter may lack and the sandbox does not need:
empty packages stand in for them.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[4]

if __name__ == "__main__":
    for name in ("reward_models", "reward_models.verifiable"):
        package = sys.modules[name] = ModuleType(name)
        package.__path__ = [str(ROOT.joinpath(*name.split(".")))]
    print(json.dumps(importlib.import_module("attacks").attempt_all(sys.argv[1])))
