"""The mini-batch of an optimiser step, of all processes, as the current policy sees it before the first micro-batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from prefopt.batch import PolicyOutputs
from prefopt.composition import State
from prefopt.online.method import OnlineMethod
from prefopt.trainers.generation import CARRIED, EXTRA, detach_rows

READ = (
    "advantages",
    "weights",
    "penalty_weights",
    "group",
    "rewards",
    "completion_mask",
    "tool_mask",
    "old_per_token_logps",
)
Statistics = dict[str, dict[str, Tensor]]


def refined(
    objective: OnlineMethod,
    state: State,
    parts: list[dict[str, Any]],
    outputs: list[PolicyOutputs],
    accelerator: Accelerator,
) -> tuple[list[dict[str, Any]], Statistics]:
    """Return the micro-batches with what ``refine`` fixed for their rows, and its statistics.

    Args:
        objective: its ``refine`` sees the rows of all processes. state: its state at this optimiser step.
        parts: this process's micro-batches, as `attach` left them; they are not changed.
        outputs: of the current policy, one a micro-batch, without gradient.
        accelerator: knows the processes.
    """
    device = outputs[0].logps.device
    rows = joined_rows(parts, device, accelerator)
    logps = gathered(torch.cat([one.logps for one in outputs]), accelerator)
    extras = {
        name: gathered(torch.cat([one.extras[name] for one in outputs]), accelerator)
        for name in sorted(outputs[0].extras)
    }
    before, prepared = detach_rows(rows, logps, on_device(state, device))
    after = objective.refine(before, prepared, PolicyOutputs(logps, extras))
    count = sum(len(part["completion_ids"]) for part in parts)
    own = after[accelerator.process_index * count : (accelerator.process_index + 1) * count]
    new = {"advantages": own.advantages, "weights": own.weights, "penalty_weights": own.penalty_weights}
    new |= {CARRIED + slot: value for slot, value in own.carried.items()}
    pieces = {key: value.split([len(part["completion_ids"]) for part in parts]) for key, value in new.items()}
    found = [part | {key: pieces[key][number] for key in new} for number, part in enumerate(parts)]
    statistics = {slot: {name: v.cpu() for name, v in values.items()} for slot, values in after.statistics.items()}
    return found, statistics


def joined_rows(parts: list[dict[str, Any]], device: torch.device, accelerator: Accelerator) -> dict[str, Tensor]:
    """Return what `detach_rows` reads of the micro-batches of all processes, as one batch."""
    # Every process gathers in the same order.
    keys = sorted(key for key in parts[0] if key in READ or key.startswith((EXTRA, CARRIED)))
    rows = {key: _joined(parts, key, device) for key in keys}
    return {key: gathered(value, accelerator) for key, value in rows.items() if value is not None}


def on_device(state: Mapping[str, Tensor], device: torch.device) -> State:
    """Return ``state`` where the loss is computed; numbers stay, as they combine with any device."""
    return {name: value.to(device) if value.ndim else value for name, value in state.items()}


def gathered(values: Tensor, accelerator: Accelerator) -> Tensor:
    """Return the rows of all processes, in the order of the processes."""
    if accelerator.num_processes == 1:
        return values
    boolean = values.dtype == torch.bool
    found: Tensor = accelerator.gather(values.to(torch.uint8) if boolean else values.contiguous())
    return found.bool() if boolean else found


def _joined(parts: list[dict[str, Any]], key: str, device: torch.device) -> Tensor | None:
    values = [part[key] for part in parts]
    return None if values[0] is None else torch.cat(values).to(device)
