"""Group-centred rewards divided by a Beta density of the group's mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Advantage
from prefopt.online.unit_interval import to_unit_interval


def beta_density(p: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Return the density of Beta(alpha, beta) at ``p`` in [0, 1], for alpha, beta >= 1."""
    log_normaliser = torch.lgamma(alpha) + torch.lgamma(beta) - torch.lgamma(alpha + beta)
    return (torch.xlogy(alpha - 1, p) + torch.xlogy(beta - 1, 1 - p) - log_normaliser).exp()


def fitted_normaliser(p: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``(alpha, beta)`` of the normaliser for the pass rates ``p`` of the batch's groups.

    Method of moments: ``c = mean (1 - mean) / var - 1``, ``a = c mean``, ``b = c (1 - mean)``, unbiased variance.
    Among densities ``f`` the one with ``alpha = 1 + a/3``, ``beta = 1 + b/3`` minimises
    ``E_{Beta(a, b)}[p (1 - p) / f(p)^2]``, because then ``f^3`` is proportional to ``p^a (1 - p)^b``; neither may fall
    below 1. Fewer than two groups, or groups that are all alike, tell nothing of a spread: alpha = beta = 1.
    """
    one = torch.ones((), dtype=torch.float64, device=p.device)
    if p.numel() < 2 or p.max() == p.min():
        return one, one
    mean = p.double().mean()
    precision = mean * (1 - mean) / p.double().var() - 1
    return (1 + precision * mean / 3).clamp(min=1), (1 + precision * (1 - mean) / 3).clamp(min=1)


@dataclass(frozen=True)
class BetaNormalised(Advantage):
    """``A_i = (r_i - p) / BetaPDF(p; alpha, beta)``, ``p`` the group's mean reward on [0, 1].

    alpha and beta are fitted to the pass rates of the batch's groups, see `fitted_normaliser`; with both 1 it is the
    group-centred reward, with both 1.5 proportional to ``(r - p) / sqrt(p (1 - p))``. The weight ``1 / density`` is
    capped at 1e6; where the density is 0, ``r - p`` is too. Groups with fewer than two scored rows give NaN and are
    left out of the fit.

    Attributes:
        reward_min, reward_max: range of the signal, mapped to [0, 1].

    Reference: BNPO, arXiv 2506.02864.
    """

    reward_min: float = 0.0
    reward_max: float = 1.0
    arxiv: ClassVar[str] = "2506.02864"
    group_relative: ClassVar[bool] = True

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)``. Raises ``ValueError`` where a reward lies outside the range."""
        rewards, weight, groups = self._weighed(signal, rollouts)
        centred = groups.centred(rewards)
        return (weight * centred).where(groups.compared, torch.nan).to(signal.dtype)

    def scale(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return the weight of each row's group, per unit of the raw signal."""
        rewards, weight, groups = self._weighed(signal, rollouts)
        weight = weight.where(~groups.uniform(rewards), 0.0) / (self.reward_max - self.reward_min)
        return weight.where(groups.scored, torch.nan).to(signal.dtype)

    def _weighed(self, signal: Tensor, rollouts: Rollouts) -> tuple[Tensor, Tensor, Groups]:
        rewards = to_unit_interval(signal, self.reward_min, self.reward_max, type(self).__name__)
        groups = Groups.of(rollouts.group, rewards)
        rates = groups.mean(rewards)
        alpha, beta = fitted_normaliser(rates[groups.representative & (groups.count > 1)])
        return rewards, (1 / beta_density(rates, alpha, beta)).clamp(max=1e6), groups
