"""What the current policy says of a micro-batch, with gradient; and of a mini-batch before its step, without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from prefopt.batch import PolicyOutputs
from prefopt.trainers.generation import completion_mask
from prefopt.trainers.supply.behaviour import OLD_EXPERTS
from prefopt.trainers.supply.phases import loss_needs, of_policy, refine_needs
from prefopt.trainers.supply.references import degraded_logps, reference_answer_logps
from prefopt.trainers.supply.soft import soft_logps
from prefopt.trainers.supply.told import told_extras

if TYPE_CHECKING:
    from prefopt.trainers.online_trainer import OnlineTrainer

FORWARD = {
    "entropies": "entropies",
    "hidden": "hidden",
    "top_logits": "top_logits",
    "top_ids": "top_ids",
    "vocab_logps": "vocab_logps",
    "values": "values",
    "router_probs_on_old_topk": "router_probs",
}
"""Input of the current policy -> its name among the statistics of a forward pass."""


class Current:
    """Calls for exactly what the objective's loss, or its ``refine``, reads of the current policy."""

    def __init__(self, trainer: OnlineTrainer) -> None:
        self.trainer = trainer
        self.in_loss = of_policy(loss_needs(trainer.objective))
        self.drawn = max([0, *(getattr(part, "drawn", 0) for _, part in trainer.objective.parts())])
        self.in_refine = of_policy(refine_needs(trainer.objective))

    def __call__(
        self, model: nn.Module, batch: Mapping[str, Any], measured: bool
    ) -> tuple[PolicyOutputs, Tensor | None, Tensor | None]:
        """Return the outputs of a micro-batch, its entropies where known, a mixture of experts' balancing loss."""
        wanted = frozenset(FORWARD[name] for name in self.in_loss & FORWARD.keys())
        candidates = "candidate_logps" in self.in_loss
        soft = "soft_logps" in self.in_loss
        wanted |= {"hidden"} if candidates or soft else set()
        balance = None
        if wanted <= {"entropies"}:
            logps, entropies, balance = self.trainer.token_outputs(model, batch, entropies=bool(wanted) or measured)
            found = {"logps": logps} if entropies is None else {"logps": logps, "entropies": entropies}
        else:
            found = self.trainer.statistics_of(model, batch, wanted | ({"entropies"} if measured else set()))
        extras = self._extras(found, self.in_loss, batch)
        if "reference_answer_logps" in self.in_loss:
            extras["reference_answer_logps"] = reference_answer_logps(self.trainer, model, batch)
        if soft:
            extras["soft_logps"] = soft_logps(self.trainer, model, batch, found["hidden"])
        if "answer_logps" in self.in_loss:
            hidden = found["hidden"] if candidates else None
            extras |= told_extras(self.trainer, model, batch, completion_mask(batch), hidden, self.drawn)
        return PolicyOutputs(found["logps"], extras), found.get("entropies"), balance

    def without_gradient(self, batch: Mapping[str, Any], unchanged: bool) -> PolicyOutputs:
        """Return what ``refine`` reads of a micro-batch.

        Args:
            batch: as `attach` left it.
            unchanged: the policy is still the one that sampled, so that log-probabilities of then are those of now.
        """
        kept = batch.get("old_per_token_logps")
        if unchanged and kept is not None and not self.in_refine:
            return PolicyOutputs(kept)
        wanted = frozenset(FORWARD[name] for name in self.in_refine & FORWARD.keys())
        found = self.trainer.fixed_statistics(self.trainer.model, batch, wanted)
        return PolicyOutputs(found["logps"], self._extras(found, self.in_refine, batch))

    def _extras(
        self, found: Mapping[str, Tensor], names: frozenset[str], batch: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        extras = {name: found[FORWARD[name]] for name in names if name in FORWARD}
        if "router_probs_on_old_topk" in extras:
            extras["router_probs_on_old_topk"] = found["router_probs"].gather(-1, batch[OLD_EXPERTS])
        if "degraded_logps" in names:
            extras["degraded_logps"] = degraded_logps(self.trainer, batch)
        return extras
