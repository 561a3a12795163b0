"""What scores belong to: an input, a model, and the settings that they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reward_models.model import RewardModel
from reward_models.model_digest import model_digest
from reward_models.scoring.input import file_digest
from reward_models.scoring.settings import ScoringSettings

FORMAT = 2
# They say what to do with bad rows and what columns are called; no score depends on them.
WITHOUT_EFFECT = ("on_bad_row", "prefix", "restart")
WHAT = {
    "format": "they were kept by another version of this program",
    "input": "the input file was another one",
    "model": "the model was another one (its weights, its tokenizer or its heads have changed)",
    "heads": "the model had other heads",
    "steps": "the model divided steps otherwise",
    "layout": "the model compared answers otherwise",
}


def known_before(source: Path, settings: ScoringSettings) -> dict[str, Any]:
    """The part of a manifest that needs no model."""
    told = asdict(settings)
    del told["restart"]
    return {"format": FORMAT, "input": file_digest(source), "settings": told}


def manifest_for(model: RewardModel, source: Path, settings: ScoringSettings, parts: int) -> dict[str, Any]:
    """What the scores of one run belong to."""
    return {
        **known_before(source, settings),
        "model": model_digest(model),
        "heads": list(model.names),
        "steps": None if model.steps is None else asdict(model.steps),
        "layout": None if model.layout is None else asdict(model.layout),
        "parts": parts,
    }


def differences(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Why kept scores are not what is wanted now, in words; of what only one of the two says nothing is known."""
    if not kept:
        return []
    # Through JSON, as what is kept went: tuples are lists there.
    wanted = json.loads(json.dumps(wanted))
    reasons = [words for key, words in WHAT.items() if key in wanted and key in kept and kept[key] != wanted[key]]
    before, now = kept.get("settings", {}), wanted.get("settings", {})
    for name in now:
        if name not in WITHOUT_EFFECT and before.get(name) != now[name]:
            reasons.append(f"{name} was {before.get(name)} and is {now[name]}")
    return reasons


def fingerprint(manifest: Mapping[str, Any]) -> bytes:
    """Of all that a score depends on; part of each kept score's hash, so that none is taken for another run's."""
    settings = {key: value for key, value in manifest["settings"].items() if key not in WITHOUT_EFFECT}
    content = {key: value for key, value in manifest.items() if key != "parts"} | {"settings": settings}
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).digest()


def sealed(manifest: Mapping[str, Any]) -> str:
    """A manifest as it is kept, after its hash."""
    text = json.dumps(manifest)
    return f"{_seal(text)} {text}"


def unsealed(text: str | None) -> dict[str, Any]:
    """What `sealed` made, or nothing where it is not as it was written."""
    seal, _, content = (text or "").partition(" ")
    if not content or seal != _seal(content):
        return {}
    found: dict[str, Any] = json.loads(content)
    return found


def _seal(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
