"""A group's advantages, shrunk by how far its pass rate can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Adjustment


def noise_weight(rate: Tensor, noise: float, eps: float) -> Tensor:
    """Return ``(1 - 2 q) t (1 - t) / (sqrt(r (1 - r) + eps) sqrt(t (1 - t) + eps))`` for observed pass rates ``r``.

    ``t = clip((r - q) / (1 - 2 q), 0, 1)`` is the true pass rate if verdicts are flipped with probability ``q``. Of all
    factors on the observed z-score this one has the least squared error to the true one.
    """
    true = ((rate - noise) / (1 - 2 * noise)).clamp(0, 1)
    true_variance, observed_variance = true * (1 - true), rate * (1 - rate)
    return (1 - 2 * noise) * true_variance / ((observed_variance + eps).sqrt() * (true_variance + eps).sqrt())


@dataclass(frozen=True)
class LabelNoise(Adjustment):
    """``A_i <- w A_i``, ``w`` the `noise_weight` of the group's share of correct completions.

    A group whose pass rate lies within ``noise`` of 0 or 1 gets weight 0: noise alone explains its odd ones out.

    Attributes:
        noise: probability that a verdict is flipped, in either direction; in [0, 1/2).
        correct_above: a completion is correct if its reward exceeds this. eps: added under the roots.

    Reference: S-GRPO, arXiv 2508.05928.
    """

    noise: float = 0.1
    correct_above: float = 0.0
    eps: float = 1e-8
    arxiv: ClassVar[str] = "2508.05928"

    def __post_init__(self) -> None:
        if not 0 <= self.noise < 0.5:
            raise ValueError(f"noise is the probability of a flipped verdict, in [0, 0.5), not {self.noise}")

    def __call__(self, advantages: Tensor, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        rate = Groups.of(rollouts.group, signal).mean(signal > self.correct_above)
        return advantages * noise_weight(rate, self.noise, self.eps)[:, None]
