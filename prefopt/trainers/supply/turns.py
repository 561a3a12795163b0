"""The turns of a generation batch, learned one after the other: what changes in the batch when a pass begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import TrainerCallback

from prefopt.errors import UserError
from prefopt.online.method import OnlineMethod
from prefopt.online.turnwise import TurnwiseObjective, advanced, turn_ratio
from prefopt.trainers.generation import EXTRA, completion_mask, detach_rows
from prefopt.trainers.rewards.verdicts import turn_ids
from prefopt.trainers.shared_prompts import unpadded
from prefopt.trainers.supply.refine import gathered, joined_rows, on_device
from prefopt.trainers.supply.steps import Splitter, step_ids

if TYPE_CHECKING:
    from prefopt.trainers.online_config import OnlineConfig
    from prefopt.trainers.online_trainer import OnlineTrainer

EVERY_TURN = "every_turn"
"""Tokens of the policy, while ``tool_mask`` keeps those of one turn."""
MISSING = "turn_is_missing"
CORRECTION = "turn_correction"


class Turns(TrainerCallback):
    """Goes through the passes of a `TurnwiseObjective`: iteration i over a generation batch learns its i-th last turn.

    A pass begins with one forward pass over the batch without gradient. It gives the turn's old log-probabilities, and
    tells how far the turn before it was moved. Where a batch has fewer turns than there are iterations, the rest of
    them change nothing: neither weights nor the optimiser's moments.
    """

    def __init__(self, trainer: OnlineTrainer, objective: TurnwiseObjective) -> None:
        self.trainer, self.objective = trainer, objective
        self.empty = False

    @torch.no_grad()
    def before_step(self) -> None:
        """Begin a pass, where the next micro-batch is the first of one."""
        trainer, steps = self.trainer, self.trainer.args.steps_per_generation
        if trainer.mode == "eval":
            return
        parts = trainer.buffer or []
        if trainer.micro_step % steps == 0:
            self._begin(trainer.micro_step // steps % trainer.num_iterations, parts)
        # From the batch, as a resumed run may start within a pass.
        self.empty = bool(parts[0][MISSING].all())

    def _begin(self, number: int, parts: list[dict[str, Any]]) -> None:
        """Put what pass ``number``, from 0 on, learns from into this process's micro-batches."""
        trainer, objective, sizes = self.trainer, self.objective, [len(part["completion_ids"]) for part in parts]
        for part in parts:
            part["tool_mask"] = part.setdefault(EVERY_TURN, completion_mask(part).long())
        own = [trainer.fixed_outputs(trainer.model, part)[0] for part in parts]
        now = gathered(torch.cat(own), trainer.accelerator)
        rows, _ = detach_rows(joined_rows(parts, now.device, trainer.accelerator), now)
        passes = list(objective.passes(rows))
        if len(passes) > trainer.num_iterations:
            raise UserError(
                f"a completion has {len(passes)} turns, and num_iterations={trainer.num_iterations}: a pass is made "
                "for each; set num_iterations to the most turns that a completion may have"
            )
        correction = objective.start(rows) if number == 0 else rows.extras[CORRECTION]
        if 0 < number <= len(passes):
            learned = passes[number - 1][1].mask
            correction = advanced(correction, turn_ratio(rows.logps, now, learned))
        empty = number >= len(passes)
        turn = replace(rows, mask=torch.zeros_like(rows.mask)) if empty else passes[number][1]
        prepared = objective.prepare(
            objective.at_turn(turn, now, correction), on_device(trainer.objective_state, now.device)
        )
        if not empty:
            trainer.statistics = {slot: dict(values) for slot, values in prepared.statistics.items()}
        first = trainer.accelerator.process_index * sum(sizes)
        for part, logps, size in zip(parts, own, sizes, strict=True):
            place, first = slice(first, first + size), first + size
            mine = prepared[place]
            sampled = part.get("importance_sampling_ratio", 1.0)
            part |= {"advantages": mine.advantages, "weights": mine.weights * sampled}
            part |= {"penalty_weights": mine.penalty_weights, "old_per_token_logps": logps}
            part[MISSING] = torch.full((size,), empty)
            part |= {"tool_mask": turn.mask[place].long(), EXTRA + CORRECTION: correction[place]}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Without gradients nothing moves."""
        if self.empty:
            for parameter in kwargs["model"].parameters():
                parameter.grad = None


def needs_of(objective: OnlineMethod) -> frozenset[str]:
    """Return what the objective's parts declare, and the turns, where it goes through them."""
    return objective.needs | ({"turn_ids"} if isinstance(objective, TurnwiseObjective) else set())


def numbered_turns(trainer: OnlineTrainer, batch: Mapping[str, Any], mask: Tensor) -> Tensor:
    """Return ``(B, T)`` int64, the turn of each token: the policy's uninterrupted runs of tokens.

    Where turns are learned one after the other and ``steps`` says how completions are divided, they are the steps, of
    which the last pass takes all that are left.
    """
    if trainer.turns is None or trainer.args.steps is None:
        return turn_ids(mask)
    ids = unpadded(batch["completion_ids"], batch["completion_mask"])
    found, _ = step_ids(Splitter.of(trainer.args.steps), trainer.tokenizer, ids)
    found = found.clamp(max=trainer.num_iterations - 1).to(mask.device)
    return pad(found, (0, mask.shape[1] - found.shape[1]))


def check_turns(objective: OnlineMethod, config: OnlineConfig, other: Mapping[str, Any]) -> None:
    """Raise ``UserError`` where passes would not fall on whole turns; ``other`` goes to TRL's trainer."""
    if not isinstance(objective, TurnwiseObjective):
        return
    name, passes = objective.recipe or type(objective).__name__, config.num_iterations
    micro, together = config.steps_per_generation, config.gradient_accumulation_steps
    if micro % together:
        raise UserError(
            f"{name} learns one turn after the other, and gradient_accumulation_steps={together} would mix two turns "
            f"in a step: steps_per_generation={micro} must be a multiple of it"
        )
    if objective.scope == "batch":
        raise UserError(f"{name} learns one turn after the other; its parts may not look at a whole mini-batch")
    if config.fp16 or config.deepspeed:
        raise UserError(f"{name} leaves the optimiser alone where a turn is missing; use neither fp16 nor DeepSpeed")
    if other.get("tools") or other.get("environment_factory"):
        calls = config.max_tool_calling_iterations
        if calls is None or passes <= calls:
            raise UserError(
                f"{name} makes one pass for each turn: set max_tool_calling_iterations (it is {calls}) and "
                f"num_iterations (it is {passes}) to one more than that"
            )
    elif passes > 1 and not (other.get("rollout_func") or config.steps or "turn_ids" in config.inputs):
        raise UserError(
            f"{name} makes one pass for each turn, and a completion without tools is a single one: leave "
            "num_iterations at 1, or say by `steps` where turns end"
        )
