"""Three steps on eight rows each, cut in every way: python -m torch.distributed.run ... splits_on_ranks.py FOLDER.

A case is a recipe of one of the three trainers, a cut says how many micro-batches an optimiser step has, and whether
each goes through the model in several passes. Completions are given, gradient descent is plain.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from datasets import Dataset
from safetensors.torch import save_file

from prefopt.trainers.offline import OfflineConfig, offline_objective, trainer_of
from prefopt.trainers.reward import RewardConfig, RewardTrainer
from reward_models import RewardModel
from scripts.faults.tiny_trainers import backbone, parameters
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer
from tests.trainers.online import support

ROWS, STEPS = 8, 3
MOVED = 1e-3
CUTS: Mapping[str, tuple[int, bool]] = {
    "one": (1, False),
    "two": (2, False),
    "two, in passes": (2, True),
    "four": (4, False),
}
"""Micro-batches of a step, and whether a micro-batch is cut again by ``token_budget``."""
SHARED: dict[str, Any] = {
    "max_steps": STEPS,
    "optim": "sgd",
    "lr_scheduler_type": "constant",
    "use_cpu": True,
    "disable_tqdm": True,
    "save_strategy": "no",
    "report_to": "none",
    "logging_steps": 1,
}
ONLINE: dict[str, Any] = {
    "weighted": {"recipe": "gdpo", "aggregate": "dapo", "regularise": {"recipe": "grpo", "beta": 0.1}},
    "weights that move": {"recipe": "ctwa", "targets": 1.0, "learning_rate": 0.5},
    "stateful": {"recipe": "reinforce", "baseline_momentum": 0.5},
    "whole batch": {"recipe": "m2po", "threshold": 1e-9},
    "constrained": {"recipe": "constrained", "thresholds": [0.8, 0.7], "start": 1.0},
    "negative advantages": {"recipe": "ngrpo", "reward_max": 3.0},
}
OFFLINE: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain": ("dpo", {"beta": 1.0}),
    "weighted": ("wpo", {}),
    "point of reference": ("kto", {}),
    "running mean": ("bco_pair", {}),
    "whole batch": ("aot", {}),
    "masks": ("sparse_po", {"mask_dropout": 0.0}),
    "moving reference": ("tr_dpo", {"share": 0.6, "every": 2}),
}
REWARD: dict[str, dict[str, Any]] = {
    "plain": {"centring": 0.1},
    "ties": {"loss": "rao_kupper"},
    "hard pairs": {"loss": "focal"},
    "two heads": {"heads": ("a", "b")},
}
CASES = [f"online: {name}" for name in ONLINE]
CASES += [f"offline: {name}" for name in OFFLINE]
CASES += [f"reward: {name}" for name in REWARD]


def play(folder: Path, case: str, cut: str) -> dict[str, torch.Tensor]:
    """Train three steps; return the parameters, those of a network beside the policy among them."""
    kind, _, name = case.partition(": ")
    parts, passes = CUTS[cut]
    size = ROWS // parts // int(os.environ.get("WORLD_SIZE", "1"))
    settings = SHARED | {"per_device_train_batch_size": size, "gradient_accumulation_steps": parts}
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = {"online": _online, "offline": _offline, "reward": _reward}[kind](folder, name, settings, passes)
        before = parameters(run)
        run.train()
    assert run.state.global_step == STEPS
    after = parameters(run)
    assert furthest(before, after) > MOVED, "a case that stands still shows nothing"
    return after


def furthest(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> float:
    """Largest difference of two sets of parameters, of the same names."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def _online(folder: Path, name: str, settings: dict[str, Any], passes: bool) -> Any:
    parts = settings["gradient_accumulation_steps"]
    return support.trainer(
        folder, recipe=ONLINE[name], model=tiny_llama(hidden=16, layers=1), learning_rate=0.1, seed=3,
        steps_per_generation=parts, token_budget=10 if passes else None, **settings,
    )  # fmt: skip


def _offline(folder: Path, name: str, settings: dict[str, Any], passes: bool) -> Any:
    recipe, own = OFFLINE[name]
    config = OfflineConfig(
        output_dir=str(folder), recipe=recipe, recipe_settings=own, learning_rate=0.1, warmup_steps=0,
        train_sampling_strategy="sequential", token_budget=40 if passes else None,
        reference_model=None if name == "moving reference" else str(_reference()), **settings,
    )  # fmt: skip
    objective = offline_objective(config)
    rows = _judged() if objective.unpaired else _pairs()
    model = tiny_llama(hidden=16, layers=1)
    return trainer_of(objective)(model, config, objective, rows, processing_class=tiny_tokenizer())


@cache
def _reference() -> Path:
    """Another policy, so that rewards differ from the start and no reference point is clamped to 0."""
    model = tiny_llama(hidden=16, layers=1)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(5)
    return save_tiny(Path(mkdtemp(prefix="prefopt-tiny-")), model, tiny_tokenizer())


def _reward(folder: Path, name: str, settings: dict[str, Any], passes: bool) -> Any:
    own = dict(REWARD[name])
    heads = own.pop("heads", ("score",))
    config = RewardConfig(
        output_dir=str(folder), learning_rate=0.1, train_sampling_strategy="sequential",
        token_budget=40 if passes else None, **own, **settings,
    )  # fmt: skip
    start = backbone()
    torch.manual_seed(0)
    model = RewardModel.from_backbone(start, heads)
    torch.nn.init.normal_(model.score_head.weight, generator=torch.Generator().manual_seed(0))
    rows = _pairs()
    return RewardTrainer(
        model, config, rows.add_column("head", [heads[i % 2] for i in range(len(rows))]) if len(heads) > 1 else rows
    )


def _pairs() -> Dataset:
    """24 ragged pairs, each once in three steps."""
    numbers = range(ROWS * STEPS)
    rows = {
        "prompt": [f"Q{i}: {'why ' * (i % 4)}?" for i in numbers],
        "chosen": [f"As {i}." + " Yes." * (i % 3) for i in numbers],
        "rejected": ["No" * (1 + i % 5) for i in numbers],
    }
    return Dataset.from_dict(rows)


def _judged() -> Dataset:
    rows = [
        {"prompt": row["prompt"], "completion": row["chosen" if i % 3 else "rejected"], "label": bool(i % 3)}
        for i, row in enumerate(_pairs())
    ]
    return Dataset.from_list(rows)


def main(folder: str) -> None:
    """Play every case and cut; rank 0 writes parameters."""
    torch.set_num_threads(1)
    # Before the processes know of each other: then only the first would write a folder.
    backbone(), _reference()
    for case in CASES:
        for cut in ("one", "two", "two, in passes"):
            own = Path(folder) / f"{case} {cut} {os.environ['RANK']}"
            found = play(own, case, cut)
            if os.environ["RANK"] == "0":
                save_file(found, Path(folder) / f"{case} {cut}.safetensors")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    # gloo's threads now and then abort while the interpreter shuts down; what is tested is in the files by now.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
