"""The baseline of least variance, weighted by how strongly each completion pulls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Advantage


@dataclass(frozen=True)
class GradientWeighted(Advantage):
    """``A_i = r_i - b``, ``b = sum_j n_j r_j / sum_j n_j`` over the group, ``n_j = ||grad log pi(y_j)||^2`` or a proxy.

    Among constant baselines this one has the least variance. With ``leave_one_out`` row i is left out of both sums of
    its own baseline, which keeps the estimate unbiased. Where the norms to be summed are all 0 the mean takes their
    place. Groups with fewer than two scored rows give NaN. A reconstruction: the classical formula that the paper's
    abstract describes; its own equations were not to be had.

    Attributes:
        leave_one_out: whether a row's baseline is free of its own reward.

    Reference: OBLR-PO, arXiv 2511.23310.
    """

    leave_one_out: bool = False
    needs: ClassVar[frozenset[str]] = frozenset({"squared_gradient_norms"})
    arxiv: ClassVar[str] = "2511.23310"
    group_relative: ClassVar[bool] = True

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)``."""
        groups = Groups.of(rollouts.group, signal)
        rewards = signal.double()
        norms = rollouts.extras["squared_gradient_norms"].double()
        baseline = self._baseline(norms, rewards, groups)
        found = (rewards - baseline).where(~groups.uniform(signal), 0.0)
        return found.where(groups.compared, torch.nan).to(signal.dtype)

    def _baseline(self, norms: Tensor, rewards: Tensor, groups: Groups) -> Tensor:
        weighted, plain = norms * rewards, rewards
        sums = [groups.total(x) for x in (weighted, norms, plain, torch.ones_like(norms))]
        if self.leave_one_out:
            own = (weighted, norms, plain, torch.ones_like(norms))
            sums = [total - x for total, x in zip(sums, own, strict=True)]
        over_norms, norm, over_rows, rows = sums
        # What is left of a sum after its largest part was taken away is rounding, not a norm.
        tiny = norm <= 1e-12 * groups.total(norms)
        return torch.where(tiny, over_rows / rows.clamp(min=1), over_norms / norm.where(~tiny, 1.0))
