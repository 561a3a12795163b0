"""The settings of a run as they lie beside its result: JSON in place of transformers' pickle, and without secrets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reward_models.redaction import redacted

NAME, PICKLE = "training_args.json", "training_args.bin"


def write_settings(folder: Path, arguments: Any) -> None:
    """Write a trainer's arguments, and remove the pickle that its parent class may have written."""
    (folder / PICKLE).unlink(missing_ok=True)
    settings = redacted(json.loads(arguments.to_json_string()))
    (folder / NAME).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
