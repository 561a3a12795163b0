"""One cell: an arm, a data set and a seed, trained and measured on held-out pairs."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoModelForCausalLM

from prefopt import recipes
from prefopt.composition import IncompatibleParts
from prefopt.errors import UserError
from prefopt.trainers.offline import OfflineConfig, align_offline
from reward_models.errors import DataError
from reward_models.formatting import Formatter
from scripts.offline_real.decoder import decoder, fits, tokenizer_of
from scripts.offline_real.pairs import splits

BATCH, EPOCHS, LEARNING_RATE = 16, 2, 1e-3
ROWS = 32


@dataclass(frozen=True)
class Arm:
    """A recipe with its settings."""

    recipe: str
    settings: Mapping[str, Any] = field(default_factory=dict)


COMPARED: dict[str, Arm] = {
    "wpo, beta 0.1": Arm("wpo", {"beta": 0.1}),
    "sparse_po, beta 0.1": Arm("sparse_po", {"beta": 0.1}),
    "pre_dpo, beta 0.1": Arm("pre_dpo", {"beta": 0.1, "guide": {"recipe": "sigmoid", "beta": 0.1}}),
}
"""What stands beside DPO (``sigmoid``) with its beta."""


OWN: dict[str, dict[str, Any]] = {"tr_dpo": {"every": 8}}
"""Settings of recipes whose defaults mean nothing in so few steps: TR-DPO would never move its reference."""


def arms() -> dict[str, Arm]:
    """Every offline recipe at its defaults, but for `OWN`, then those that are compared at DPO's beta."""
    return {name: Arm(name, OWN.get(name, {})) for name in recipes.names("offline")} | COMPARED


def run_cell(name: str, data: str, seed: int) -> dict[str, Any]:
    """Train and measure; where the recipe refuses such pairs, its sentence stands for the figures."""
    begin, arm, start = time.perf_counter(), arms()[name], decoder()
    cell: dict[str, Any] = {"name": name, "data": data, "seed": seed}
    with tempfile.TemporaryDirectory(prefix="offline-real-") as folder:
        config = OfflineConfig(
            output_dir=folder,
            recipe=arm.recipe,
            recipe_settings=dict(arm.settings),
            seed=seed,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=BATCH,
            learning_rate=LEARNING_RATE,
            save_strategy="no",
            logging_steps=1000,
            use_cpu=True,
            disable_tqdm=True,
        )
        try:
            done = align_offline(str(start), _splits(data)["trained"], config)
        except (UserError, DataError, ValueError, IncompatibleParts) as error:
            return cell | {"refused": str(error)}
        cell["seconds"] = round(time.perf_counter() - begin, 1)
        for split, rows in _splits(data).items():
            before, after = _before(data, split), likelihoods(Path(folder), rows)
            cell[split] = figures(before, after)
        cell["skipped"] = done.skipped_steps
    return cell


@cache
def _before(data: str, split: str) -> Tensor:
    return likelihoods(decoder(), _splits(data)[split])


@cache
def _splits(data: str) -> dict[str, Dataset]:
    return dict(zip(("trained", "held_out"), splits(data, fits), strict=True))


def figures(before: Tensor, after: Tensor) -> dict[str, float]:
    """Compare log-likelihoods ``(N, 2)``, chosen first, before and after.

    ``likelier``: share of pairs whose chosen answer is the likelier one. ``rewarded``: share in which its
    log-likelihood gained more than the rejected answer's, which is DPO's implicit reward; 0.5 before by definition.
    ``margin``: mean of that difference, in nats. ``chosen``: how much the chosen answer's log-likelihood gained.
    """
    gain = after - before
    margin = gain[:, 0] - gain[:, 1]
    return {
        "likelier_before": _share(before[:, 0] - before[:, 1]),
        "likelier_after": _share(after[:, 0] - after[:, 1]),
        "rewarded": _share(margin),
        "margin": float(margin.mean()),
        "chosen": float(gain[:, 0].mean()),
    }


def _share(difference: Tensor) -> float:
    """Share above zero; a tie counts half."""
    return float((difference > 0).double().mean() + 0.5 * (difference == 0).double().mean())


@torch.no_grad()
def likelihoods(folder: Path, rows: Dataset) -> Tensor:
    """Return summed log-probabilities of both answers ``(N, 2)`` float64, by the model's own forward pass."""
    model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, trust_remote_code=False).eval()
    format_ = Formatter(tokenizer_of(decoder()))
    encoded = [format_.encode(row["prompt"], row[side]) for row in rows for side in ("chosen", "rejected")]
    sums = torch.zeros(len(encoded), dtype=torch.float64)
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i].input_ids))
    for first in range(0, len(order), ROWS):
        taken = order[first : first + ROWS]
        ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(encoded[i].input_ids) for i in taken], batch_first=True)
        logps = model(input_ids=ids).logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
        for row, i in enumerate(taken):
            response = logps[row, encoded[i].response_start - 1 : len(encoded[i].input_ids) - 1]
            sums[i] = response.sum(dtype=torch.float64)
    return sums.view(-1, 2)


def path_of(folder: Path, name: str, data: str, seed: int) -> Path:
    """Where a cell is kept."""
    return folder / f"{name.replace(', ', '_').replace(' ', '_')}-{data}-{seed}.json"


def play(folder: Path, name: str, data: str, seed: int) -> Path:
    """Run a cell and keep it."""
    torch.set_num_threads(1)
    path = path_of(folder, name, data, seed)
    path.write_text(json.dumps(run_cell(name, data, seed)) + "\n", encoding="utf-8")
    return path
