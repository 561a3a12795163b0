"""Which steps of a run are spoilt, and copies of all that a step may move."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

BAD = (float("nan"), float("inf"), float("-inf"))


@dataclass(frozen=True)
class Spoilt:
    """One step: what it is given, and where in its batch."""

    value: float
    draw: int

    def row(self, rows: int) -> int:
        """Return the row of so many that is spoilt."""
        return self.draw % rows


@dataclass
class Plan:
    """Steps to be spoilt, by number from 1 on, on one rank alone or on all.

    ``expected`` collects the names of the rows that were.
    """

    steps: dict[int, Spoilt]
    rank: int | None = None
    expected: dict[int, list[str]] = field(default_factory=dict)

    def at(self, trainer: Any) -> Spoilt | None:
        """Return what the step in hand is given; None leaves it as it is."""
        if self.rank not in (None, trainer.args.process_index):
            return None
        return self.steps.get(trainer.state.global_step + 1)

    def expect(self, trainer: Any, names: Sequence[str]) -> None:
        """These rows are to be named at the step in hand."""
        self.expected.setdefault(trainer.state.global_step + 1, []).extend(names)


def plan_of(seed: int, steps: int, share: float = 0.35, rank: int | None = None) -> Plan:
    """Draw about ``share`` of the steps, each with NaN, infinity or minus infinity in turn; never the last two."""
    draw = random.Random(seed)
    chosen = sorted(draw.sample(range(1, steps - 1), int(share * steps)))
    return Plan({step: Spoilt(BAD[i % 3], draw.randrange(10**6)) for i, step in enumerate(chosen)}, rank)


class Moments(TrainerCallback):
    """Keeps a copy of everything that a step may move, before each step and after the last one."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.before: dict[int, Any] = {}

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A step begins."""
        self.before[state.global_step + 1] = everything(self.trainer)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The last one is over."""
        self.before[state.global_step + 1] = everything(self.trainer)


def everything(trainer: Any) -> dict[str, Any]:
    """Return parameters, moments of the optimiser, state of the objective and a moving reference, copied."""
    held = {
        "parameters": {name: value.detach() for name, value in trainer.model.named_parameters()},
        "optimiser": trainer.optimizer.state_dict()["state"],
        "objective": getattr(trainer, "objective_state", getattr(getattr(trainer, "whole", None), "state", {})),
    }
    moving = getattr(trainer, "moving_weights", None)
    held["reference"] = {} if moving is None else {name: p.detach() for name, p in moving.parameters.items()}
    return copy.deepcopy(held)


def same(one: Any, other: Any) -> bool:
    """Whether two nested values are equal bit for bit."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    return bool(one == other)
