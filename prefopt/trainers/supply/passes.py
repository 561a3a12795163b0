"""Inputs that take a pass of their own through the policy that sampled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from trl.models.utils import disable_gradient_checkpointing

from prefopt.errors import UserError
from prefopt.online.group_divergence import group_divergence
from prefopt.trainers.logprobs import distributions
from prefopt.trainers.shared_prompts import outputs_of, reorder, unpadded

if TYPE_CHECKING:
    from prefopt.trainers.online_trainer import OnlineTrainer

POSITIONS_BYTES = 128 * 2**20
"""Distributions of a group that are held at a time."""


@torch.no_grad()
def prompt_logps(trainer: OnlineTrainer, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Return log-probabilities of the prompt's tokens ``(B, P)``, and where they are, bool: a pass over the prompts.

    A prompt's first token is predicted by nothing and left out; equal prompts are computed once.
    """
    rows = [tuple(row) for row in unpadded(batch["prompt_ids"], batch["prompt_mask"])]
    known: dict[tuple[int, ...], Tensor] = {}
    several = sorted({row for row in rows if len(row) > 1}, key=len)
    with disable_gradient_checkpointing(trainer.model, trainer.args.gradient_checkpointing_kwargs):
        for start in range(0, len(several), trainer.rows_at_once):
            some = several[start : start + trainer.rows_at_once]
            with trainer.accelerator.autocast():
                firsts, rests = [row[:1] for row in some], [row[1:] for row in some]
                found = outputs_of(trainer.model, firsts, rests, (), trainer.temperature, share=False)["logps"]
            known |= {row: values[: len(row) - 1] for row, values in zip(some, found, strict=True)}
    width = max(1, *(len(row) - 1 for row in rows))
    blank = torch.zeros(0, device=batch["prompt_ids"].device)
    values = torch.stack([pad(one, (0, width - len(one))) for one in (known.get(row, blank) for row in rows)])
    lengths = torch.tensor([len(row) - 1 for row in rows], device=values.device)
    return values, torch.arange(width, device=values.device) < lengths[:, None]


def gradient_norms(trainer: OnlineTrainer, batch: Mapping[str, Any], mask: Tensor) -> Tensor:
    """Return ``(B,)``: squared norm of the gradient of each row's log-probability, over all that is trained.

    A forward and backward pass a row, one after the other.
    """
    parameters = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
    found = []
    for row in range(len(mask)):
        one = reorder(batch, torch.tensor([row]))
        with torch.enable_grad():
            logps = trainer.token_outputs(trainer.model, one, entropies=False)[0]
            total = torch.where(mask[row], logps[0], 0.0).sum()
            gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        found.append(sum((g.float().square().sum() for g in gradients if g is not None), torch.zeros(())))
    return torch.stack([one.to(mask.device) for one in found])


@torch.no_grad()
def divergences(trainer: OnlineTrainer, hidden: Tensor, mask: Tensor) -> Tensor:
    """Return ``(B, T)``: `group_divergence` of each row's group, from hidden states ``(B, T, H)``.

    Raises:
        UserError: a group's completions lie on several processes.
    """
    group = trainer.group_size
    if len(mask) % group:
        raise UserError(
            f"a part compares next-token distributions of a prompt's {group} completions, and this process has "
            f"{len(mask)} of them: make per_device_train_batch_size * steps_per_generation a multiple of {group}"
        )
    found = torch.zeros(mask.shape, device=mask.device)
    model = trainer.accelerator.unwrap_model(trainer.model)
    vocabulary = model.config.get_text_config().vocab_size
    for start in range(0, len(mask), group):
        rows = slice(start, start + group)
        longest = _longest(mask[rows])
        step = max(1, POSITIONS_BYTES // (8 * group * vocabulary))
        for first in range(0, longest, step):
            place = slice(first, min(first + step, longest))
            log_p = distributions(model, hidden[rows, place], trainer.temperature)
            found[rows, place] = group_divergence(log_p, mask[rows, place]).to(found)
    return found


def _longest(mask: Tensor) -> int:
    """Return the number of columns up to the last one with a token."""
    columns = torch.nonzero(mask.any(0))
    return int(columns.max()) + 1 if len(columns) else 0
