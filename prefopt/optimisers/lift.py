"""AdamW on the principal weights of each matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from prefopt.optimisers.base import StepByParameter, adam_direction, check_rates
from prefopt.optimisers.principal import principal_entries


class LIFT(StepByParameter):
    """Of each weight matrix, only the entries that are largest in its low-rank approximation learn::

        W_r     = best approximation of W of rank filter_rank
        learned = the k = min((m + n) * budget_rank, m n) entries with the largest |W_r|
        AdamW on the learned entries; all others stay as they are

    Every ``interval`` steps they are chosen anew from the current weights, first after ``interval - 1`` steps. Moments
    of an entry that stays are kept, those of a new one start at 0; the step counter, by which Adam corrects for that
    start, runs on. Memory: two moments and an index for each learned entry. Each choice takes one singular value
    decomposition a matrix.

    The released code's default picks the smallest entries, against the paper; its weight decay has no effect. Here the
    largest are picked, and weight decay acts on the learned entries.

    Args:
        params: parameters or groups. A group with ``matrices=True`` holds matrices that learn in part; others, and
            groups that don't say, learn with ordinary AdamW. `parameter_groups` makes such groups of a model.
        lr, betas, eps, weight_decay: AdamW's.
        budget_rank: as many entries learn as a LoRA of this rank has parameters; 128 in the paper.
        filter_rank: rank of the approximation: 32, 64 or 128 in the paper.
        interval: steps from one choice to the next.

    Reference: LIFT, arXiv 2506.00772.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        budget_rank: int = 128,
        filter_rank: int = 128,
        interval: int = 400,
    ) -> None:
        check_rates(lr, betas, eps, weight_decay)
        if min(budget_rank, filter_rank, interval) < 1:
            raise ValueError(f"ranks and interval are at least 1, not {budget_rank}, {filter_rank}, {interval}")
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "budget_rank": budget_rank}
        super().__init__(params, defaults | {"filter_rank": filter_rank, "interval": interval, "matrices": False})
        for group in self.param_groups:
            wrong = [tuple(p.shape) for p in group["params"] if group["matrices"] and p.ndim != 2]
            if wrong:
                raise ValueError(f"a group with matrices=True holds a parameter of shape {wrong[0]}, not a matrix")

    def move(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Change ``parameter`` and ``state`` in place."""
        rate, decay = group["lr"], 1 - group["lr"] * group["weight_decay"]
        if not group["matrices"]:
            direction, correction = adam_direction(gradient, state, group["betas"], group["eps"])
            parameter.mul_(decay).add_(direction, alpha=-rate * correction)
            return
        learned = state.pop("learned", None)
        if learned is None:
            learned = self._choose(parameter, group)
        direction, correction = adam_direction(gradient.flatten()[learned], state, group["betas"], group["eps"])
        entries = parameter.flatten()[learned].mul_(decay).add_(direction, alpha=-rate * correction)
        parameter.view(-1).scatter_(0, learned, entries)
        if (int(state["step"]) + 1) % group["interval"] == 0:
            learned = _carry(state, learned, self._choose(parameter, group))
        state["learned"] = learned

    def _choose(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        count = min(sum(parameter.shape) * group["budget_rank"], parameter.numel())
        return principal_entries(parameter, group["filter_rank"], count)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what ``state_dict`` gave; the base class would turn places of entries into rounded numbers."""
        super().load_state_dict(state_dict)
        saved = [place for group in state_dict["param_groups"] for place in group["params"]]
        own = [parameter for group in self.param_groups for parameter in group["params"]]
        for place, parameter in zip(saved, own, strict=True):
            learned = state_dict["state"].get(place, {}).get("learned")
            if learned is not None:
                self.state[parameter]["learned"] = learned.to(parameter.device, torch.int64).clone()


def _carry(state: dict[str, Any], old: Tensor, new: Tensor) -> Tensor:
    """Move the moments in ``state`` from the entries ``old`` to ``new``, both ascending; return ``new``."""
    place = torch.searchsorted(old, new).clamp(max=len(old) - 1)
    kept = old[place] == new
    for name in ("exp_avg", "exp_avg_sq"):
        state[name] = torch.where(kept, state[name][place], 0)
    return new
