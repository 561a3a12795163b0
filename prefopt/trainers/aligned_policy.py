"""What offline training leaves behind: in memory, and as a summary in its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefopt import __version__
from prefopt.offline import OfflineMethod
from prefopt.trainers.adapted import with_adapter
from prefopt.trainers.history import read_history
from prefopt.trainers.offline_config import OfflineConfig
from prefopt.trainers.policies import load_policy, load_tokenizer
from reward_models.redaction import redacted
from reward_models.whole_files import replace_json

SUMMARY = "alignment.json"
COUNTS = ("metrics", "truncated", "refused", "skipped_steps")


@dataclass(frozen=True)
class AlignedPolicy:
    """What a run leaves behind.

    ``metrics`` are those of the last evaluation (``loss``, ``rewards/accuracy``, ``rewards/margin``, ...; empty without
    evaluation data), ``log`` the trainer's history, ``truncated`` and ``refused`` count over-length training pairs,
    ``skipped_steps`` those whose loss or gradient was not finite. ``guide`` is the folder of a first run's policy,
    where the recipe has two runs.
    """

    model: Any
    tokenizer: Any
    objective: OfflineMethod
    folder: Path
    metrics: dict[str, float]
    log: list[dict[str, float]]
    truncated: int
    refused: int
    skipped_steps: int
    guide: Path | None = None


def write_summary(done: AlignedPolicy, config: OfflineConfig, pairs: int) -> None:
    """Write what `read_aligned` reads, and what a reader wants to know of the run."""
    objective = done.objective
    summary = {
        "recipe": objective.recipe,
        "settings": {"recipe": config.recipe, "recipe_settings": config.recipe_settings},
        "parts": {slot: repr(part) for slot, part in objective.parts()},
        "needs": sorted(objective.needs),
        "pairs": pairs,
        **{name: getattr(done, name) for name in COUNTS},
        "prefopt": __version__,
    }
    replace_json(done.folder / SUMMARY, redacted(summary))


def read_aligned(folder: Path, objective: OfflineMethod, start: Any, dtype: str) -> AlignedPolicy:
    """Return the policy of a finished run, read from its folder.

    Args:
        folder: that of the run.
        objective: that of the run.
        start: folder or model that it started from, on which an adapter is put.
        dtype: of weights that are loaded.
    """
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    history = folder / "history.jsonl"
    if (folder / "adapter_config.json").exists():
        model = with_adapter(load_policy(start, dtype) if isinstance(start, (str, Path)) else start, folder)
    else:
        model = load_policy(folder, dtype)
    return AlignedPolicy(
        model=model,
        tokenizer=load_tokenizer(folder),
        objective=objective,
        folder=folder,
        log=read_history(history) if history.exists() else [],
        **{name: summary[name] for name in COUNTS},
    )
