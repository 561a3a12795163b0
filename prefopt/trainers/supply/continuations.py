"""Completions drawn again from a cut: how good a prefix is, and whether the same answer follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prefopt.online.segments import cut_points
from prefopt.trainers.shared_prompts import unpadded
from prefopt.trainers.supply.inputs import identity
from prefopt.trainers.supply.references import score_rows
from reward_models.verifiable.final_answer import final_answer

if TYPE_CHECKING:
    from prefopt.trainers.online_trainer import OnlineTrainer

VALUES, ANSWERS, CERTAIN = 9, 4, 0.9
Cut = tuple[int, int]
"""A row, and the tokens of its completion that are kept."""


def cutpoint_values(
    trainer: OnlineTrainer, rows: Sequence[Mapping[str, Any]], batch: Mapping[str, Any], mask: Tensor
) -> Tensor:
    """Return ``(B, T)``: mean reward of the continuations of the prefix before each cut token, NaN elsewhere.

    Cuts are `cut_points` of the behaviour's log-probabilities, at the threshold of certainty that the recipe's parts
    have. Each costs a generation of what is left of the longest completion, times the continuations, and their scoring.
    """
    certain = next((part.certain for _, part in trainer.objective.parts() if hasattr(part, "certain")), CERTAIN)
    chosen = cut_points(batch["old_per_token_logps"], mask, trainer.args.cut_interval, certain)
    cuts: list[Cut] = [(row, kept) for row, kept in chosen.nonzero().tolist()]
    ids, texts = drawn_again(trainer, batch, cuts, trainer.args.continuations or VALUES)
    owners = [rows[row] for (row, _), some in zip(cuts, ids, strict=True) for _ in some]
    flat = [trainer.as_completion(row["prompt"], text) for row, text in zip(owners, _flat(texts), strict=True)]
    rewards = score_rows(trainer, owners, flat, _flat(ids)).view(len(cuts), -1)
    values = torch.full(mask.shape, torch.nan, device=mask.device)
    values[chosen] = rewards.nanmean(-1).to(values) if cuts else values[chosen]
    return values


def resampled_answers(trainer: OnlineTrainer, rows: Sequence[Mapping[str, Any]], batch: Mapping[str, Any]) -> Tensor:
    """Return ``(B, M)`` int64: identity of the final answer of each continuation of a completion's first part.

    The answer is what the verifier of mathematics would read; equal texts are equal answers, 0 is none.
    """
    lengths = batch["completion_mask"].sum(-1).tolist()
    cuts = [(row, int(length * trainer.args.cut_share)) for row, length in enumerate(lengths)]
    _, texts = drawn_again(trainer, batch, cuts, trainer.args.continuations or ANSWERS)
    found = [[identity(_answer(text)) for text in some] for some in texts]
    return torch.tensor(found, device=batch["completion_ids"].device).view(len(rows), -1)


def drawn_again(
    trainer: OnlineTrainer, batch: Mapping[str, Any], cuts: Sequence[Cut], times: int
) -> tuple[list[list[list[int]]], list[list[str]]]:
    """Return ``times`` whole completions of each cut, as tokens and as text: what was kept, and what was drawn."""
    prompts = unpadded(batch["prompt_ids"], batch["prompt_mask"])
    completions = unpadded(batch["completion_ids"], batch["completion_mask"])
    prefixes = [[*prompts[row], *completions[row][:kept]] for row, kept in cuts for _ in range(times)]
    left = [max(0, trainer.args.max_completion_length - kept) for _, kept in cuts for _ in range(times)]
    drawn = iter(trainer.continue_from(prefixes, left))
    ids = [[[*completions[row][:kept], *next(drawn)] for _ in range(times)] for row, kept in cuts]
    decode = trainer.tokenizer.decode
    return ids, [[str(decode(one, skip_special_tokens=True)) for one in some] for some in ids]


def _answer(text: str) -> str | None:
    found = final_answer(text)
    return None if found is None else found.text


def _flat(nested: Sequence[Sequence[Any]]) -> list[Any]:
    return [one for some in nested for one in some]
