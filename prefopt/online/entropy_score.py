"""Where a token's entropy lies between the least and the most uncertain tokens of a batch, from -1 to 1."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def _log_entropy(entropies: Tensor) -> Tensor:
    return entropies.double().clamp(min=1e-8).log()


@dataclass(frozen=True)
class EntropyScale:
    """``h = z / max(z)`` for ``z > 0`` and ``z / |min(z)|`` otherwise, ``z = log H - pivot``.

    ``pivot`` is a quantile (nearest) of the log-entropies of a batch. Division by their deviation, which the paper has,
    cancels. Tokens of another batch are cut off at -1 and 1.

    Attributes:
        pivot: log-entropy of score 0. above, below: ``max(z)`` and ``|min(z)|`` of the batch, 0 where there is none.

    Reference: HAPO, arXiv 2509.16591.
    """

    pivot: float
    above: float
    below: float

    @classmethod
    def of(cls, entropies: Tensor, mask: Tensor, quantile: float = 0.8) -> EntropyScale:
        """Measure the tokens of ``mask``, at least one."""
        values = _log_entropy(entropies[mask]).sort().values
        pivot = values[round(quantile * (len(values) - 1))]
        return cls(float(pivot), float(values[-1] - pivot), float(pivot - values[0]))

    def score(self, entropies: Tensor, unsigned: bool = False) -> Tensor:
        """Return ``h``, float64, of the shape of ``entropies``.

        ``unsigned`` is the released code's score, which divides by ``min(z)`` itself, so that tokens of low entropy
        score as high as those of high entropy.
        """
        gap = _log_entropy(entropies) - self.pivot
        high = (gap / self.above).clamp(max=1) if self.above else torch.zeros_like(gap)
        low = (gap / self.below).clamp(min=-1) if self.below else torch.zeros_like(gap)
        return torch.where(gap > 0, high, -low if unsigned else low)


def adaptive_temperature(
    entropies: Tensor, scale: EntropyScale | None, temperature: float = 1.0, tau: float = 0.05
) -> Tensor:
    """Return the sampling temperature ``T (1 + tau h)`` of each token about to be drawn.

    Args:
        entropies: of the distribution that it is drawn from, at temperature T. scale: of the batch before; None
            before the first one gives T.
        temperature: T. tau: by how much the most uncertain tokens are heated, and the most certain ones cooled.
    """
    if scale is None:
        return torch.full(entropies.shape, temperature, dtype=torch.float64, device=entropies.device)
    return temperature * (1 + tau * scale.score(entropies))
