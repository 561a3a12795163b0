"""One generation batch of all processes as `Rollouts`, and the way of its rows to micro-batches and back.

``prepare`` runs on the CPU on every process, with the same result: the tensors are small, sums do not depend on the
device, and accelerators without float64 work as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from prefopt.batch import NEEDS, Prepared, Rollouts
from prefopt.composition import State
from prefopt.online.method import OnlineMethod

EXTRA = "extra."
# Read on the CPU only; moving them would force a synchronisation in every micro-batch.
ON_CPU = ("group", "rewards")
VERDICTS = ("test_results", "turn_test_results")


def completion_mask(batch: Mapping[str, Any]) -> Tensor:
    """Return ``(B, T)`` bool: tokens of the policy, neither padding nor tool output."""
    mask = batch["completion_mask"]
    return (mask * batch["tool_mask"] if "tool_mask" in batch else mask).bool()


def gather_rollouts(
    accelerator: Accelerator, mask: Tensor, rewards: Tensor, logps: Tensor, extras: Mapping[str, Tensor], group: int
) -> Rollouts:
    """Return the rollouts of all processes on the CPU, padded to one width; ``group`` rows in a row share a prompt.

    Args:
        accelerator: knows the processes.
        mask: ``(B, T)`` of this process. logps: the same. extras: by their names, first dimension B.
        rewards: ``(N, K)`` of all processes.
        group: completions a prompt.
    """

    def everywhere(values: Tensor, filler: float = 0) -> Tensor:
        if accelerator.num_processes > 1:
            for dimension in range(1, values.ndim):
                values = accelerator.pad_across_processes(values.contiguous(), dim=dimension, pad_index=filler)
            values = accelerator.gather(values)
        return values.detach().cpu()

    return Rollouts(
        group=torch.arange(len(rewards)) // group,
        mask=everywhere(mask.int()).bool(),
        rewards=rewards.detach().float().cpu(),
        logps=everywhere(logps.float()),
        # A test that only another process's problems have is one without a verdict here.
        extras={name: everywhere(values, torch.nan if name in VERDICTS else 0) for name, values in extras.items()},
    )


def attach(batch: dict[str, Any], rollouts: Rollouts, prepared: Prepared, rows: slice, width: int) -> dict[str, Any]:
    """Return ``batch`` with this process's rows of what the loss needs; TRL shuffles and splits them alike."""
    device = batch["completion_ids"].device
    own = {
        "advantages": prepared.advantages,
        "weights": prepared.weights,
        "penalty_weights": prepared.penalty_weights,
    }
    tensors = {name: values[rows, :width].to(device) for name, values in own.items()}
    for name, values in rollouts.extras.items():
        local = values[rows, :width] if NEEDS[name].shape.startswith("(B, T") else values[rows]
        tensors[EXTRA + name] = local.to(device)
    return batch | tensors | {"group": rollouts.group[rows], "rewards": rollouts.rewards[rows]}


def detach_rows(batch: Mapping[str, Any], logps: Tensor) -> tuple[Rollouts, Prepared]:
    """Return a micro-batch's rollouts and prepared weights; ``logps`` ``(B, T)`` where none were kept from sampling.

    They are those of the policy itself, where the batch gives a single update: the same values.
    """
    old = batch.get("old_per_token_logps")
    extras = {key.removeprefix(EXTRA): value for key, value in batch.items() if key.startswith(EXTRA)}
    rollouts = Rollouts(
        group=batch["group"],
        mask=completion_mask(batch),
        rewards=batch["rewards"],
        logps=logps.detach() if old is None else old,
        extras=extras,
    )
    return rollouts, Prepared(batch["advantages"], batch["weights"], batch["penalty_weights"])


def reads_logps(objective: OnlineMethod, rollouts: Rollouts, state: State) -> bool:
    """Whether ``prepare`` depends on the behaviour log-probabilities.

    Where it does not, and the batch gives a single update, the pass that computes them is saved: the ratio is 1.
    """
    one, other = (
        objective.prepare(replace(rollouts, logps=torch.full_like(rollouts.logps, value)), state)
        for value in (-1.0, torch.nan)
    )
    return not (torch.equal(one.advantages, other.advantages) and torch.equal(one.weights, other.weights))
