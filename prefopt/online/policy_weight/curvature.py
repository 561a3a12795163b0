"""Leave out the tokens whose update is predicted to move the policy too far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.composition import State, StatefulPart
from prefopt.online.policy_weight.head_moments import HeadMoments
from prefopt.online.slots import PolicyWeight, Scope

CHUNK = 4096


@dataclass(frozen=True)
class CurvatureMask(PolicyWeight, StatefulPart):
    """A token stays if its own optimiser step on the output layer is predicted to change little.

    With ``pi`` the softmax over the ``k`` kept logits, ``e`` one-hot at the token (zero if it is not among them),
    ``v = e - pi``, last hidden state ``h``, the gradient ``g = A v h^T`` ``(k, H)``, the optimiser's step ``G`` for it
    and ``u = G h``::

        change     = eta <g, G> + eta^2 / 2 * A ((v.u)^2 - u^T (diag pi - pi pi^T) u)
        divergence = eta^2 / 2 * (v.u)^2
        stays      : divergence < largest_divergence and |change| < largest_change

    They are the change of the surrogate ``A pi / pi_old`` and the KL divergence, to second order in ``eta``.
    ``G`` is Adam's step from moments of each vocabulary row, which learn from the mean gradient over the tokens that
    stayed; before the first update, or with ``adam=False``, it is ``g``. As ``<g, G> = A v.u``, no ``(k, H)`` matrix is
    formed for a token: its rows are taken one after the other. A completion's weights are ``T_i / kept_i``, so that
    a mean over its tokens becomes a mean over those that stayed. The moments hold two float32 rows of width ``H`` for
    each vocabulary entry that was ever among the ``k``.

    Attributes:
        learning_rate: ``eta``; write the run's own.
        largest_divergence, largest_change: thresholds. The paper's Dr. CAPO has 1e-3 and 5e-4, ReinCAPO 1e-5 and 0.1.
        symmetric: False asks for ``0 <= change < largest_change``.
        adam: model Adam's step; False models plain gradient ascent. beta1, beta2: Adam's.

    Reference: CAPO, arXiv 2510.00819.
    """

    learning_rate: float = 1.5e-5
    largest_divergence: float = 1e-4
    largest_change: float = 0.01
    symmetric: bool = True
    adam: bool = True
    beta1: float = 0.9
    beta2: float = 0.999
    needs: ClassVar[frozenset[str]] = frozenset({"token_ids", "policy.hidden", "policy.top_logits", "policy.top_ids"})
    arxiv: ClassVar[str] = "2510.00819"
    scope: ClassVar[Scope] = "batch"

    def init_state(self) -> State:
        """Return empty moments; they grow by the rows that are seen."""
        ids, step = torch.zeros(0, dtype=torch.int64), torch.zeros((), dtype=torch.int64)
        return {"ids": ids, "first": torch.zeros(0, 0), "second": torch.zeros(0, 0), "step": step}

    def predictions(
        self, scores: Tensor, advantages: Tensor, hidden: Tensor, ids: Tensor, moments: HeadMoments
    ) -> tuple[Tensor, Tensor]:
        """Return ``change`` and ``divergence`` ``(N,)`` of N tokens.

        Args:
            scores: ``(N, 2, k)``: ``pi`` and ``v``. advantages: ``(N,)``. hidden: ``(N, H)``. ids: ``(N, k)``.
            moments: of the output layer.
        """
        probability, direction = scores.unbind(1)
        length = advantages[:, None] * direction
        columns = []
        for j in range(ids.shape[1]):
            gradient = length[:, j, None] * hidden
            step = moments.step_of(ids[:, j].contiguous(), gradient) if self.adam else gradient
            columns.append((step * hidden).sum(-1))
        u = torch.stack(columns, -1)
        along = (direction * u).sum(-1)
        spread = (probability * u**2).sum(-1) - (probability * u).sum(-1) ** 2
        eta = self.learning_rate
        change = eta * advantages * along + eta**2 / 2 * advantages * (along**2 - spread)
        return change, eta**2 / 2 * along**2

    def _stays(self, inputs: _Tokens, state: Mapping[str, Tensor]) -> Tensor:
        moments = HeadMoments.of({k: v.to(inputs.hidden.device) for k, v in state.items()}, self.beta1, self.beta2)
        kept = []
        for rows in torch.arange(len(inputs.advantages), device=inputs.hidden.device).split(CHUNK):
            change, divergence = self.predictions(
                inputs.scores[rows], inputs.advantages[rows], inputs.hidden[rows], inputs.ids[rows], moments
            )
            small = change.abs() < self.largest_change
            kept.append((divergence < self.largest_divergence) & (small if self.symmetric else small & (change >= 0)))
        return torch.cat(kept) if kept else torch.zeros(0, dtype=torch.bool, device=inputs.hidden.device)

    def __call__(
        self, ratio: Tensor, advantages: Tensor, policy: PolicyOutputs, rollouts: Rollouts, *_: Any, **state: Any
    ) -> Tensor:
        """Return ``(B, T)``: 0, or the completion's tokens over those that stay."""
        stays = torch.zeros_like(advantages)
        stays[rollouts.mask] = self._stays(_tokens(advantages, policy, rollouts), state["state"]).to(stays)
        length = rollouts.mask.sum(-1, keepdim=True)
        return stays * length / stays.sum(-1, keepdim=True).clamp(min=1)

    def statistics(
        self, ratio: Tensor, advantages: Tensor, policy: PolicyOutputs, rollouts: Rollouts, *_: Any, **state: Any
    ) -> State:
        """Return ``ids`` ``(R,)`` and the mean ``gradient`` ``(R, H)`` of each over the tokens that stay."""
        tokens = _tokens(advantages, policy, rollouts)
        rows = self._stays(tokens, state["state"])
        ids, hidden = tokens.ids[rows], tokens.hidden[rows]
        length = tokens.advantages[rows, None] * tokens.scores[rows, 1]
        every, place = torch.unique(ids, return_inverse=True)
        total = hidden.new_zeros(len(every), hidden.shape[1])
        for j in range(ids.shape[1]):
            total.index_add_(0, place[:, j], length[:, j, None] * hidden)
        count = torch.bincount(place.flatten(), minlength=len(every)).clamp(min=1)
        return {"ids": every, "gradient": total / count[:, None]}

    def update(self, state: State, statistics: Mapping[str, Tensor]) -> State:
        """Return the moments after one step with the mean gradients."""
        device = statistics["ids"].device
        moments = HeadMoments.of({k: v.to(device) for k, v in state.items()}, self.beta1, self.beta2)
        return moments.updated(statistics["ids"], statistics["gradient"]).state


@dataclass(frozen=True)
class _Tokens:
    """The N tokens that take part: ``scores`` ``(N, 2, k)``, ``advantages`` ``(N,)``, ``hidden`` ``(N, H)``, ids."""

    scores: Tensor
    advantages: Tensor
    hidden: Tensor
    ids: Tensor


def _tokens(advantages: Tensor, policy: PolicyOutputs, rollouts: Rollouts) -> _Tokens:
    mask = rollouts.mask
    wide = torch.promote_types(policy.logps.dtype, torch.float32)
    ids = policy.extras["top_ids"][mask].long()
    probability = policy.extras["top_logits"][mask].to(wide).softmax(-1)
    chosen = (ids == rollouts.extras["token_ids"][mask].long()[:, None]).to(wide)
    scores = torch.stack([probability, chosen - probability], 1)
    return _Tokens(scores, advantages[mask].to(wide), policy.extras["hidden"][mask].to(wide), ids)
