"""Which rows of a batch hold numbers that are finite wherever they count; on the device, without waiting for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from prefopt.batch import NEEDS, PairOutputs, Pairs, PolicyOutputs, Prepared, Rollouts
from prefopt.online.method import OnlineMethod

OF_WHOLE_BATCHES = ("reward_gram", "reward_gradient_norms")
OF_MODELS = (
    "ref_logps",
    "sampler_logps",
    "expert_logps",
    "entropies",
    "values",
    "group_divergence",
    "hidden_states",
    "router_probs_old_topk",
    "prompt_logps",
    "squared_gradient_norms",
)
"""Inputs that models give for every token or completion: none of them may be missing."""


def finite_rows(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return ``(B,)`` bool: rows of ``(B, ...)`` that are finite, wherever ``mask`` ``(B, T)`` is set (None: all)."""
    if not values.is_floating_point():
        return torch.ones(len(values), dtype=torch.bool, device=values.device)
    sound = torch.isfinite(values)
    if mask is not None:
        sound = sound | ~mask.to(values.device).reshape(*mask.shape, *(1,) * (values.ndim - 2))
    return sound.flatten(1).all(1) if sound.ndim > 1 else sound


def sound_rollouts(rollouts: Rollouts, with_logps: bool = True) -> Tensor:
    """Return ``(B,)`` bool: rows of which all that models say is finite; ``with_logps``: those were computed."""
    sound = torch.ones(len(rollouts), dtype=torch.bool, device=rollouts.mask.device)
    if with_logps:
        sound &= finite_rows(rollouts.logps, rollouts.mask)
    for name in OF_WHOLE_BATCHES:
        if name in rollouts.extras and not bool(torch.isfinite(rollouts.extras[name]).all()):
            sound &= False
    for name in OF_MODELS:
        if name in rollouts.extras:
            sound &= finite_rows(rollouts.extras[name], _mask_of(name, rollouts))
    return sound


def prepare_finite(
    method: OnlineMethod, rollouts: Rollouts, state: Mapping[str, Tensor] | None = None, with_logps: bool = True
) -> tuple[Prepared, Tensor]:
    """Run ``prepare``; return also which rows ``(B,)`` are finite, in what models said and in what came of it.

    Rows of which a model says what cannot be computed with count as unscored, so that no other row is compared with
    them. A step that they are part of is for the guard to skip.
    """
    sound = sound_rollouts(rollouts, with_logps)
    if not bool(sound.all()):
        rollouts = replace(rollouts, rewards=rollouts.rewards.where(sound[:, None], torch.nan))
    prepared = method.prepare(rollouts, state)
    return prepared, sound & sound_prepared(prepared, rollouts.mask)


def sound_prepared(prepared: Prepared, mask: Tensor) -> Tensor:
    """Return ``(B,)`` bool: rows whose advantages and weights are finite."""
    sound = finite_rows(prepared.advantages, mask)
    return sound & finite_rows(prepared.weights, mask) & finite_rows(prepared.penalty_weights, mask)


def sound_policy(policy: PolicyOutputs, mask: Tensor) -> Tensor:
    """Return ``(B,)`` bool: rows of which the current policy says finite numbers, one a token."""
    sound = finite_rows(policy.logps.detach(), mask)
    for value in policy.extras.values():
        if value.shape == mask.shape:
            sound = sound & finite_rows(value.detach(), mask).to(sound.device)
    return sound


def sound_rows(losses: Tensor, said: Iterable[PairOutputs | PolicyOutputs | None], rows: Any) -> Tensor:
    """Return ``(N,)`` bool: rows whose loss is finite, and of which all models say finite numbers.

    Args:
        losses: ``(N,)``.
        said: by policy and reference.
        rows: `Pairs` for pairs, otherwise `Judged` or `Responses`.
    """
    sound = finite_rows(losses.detach())
    for value in rows.extras.values():
        sound = sound & finite_rows(value) if value.ndim == 1 else sound
    for outputs in said:
        if outputs is None:
            continue
        if isinstance(outputs, PolicyOutputs):
            sound = sound & sound_policy(outputs, rows.mask)
            continue
        sound = sound & finite_rows(outputs.chosen_logps.detach(), rows.chosen_mask)
        sound = sound & finite_rows(outputs.rejected_logps.detach(), rows.rejected_mask)
        sound = sound & _sound_extras(outputs.extras, rows)
    return sound


def _sound_extras(extras: Mapping[str, Tensor], pairs: Pairs) -> Tensor:
    sound = torch.ones_like(pairs.chosen_mask[:, 0])
    for name, value in extras.items():
        mask = pairs.chosen_mask if name.startswith("chosen_") else pairs.rejected_mask
        # Whole distributions may hold minus infinity, for tokens that cannot come.
        if value.shape[:2] == mask.shape and not name.endswith("vocab_logps"):
            sound = sound & finite_rows(value.detach(), mask)
    return sound


def _mask_of(name: str, rollouts: Rollouts) -> Tensor | None:
    if name == "prompt_logps":
        return rollouts.extras.get("prompt_mask")
    if name == "expert_logps":
        return _until_its_end(rollouts.extras[name])
    return rollouts.mask if NEEDS[name].shape.startswith("(B, T") else None


def _until_its_end(values: Tensor) -> Tensor:
    """Return ``(B, T)`` bool: the first position, and all up to the last number; behind an answer's end stands NaN."""
    there = (~torch.isnan(values)).flip(1).cumsum(1).flip(1) > 0
    there[:, 0] = True
    return there
