"""The online objective: what to do with a generation batch, in two phases.

``prepare`` sees the whole generation batch once, without gradient, and fixes advantages and weights. ``loss`` sees a
micro-batch, with gradient. Because every weight is fixed in the first phase, the losses of any split into micro-batches
add up to the loss of the whole, for value and gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from prefopt.batch import PolicyOutputs, Prepared, Rollouts
from prefopt.composition import IncompatibleParts, Objective, StatefulPart, state_of
from prefopt.online.advantage.group_normalised import GroupNormalised
from prefopt.online.aggregate.sequence_mean import SequenceMean
from prefopt.online.gate.clip import Clip
from prefopt.online.metrics import batch_metrics
from prefopt.online.ratio.token import TokenRatio
from prefopt.online.slots import (
    Advantage,
    Aggregate,
    Gate,
    Ratio,
    Regulariser,
    Sampling,
    TokenWeight,
    Weighting,
    masked,
)
from prefopt.weighting.weighted_sum import WeightedSum

_SLOT_TYPES: dict[str, type] = {
    "weighting": Weighting,
    "advantage": Advantage,
    "token_weight": TokenWeight,
    "ratio": Ratio,
    "gate": Gate,
    "aggregate": Aggregate,
    "regularise": Regulariser,
    "sampling": Sampling,
}


@dataclass(frozen=True)
class OnlineObjective(Objective):
    """A method of the GRPO family as a composition of parts; the default is GRPO.

    ``prepare``::

        signal     = weighting(rewards)                          (B,)
        advantages = advantage(signal)                           (B,) or (B, T)
            or, where the weighting acts on advantages: weighting([advantage(r_k) for each reward k])
        kept       = rows with an advantage, in groups that sampling keeps
        weights    = aggregate(mask of kept rows) * product(token_weights)      (B, T)

    ``loss``::

        ratio      = ratio(log pi, log pi_old)                   (B, T) or (B, 1)
        surrogate  = gate(ratio, advantages, log pi)             (B, T)
        loss       = -sum(weights * surrogate) + sum over regularisers of sum(aggregate weights * penalty)

    Rows without a score, rows of a group with fewer than two scored rows (where the advantage is relative to the group)
    and rows that ``sampling`` leaves out take no part: they count in no baseline, no mean and no loss.
    """

    weighting: Weighting = field(default_factory=WeightedSum)
    advantage: Advantage = field(default_factory=GroupNormalised)
    token_weight: tuple[TokenWeight, ...] = ()
    ratio: Ratio = field(default_factory=TokenRatio)
    gate: Gate = field(default_factory=Clip)
    aggregate: Aggregate = field(default_factory=SequenceMean)
    regularise: tuple[Regulariser, ...] = ()
    sampling: tuple[Sampling, ...] = ()

    def __post_init__(self) -> None:
        for slot, part in self.parts():
            wanted = _SLOT_TYPES[slot.split(".")[0]]
            if not isinstance(part, wanted):
                raise IncompatibleParts(f"{slot} takes a {wanted.__name__}, not {part!r}")
        if self.weighting.point == "advantages" and self.advantage.token_level:
            raise IncompatibleParts(
                f"{type(self.weighting).__name__} combines one advantage a completion and reward, (B, K); "
                f"{type(self.advantage).__name__} gives one a token"
            )

    def prepare(self, rollouts: Rollouts, state: Mapping[str, Tensor] | None = None) -> Prepared:
        """Fix advantages and weights for a whole generation batch.

        Args:
            rollouts: all rows that one generation step gave, of all processes.
            state: of the stateful parts, from ``init_state`` or ``update``; None = before the first step.
        """
        with torch.no_grad():
            return self._prepare(rollouts, self.init_state() if state is None else state)

    def _prepare(self, rollouts: Rollouts, state: Mapping[str, Tensor]) -> Prepared:
        statistics: dict[str, Mapping[str, Tensor]] = {}

        def call(slot: str, part: Any, *inputs: Any) -> Tensor:
            arguments = (*inputs, rollouts.restrict(part.needs, type(part).__name__))
            if not isinstance(part, StatefulPart):
                return part(*arguments)
            own = state_of(slot, state)
            statistics[slot] = part.statistics(*arguments, state=own)
            return part(*arguments, state=own)

        rewards, mask = rollouts.rewards, rollouts.mask
        if self.weighting.point == "rewards":
            signal = call("weighting", self.weighting, rewards)
            advantages = call("advantage", self.advantage, signal)
        else:
            signal = WeightedSum()(rewards, rollouts)
            each = [call("advantage", self.advantage, column) for column in rewards.unbind(-1)]
            advantages = call("weighting", self.weighting, torch.stack(each, -1))
        advantages = advantages if advantages.ndim == 2 else advantages[:, None].expand(mask.shape)

        known = (~torch.isnan(advantages) | ~mask).all(-1)
        kept = known.clone()
        for number, part in enumerate(self.sampling):
            kept &= call(f"sampling.{number}", part, signal)
        taking_part = mask & kept[:, None]
        advantages = masked(advantages, taking_part)
        penalty_weights = self.aggregate(taking_part)
        weights = penalty_weights
        for number, weight in enumerate(self.token_weight):
            weights = weights * masked(call(f"token_weight.{number}", weight, advantages), taking_part)
        metrics = batch_metrics(self.weighting, self.advantage, signal, advantages, known, kept, rollouts)
        return Prepared(advantages, weights, penalty_weights, statistics, metrics)

    def loss(self, rollouts: Rollouts, prepared: Prepared, policy: PolicyOutputs) -> Tensor:
        """Return the scalar loss of a micro-batch, with gradient; the three arguments hold the same rows."""
        ratio, surrogate = self._surrogate(rollouts, prepared, policy)
        loss = -(prepared.weights.to(surrogate) * surrogate).sum()
        for part in self.regularise:
            name = type(part).__name__
            penalty = part(policy.restrict(part.needs, name), rollouts.restrict(part.needs, name), ratio)
            loss = loss + (prepared.penalty_weights.to(penalty) * masked(penalty, rollouts.mask)).sum()
        return loss

    def _surrogate(self, rollouts: Rollouts, prepared: Prepared, policy: PolicyOutputs) -> tuple[Tensor, Tensor]:
        if not len(rollouts) == len(prepared) == len(policy):
            raise ValueError(
                f"rollouts have {len(rollouts)} rows, prepared {len(prepared)}, policy {len(policy)}; "
                "slice all three alike"
            )
        logps = masked(policy.logps, rollouts.mask)
        ratio = self.ratio(logps, masked(rollouts.logps, rollouts.mask).to(logps), rollouts.mask)
        return ratio, masked(self.gate(ratio, prepared.advantages.to(logps), logps), rollouts.mask)

    @torch.no_grad()
    def metrics(
        self, rollouts: Rollouts, prepared: Prepared, policy: PolicyOutputs
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return ``(sum, count)`` pairs of a micro-batch.

        ``clip_fraction``: tokens whose gradient the gate stops or caps. ``behaviour_kl``: k3 estimate of the KL from
        the behaviour policy. ``entropy`` where supplied.
        """
        ratio, _ = self._surrogate(rollouts, prepared, policy)
        taking_part = prepared.penalty_weights > 0
        tokens = taking_part.sum()
        gap = masked(rollouts.logps - policy.logps, taking_part)
        closed = self.gate.closed(ratio, prepared.advantages.to(ratio)).expand(taking_part.shape) & taking_part
        metrics = {
            "clip_fraction": (closed.sum(), tokens),
            "behaviour_kl": ((gap.exp() - gap - 1).sum(), tokens),
        }
        if "entropies" in policy.extras:
            metrics["entropy"] = (masked(policy.extras["entropies"], taking_part).sum(), tokens)
        return metrics
