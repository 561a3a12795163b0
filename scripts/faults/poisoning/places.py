"""Where a number that is not finite can enter a run: each function spoils the steps of a plan there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from scripts.faults.poisoning.steps import Plan, Spoilt


def loss(trainer: Any, plan: Plan) -> None:
    """The loss of a micro-batch, of which every row may be the reason."""
    name = "micro_batch_loss" if hasattr(trainer, "micro_batch_loss") else "compute_loss"
    compute = getattr(trainer, name)

    def spoilt(model: Any, batch: Any, *args: Any, **options: Any) -> Any:
        value = compute(model, batch, *args, **options)
        bad = plan.at(trainer) if model.training else None
        if bad is None:
            return value
        plan.expect(trainer, trainer.rows_of(batch))
        return value * bad.value

    setattr(trainer, name, spoilt)


def gradient(trainer: Any, plan: Plan) -> None:
    """One entry of the gradient of one parameter, of which every row of the step may be the reason."""
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    hooked = trainer.training_step

    def step(model: Any, inputs: Any, *args: Any, **options: Any) -> Tensor:
        bad, found = plan.at(trainer), None
        if bad is not None:
            parameter = trained[bad.draw % len(trained)]
            found = parameter.register_hook(lambda g: _with(g, bad))
        try:
            return hooked(model, inputs, *args, **options)
        finally:
            if found is not None:
                found.remove()
                for batch, _ in trainer.finite_steps.seen[-1].parts:
                    plan.expect(trainer, trainer.rows_of(batch))

    trainer.training_step = step


def row_loss(trainer: Any, plan: Plan) -> None:
    """The loss of one row of the reward trainer."""
    inner = trainer.row_losses

    def spoilt(model: Any, part: Any) -> Any:
        losses, figures = inner(model, part)
        bad = plan.at(trainer) if model.training else None
        return (losses if bad is None else _in_row(trainer, plan, part, losses, bad)), figures

    trainer.row_losses = spoilt


def policy_offline(trainer: Any, plan: Plan) -> None:
    """A log-probability of one chosen response under the policy."""
    _outputs(trainer, plan, 0)


def reference_offline(trainer: Any, plan: Plan) -> None:
    """A log-probability of one chosen response under the reference."""
    _outputs(trainer, plan, 1)


def policy_online(trainer: Any, plan: Plan) -> None:
    """A log-probability of one completion under the policy that learns."""
    inner = trainer.current

    def spoilt(model: Any, batch: Any, measured: bool) -> Any:
        outputs, entropies, balance = inner(model, batch, measured)
        bad = plan.at(trainer) if model.training else None
        if bad is not None:
            outputs = replace(outputs, logps=_in_row(trainer, plan, batch, outputs.logps, bad))
        return outputs, entropies, balance

    trainer.current = spoilt


def reference_online(trainer: Any, plan: Plan) -> None:
    """A log-probability of one completion under the reference, computed when it is sampled."""
    inner = trainer.reference.logps
    _at_sampling(trainer, plan)
    trainer.reference.logps = lambda batch: _sampled(trainer, plan, inner(batch))


def sampler(trainer: Any, plan: Plan) -> None:
    """A log-probability that the sampling engine gives."""
    inner = trainer.rollout_func

    def spoilt(asked: list[str], run: Any) -> dict[str, Any]:
        found = inner(asked, run)
        bad, logprobs = plan.at(trainer), [[-1.0] * len(ids) for ids in found["completion_ids"]]
        if bad is not None:
            logprobs[bad.row(len(logprobs))][0] = bad.value
        return {**found, "logprobs": logprobs}

    trainer.rollout_func = spoilt
    _at_sampling(trainer, plan)


def _outputs(trainer: Any, plan: Plan, which: int) -> None:
    inner = trainer.outputs

    def spoilt(model: Any, batch: Any) -> Any:
        said = list(inner(model, batch))
        bad = plan.at(trainer) if model.training else None
        if bad is not None:
            said[which] = replace(
                said[which], chosen_logps=_in_row(trainer, plan, batch, said[which].chosen_logps, bad)
            )
        return tuple(said)

    trainer.outputs = spoilt


def _in_row(trainer: Any, plan: Plan, batch: Any, values: Tensor, bad: Spoilt) -> Tensor:
    """Spoil the first number of one row, and expect its name."""
    row = bad.row(len(values))
    plan.expect(trainer, [list(trainer.rows_of(batch))[row]])
    added = torch.zeros_like(values)
    added.view(len(values), -1)[row, 0] = bad.value
    return values + added


def _sampled(trainer: Any, plan: Plan, values: Tensor) -> Tensor:
    bad = plan.at(trainer)
    if bad is None or trainer.mode == "eval":
        return values
    found = values.clone()
    found[bad.row(len(values)), 0] = bad.value
    return found


def _at_sampling(trainer: Any, plan: Plan) -> None:
    """Expect the name that the row has in the order in which it was sampled."""
    inner = trainer.prepare_generation

    def named(rows: Any, batch: Any, rewards: Tensor) -> Any:
        bad, found = plan.at(trainer), inner(rows, batch, rewards)
        if bad is not None and trainer.mode == "train":
            plan.expect(trainer, [found["row_names"][bad.row(len(rows))]])
        return found

    trainer.prepare_generation = named


def _with(gradient: Tensor, bad: Spoilt) -> Tensor:
    found = gradient.clone()
    found.view(-1)[bad.draw % found.numel()] = bad.value
    return found
