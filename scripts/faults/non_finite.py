"""NaN and infinities in rewards, log-probabilities, losses and gradients of all three trainers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from prefopt.trainers.adapters import AdapterArguments, wrap
from prefopt.trainers.offline_config import OfflineConfig, offline_objective
from prefopt.trainers.offline_trainer import OfflineTrainer
from prefopt.trainers.reward import RewardConfig, RewardTrainer
from reward_models import RewardModel
from scripts.faults.figure import Figure
from scripts.faults.poisoning import places
from scripts.faults.poisoning.outcomes import Outcome, outcome
from scripts.faults.poisoning.steps import Plan, plan_of
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer
from tests.trainers.online import support
from tests.trainers.pairs import pairs, quiet

STEPS = 24
UNBOUNDED = 10**6
Place = Callable[[Any, Plan], None]


def reward_trainer(folder: Path, **settings: Any) -> RewardTrainer:
    """A Bradley-Terry run with AdamW, 4 rows a micro-batch."""
    torch.manual_seed(0)
    backbone = save_tiny(folder / f"backbone-{os.environ.get('RANK', '0')}", tiny_llama(), tiny_tokenizer())
    given = {
        "output_dir": str(folder), "learning_rate": 1e-3, "weight_decay": 0.1, "per_device_train_batch_size": 4,
        "disable_tqdm": True, "save_strategy": "no", "use_cpu": True, "logging_steps": 1, "max_steps": STEPS,
        "max_non_finite": UNBOUNDED, "lr_scheduler_type": "constant",
    }  # fmt: skip
    return RewardTrainer(RewardModel.from_backbone(backbone), RewardConfig(**{**given, **settings}), pairs(24))


def offline_trainer(
    folder: Path, recipe: str = "dpo", lora: bool = False, held_out: bool = False, **settings: Any
) -> OfflineTrainer:
    """An offline run with AdamW, 4 pairs a micro-batch."""
    torch.manual_seed(0)
    given: dict[str, Any] = {
        "optim": OfflineConfig.__dataclass_fields__["optim"].default, "learning_rate": 1e-3, "weight_decay": 0.1,
        "per_device_train_batch_size": 4, "max_non_finite": UNBOUNDED, "max_steps": STEPS,
    }  # fmt: skip
    config = quiet(folder, recipe=recipe, **{**given, **settings})
    model = wrap(tiny_llama(), AdapterArguments(use_peft=True, lora_r=4)) if lora else tiny_llama()
    return OfflineTrainer(
        model,
        config,
        offline_objective(config),
        pairs(24),
        pairs(8) if held_out else None,
        tiny_tokenizer(),
        fresh_adapter=lora,
    )


def online_trainer(folder: Path, recipe: Any = "grpo", **settings: Any) -> Any:
    """An online run with AdamW, two groups of 4 completions a step, known in advance."""
    torch.manual_seed(0)
    given = {"learning_rate": 1e-3, "weight_decay": 0.1, "max_steps": STEPS, "max_non_finite": UNBOUNDED}
    return support.trainer(folder, recipe=recipe, **{**given, **settings})


@dataclass(frozen=True)
class Case:
    """A trainer, with its settings, and where its steps are spoilt."""

    make: Callable[..., Any]
    place: Place
    settings: dict[str, Any] = field(default_factory=dict)

    def __call__(self, folder: Path, seed: int, steps: int = STEPS) -> Outcome:
        """Train, with a third of the steps spoilt."""
        return outcome(self.make(folder, max_steps=steps, **self.settings), plan_of(seed, steps), self.place)


TWICE = {"gradient_accumulation_steps": 2}
WITH_REFERENCE = {"recipe": {"recipe": "grpo", "beta": 0.1}}
WITH_STATE = {"recipe": {"recipe": "reinforce", "baseline_momentum": 0.9}}
CASES: dict[str, Case] = {
    "reward trainer, loss of a row": Case(reward_trainer, places.row_loss),
    "reward trainer, loss": Case(reward_trainer, places.loss),
    "reward trainer, gradient": Case(reward_trainer, places.gradient, TWICE),
    "offline, policy": Case(offline_trainer, places.policy_offline),
    "offline, policy in passes": Case(offline_trainer, places.policy_offline, {"token_budget": 40}),
    "offline, reference": Case(offline_trainer, places.reference_offline),
    "offline, a reference that moves": Case(offline_trainer, places.policy_offline, {"recipe": "tr_dpo"}),
    "offline, a state": Case(offline_trainer, places.loss, {"recipe": "bco_pair"}),
    "offline, gradient": Case(offline_trainer, places.gradient),
    "offline, optimiser lift": Case(offline_trainer, places.gradient, {"optimiser": "lift"}),
    "offline, optimiser mgup": Case(
        offline_trainer, places.gradient, {"optimiser": {"recipe": "mgup", "form": "muon"}}
    ),
    "offline, an adapter": Case(offline_trainer, places.policy_offline, {"lora": True}),
    "online, policy": Case(online_trainer, places.policy_online),
    "online, reference": Case(online_trainer, places.reference_online, WITH_REFERENCE),
    "online, sampling engine": Case(online_trainer, places.sampler, {"recipe": "tis"}),
    "online, a state": Case(online_trainer, places.loss, WITH_STATE),
    "online, a critic": Case(online_trainer, places.policy_online, {"recipe": "gae", "critic_learning_rate": 1e-2}),
    "online, two steps a batch": Case(
        online_trainer, places.policy_online, {"per_device_train_batch_size": 4, "steps_per_generation": 2}
    ),
    "online, gradients of each reward": Case(online_trainer, places.loss, {"recipe": "dynamic_gradient"}),
    "online, loss": Case(online_trainer, places.loss),
    "online, gradient": Case(online_trainer, places.gradient),
}


def play(seed: int) -> dict[str, Outcome]:
    """Run every case with its own draw of steps."""
    found = {}
    for number, (name, case) in enumerate(CASES.items()):
        with tempfile.TemporaryDirectory(prefix="non-finite-") as folder:
            found[name] = case(Path(folder), 1000 * seed + number)
    return found


def inject(seed: int) -> list[Figure]:
    """Spoil a third of the steps of every case; then those of one process of two."""
    from scripts.faults.poisoning.two_processes import on_two

    found = play(seed)
    total, caught = (sum(getattr(one, name) for one in found.values()) for name in ("injected", "caught"))
    lost = ", ".join(name for name, one in found.items() if one.caught < one.injected)
    unnamed = ", ".join(name for name, one in found.items() if one.named < one.injected)
    moved, others = (sum(getattr(one, name) for one in found.values()) for name in ("moved", "others"))
    with tempfile.TemporaryDirectory(prefix="non-finite-") as folder:
        ranks = [one for rank in on_two(Path(folder), seed) for one in rank.values()]
    apart = sum(one["injected"] for one in ranks)
    together = sum(one["caught"] for one in ranks if one["ranks_agree"])
    return [
        Figure(
            "steps given NaN or an infinity, after which all was bit for bit as before", total, caught, total - caught,
            f"{len(found)} places in three trainers" + (f"; not caught: {lost}" if lost else ""),
        ),
        Figure(
            "of them, steps whose rows were named", total, sum(one.named for one in found.values()),
            note=f"not all: {unnamed}" if unnamed else "the row itself where one was spoilt, else those of the step",
        ),
        Figure("steps between them that went on learning", others, moved),
        Figure(
            "runs that ended with finite parameters and a log that says so", len(found),
            sum(one.finite for one in found.values()),
        ),
        Figure(
            "steps of two processes that one of them alone spoilt, and both left out", apart, together,
            apart - together, "both ended with the same parameters, bit for bit",
        ),
    ]  # fmt: skip
