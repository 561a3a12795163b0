"""What experiments found of the recipes' claims; ``python -m scripts.claims`` in a checkout measures them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from prefopt.recipes.registry import resolve

STORED = Path(__file__).with_name("claims.json")
UNTRIED = "not tried"


@cache
def _stored() -> Mapping[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = json.loads(STORED.read_text(encoding="utf-8"))
    return found


def claim_status(name: str) -> dict[str, Any]:
    """Return what an experiment found of a recipe's claim, JSON-ready.

    Keys: ``verdict`` (``reproduced``, ``partly``, ``not reproduced``; ``not tried`` where there is no experiment, and
    then nothing else), ``claim`` as it was tried, ``rule`` that judged it, ``numbers`` (name -> mean, low, high of the
    95 % interval over seeds), ``seeds`` (how many), ``command``.

    Raises:
        UnknownRecipe: no recipe of that name.
    """
    return dict(_stored().get(resolve(name), {"verdict": UNTRIED}))
