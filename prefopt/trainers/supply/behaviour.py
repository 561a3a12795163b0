"""What the policy that sampled says of its completions, computed once a generation batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prefopt.errors import UserError
from prefopt.trainers.verdicts import turn_ids

if TYPE_CHECKING:
    from prefopt.trainers.online_trainer import OnlineTrainer

IN_ONE_PASS = {"entropies": "entropies", "hidden_states": "hidden", "values": "values"}
"""Input -> its name among the statistics of a forward pass."""


class Behaviour:
    """Calls for exactly what the objective needs, in as few passes as it takes."""

    def __init__(self, trainer: OnlineTrainer) -> None:
        self.trainer, self.needs = trainer, trainer.objective.needs

    def __call__(
        self, batch: dict[str, Any], mask: Tensor, known: Mapping[str, Tensor], logps: bool
    ) -> dict[str, Tensor]:
        """Return the inputs of ``prepare`` by name, this process's rows.

        Args:
            batch: of this process; log-probabilities are written into it where a pass gave them.
            mask: ``(B, T)``, tokens of the policy.
            known: inputs that came with the rewards.
            logps: whether log-probabilities are wanted, too.
        """
        extras = {name: values.to(mask.device) for name, values in known.items()}
        wanted = {name: IN_ONE_PASS[name] for name in self.needs & IN_ONE_PASS.keys() - extras.keys()}
        if wanted or (logps and batch.get("old_per_token_logps") is None):
            found = self.trainer.fixed_statistics(self.trainer.model, batch, frozenset(wanted.values()))
            if batch.get("old_per_token_logps") is None:
                batch["old_per_token_logps"] = found["logps"]
            extras |= {name: found[statistic] for name, statistic in wanted.items()}
        if self.trainer.reference is not None:
            extras["ref_logps"] = self.trainer.reference.logps(batch)
        if "sampler_logps" in self.needs:
            if "sampling_per_token_logps" not in batch:
                raise UserError("a part needs 'sampler_logps', and the rollout_func returned no `logprobs`")
            extras["sampler_logps"] = batch["sampling_per_token_logps"]
        return self._of_tokens(batch, mask, extras)

    def _of_tokens(self, batch: Mapping[str, Any], mask: Tensor, extras: dict[str, Tensor]) -> dict[str, Tensor]:
        missing = self.needs - extras.keys()
        if "turn_ids" in missing:
            extras["turn_ids"] = turn_ids(mask)
        if "token_ids" in missing:
            extras["token_ids"] = batch["completion_ids"]
        if "weight_lag" in missing:
            # Generation waits for the optimiser, so that every completion is begun with the newest weights.
            extras["weight_lag"] = torch.zeros(len(mask), dtype=torch.long, device=mask.device)
        if "truncated" in missing:
            length = batch["completion_mask"].sum(-1, keepdim=True).clamp(min=1)
            last = batch["completion_ids"].gather(1, length - 1)[:, 0]
            extras["truncated"] = ~torch.isin(last, torch.tensor(self.trainer.end_ids, device=mask.device))
        return extras
