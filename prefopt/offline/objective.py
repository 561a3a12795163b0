"""The offline objective: score, link, pair weight, regularisers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from prefopt.batch import MissingInput, PairOutputs, Pairs
from prefopt.composition import IncompatibleParts, Objective, Part, StatefulPart
from prefopt.offline.link import Sigmoid
from prefopt.offline.pair_weight import Equal
from prefopt.offline.pairs import DataSet
from prefopt.offline.reference import FrozenCopy
from prefopt.offline.score import LogRatio
from prefopt.offline.slots import (
    Link,
    PairSource,
    PairWeight,
    Reference,
    Regulariser,
    Score,
    TokenMask,
    masked_sum,
)

Metrics = dict[str, tuple[Tensor, Tensor]]

_FILLINGS: Mapping[str, type[Part]] = {
    "reference": Reference,
    "token_mask": TokenMask,
    "score": Score,
    "link": Link,
    "pair_weight": PairWeight,
    "regularise": Regulariser,
    "pairs": PairSource,
}


@dataclass(frozen=True)
class OfflineObjective(Objective):
    """Loss of preference pairs; the default composition is DPO.

    ``losses = pair_weight * link(score(chosen), score(rejected)) + sum of regularisers``, each ``(N,)``; the trainer
    takes their mean over the whole batch. A row's loss depends on no other row.

    Attributes:
        reference: which reference the trainer supplies, where a part needs one.
        token_mask: weights of tokens, multiplied; none = every response token counts once.
        score: implicit reward of a response.
        link: loss on two scores.
        pair_weight: by how much a pair counts; without gradient.
        regularise: penalties that are added, not weighted.
        pairs: where the pairs come from.
    """

    reference: Reference = field(default_factory=FrozenCopy)
    token_mask: tuple[TokenMask, ...] = ()
    score: Score = field(default_factory=LogRatio)
    link: Link = field(default_factory=Sigmoid)
    pair_weight: PairWeight = field(default_factory=Equal)
    regularise: tuple[Regulariser, ...] = ()
    pairs: PairSource = field(default_factory=DataSet)

    def __post_init__(self) -> None:
        for slot, part in self.parts():
            wanted = _FILLINGS[slot.partition(".")[0]]
            if not isinstance(part, wanted):
                raise TypeError(f"slot '{slot}' takes a {wanted.__name__}, not {part!r}")
            if isinstance(part, StatefulPart):
                raise IncompatibleParts(
                    f"{_name(part)} keeps state between batches, which offline losses don't pass on"
                )
        reader = next((part for _, part in self.parts() if "ref_logps" in part.needs), None)
        if reader is not None and not self.reference.exists:
            raise IncompatibleParts(
                f"{type(reader).__name__} compares the policy with a reference, and the reference slot is "
                f"{type(self.reference).__name__}; give it one, such as reference='dpo' (a frozen copy)"
            )
        if self.link.wants_reference and "ref_logps" not in self.score.needs:
            raise IncompatibleParts(
                f"{type(self.link).__name__} regresses log-ratios to a reference onto a fixed margin; with the "
                f"reference-free score {type(self.score).__name__} nothing would hold the policy near a reference"
            )

    def losses(self, policy: PairOutputs, reference: PairOutputs | None, pairs: Pairs) -> Tensor:
        """Return the loss of each pair.

        Args:
            policy: log-probabilities with gradient, and the extras that ``needs`` names.
            reference: the same under the reference; None where ``needs`` has no ``ref_logps``.
            pairs: response masks and labels.

        Returns:
            ``(N,)``.

        Raises:
            MissingInput: a declared input was not supplied.
        """
        chosen, rejected = self.scores(policy, reference, pairs)
        losses = self.link(chosen, rejected, _seen(pairs, self.link))
        losses = self.weights(policy, pairs).to(losses) * losses
        for part in self.regularise:
            seen_reference = _reference_for(part, reference)
            losses = losses + part(policy.restrict(part.needs, _name(part)), seen_reference, _seen(pairs, part))
        return losses

    def scores(self, policy: PairOutputs, reference: PairOutputs | None, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Return the scores of the chosen and of the rejected responses, each ``(N,)``, without beta."""
        _check_shapes(policy, pairs, "policy")
        ref = _reference_for(self.score, reference)
        if ref is not None:
            _check_shapes(ref, pairs, "reference")
        chosen_weights = torch.ones_like(pairs.chosen_mask, dtype=policy.chosen_logps.dtype)
        rejected_weights = torch.ones_like(pairs.rejected_mask, dtype=policy.rejected_logps.dtype)
        for part in self.token_mask:
            chosen_part, rejected_part = part(_seen(pairs, part))
            chosen_weights, rejected_weights = chosen_weights * chosen_part, rejected_weights * rejected_part
        ref_chosen, ref_rejected = (ref.chosen_logps, ref.rejected_logps) if ref is not None else (None, None)
        return (
            self.score(policy.chosen_logps, ref_chosen, pairs.chosen_mask, chosen_weights),
            self.score(policy.rejected_logps, ref_rejected, pairs.rejected_mask, rejected_weights),
        )

    def weights(self, policy: PairOutputs, pairs: Pairs) -> Tensor:
        """Return by how much each pair counts ``(N,)``, without gradient."""
        part = self.pair_weight
        with torch.no_grad():
            return part(policy.restrict(part.needs, _name(part)), _seen(pairs, part))

    @torch.no_grad()
    def metrics(self, policy: PairOutputs, reference: PairOutputs | None, pairs: Pairs) -> Metrics:
        """Return ``(sum, count)`` over the pairs: rewards (``beta * score``), pair weight, log-probabilities."""
        scores = self.scores(policy, reference, pairs)
        chosen, rejected = (self.link.beta * score for score in scores)
        values = {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/margin": chosen - rejected,
            "rewards/accuracy": (chosen > rejected).to(chosen),
            "pair_weight": self.weights(policy, pairs),
            "logps/chosen": masked_sum(policy.chosen_logps, pairs.chosen_mask),
            "logps/rejected": masked_sum(policy.rejected_logps, pairs.rejected_mask),
        }
        count = chosen.new_tensor(float(len(pairs)))
        return {name: (value.sum(), count) for name, value in values.items()}


def _name(part: Part) -> str:
    return type(part).__name__


def _seen(pairs: Pairs, part: Part) -> Pairs:
    return pairs.restrict(part.needs, _name(part))


def _reference_for(part: Part, reference: PairOutputs | None) -> PairOutputs | None:
    if "ref_logps" not in part.needs:
        return None
    if reference is None:
        raise MissingInput(f"{_name(part)} needs 'ref_logps': give the reference's PairOutputs; got None")
    return reference.restrict(part.needs, _name(part))


def _check_shapes(outputs: PairOutputs, pairs: Pairs, who: str) -> None:
    for side in ("chosen", "rejected"):
        logps, mask = getattr(outputs, f"{side}_logps"), getattr(pairs, f"{side}_mask")
        if logps.shape != mask.shape:
            raise ValueError(
                f"{side}_logps of the {who} has shape {tuple(logps.shape)}, {side}_mask {tuple(mask.shape)}"
            )
