"""Reward sources that fail on the second of two processes; each writes what it saw. ``python -m ... FOLDER``"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from prefopt.trainers.rewards.scorer import Scorer
from prefopt.trainers.rewards.source import RewardSource
from prefopt.trainers.rewards.unscored import UnscoredLimit
from reward_models.failures import InfrastructureError
from reward_models.patience import Patience

ROWS = 4


def there() -> bool:
    """Whether this is the second process."""
    return torch.distributed.get_rank() == 1


def fine(prompts: Any, completions: Any) -> list[float]:
    return [1.0 + torch.distributed.get_rank()] * len(completions)


def away(prompts: Any, completions: Any) -> list[Any]:
    return [InfrastructureError("the judge of rank 1")] * len(completions) if there() else fine(prompts, completions)


def hangs(prompts: Any, completions: Any) -> list[float]:
    if there():
        threading.Event().wait(60)
    return fine(prompts, completions)


def divides(prompts: Any, completions: Any) -> list[float]:
    return [1 / 0] if there() else fine(prompts, completions)


def too_few(prompts: Any, completions: Any) -> list[float]:
    return fine(prompts, completions)[: 2 if there() else ROWS]


class Broken(Scorer):
    """An error of our own, and not a source's, on the second process."""

    def _supplied(self, batch: Any) -> dict[str, Any]:
        if there():
            raise KeyError("something of ours")
        return {}


CASES = {"fine": fine, "away": away, "hangs": hangs, "divides": divides, "too_few": too_few, "broken": fine}


def see(accelerator: Accelerator, case: str) -> dict[str, Any]:
    """Score and count a batch of 8 rows, of which 3 may be missing."""
    patience = Patience(timeout=0.3 if case == "hangs" else None, retries=0)
    source = RewardSource(CASES[case], ("judge",), patience=patience)
    scorer = (Broken if case == "broken" else Scorer)([source], UnscoredLimit(0.375, 1))
    found: dict[str, Any] = {}
    try:
        rows = [{"prompt": "p"}] * ROWS
        rewards, _ = scorer(accelerator, rows, ["p"] * ROWS, ["c"] * ROWS, {"completion_ids": [[1]] * ROWS})
        found["rewards"] = [None if value != value else value for value in rewards[:, 0].tolist()]
        scorer.count(rewards)
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}"
    found["missing"] = {name: int(total) for name, (total, _) in scorer.missing().items()} if "rewards" in found else {}
    return found


def main(folder: str) -> None:
    """Play all cases, one after the other: a process that stops alone would leave the other waiting."""
    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True)
    seen = {case: see(accelerator, case) for case in CASES}
    (Path(folder) / f"rank_{accelerator.process_index}.json").write_text(json.dumps(seen), encoding="utf-8")
    accelerator.wait_for_everyone()
    torch.distributed.destroy_process_group()
    sys.stdout.flush()
    # A hanging thread, and threads of gloo, need not be waited for.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
