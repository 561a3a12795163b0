"""A ratio that shrinks where the router of a mixture of experts has drifted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from prefopt.online.choice import check_choice
from prefopt.online.ratio.token import TokenRatio
from prefopt.online.slots import Ratio, masked

Pooling = Literal["mean", "geometric", "product"]


@dataclass(frozen=True)
class RouterShift(Ratio):
    """``rho_t * sg[max(gamma_t, floor)]``, before anything is clipped or averaged over the completion::

        d^l   = mean over the old top experts e of |log r^l(e) - log r_old^l(e)|       in layer l
        gamma = exp(-mean_l d^l)

    ``r`` are router probabilities, at least 1e-8. A router that has not moved gives exactly 1. As ``gamma <= 1``, the
    ratio of a token with a negative advantage falls too.

    Attributes:
        floor: smallest ``gamma``; 0.8 is said to be the paper's second version, the authors' code marks tokens below
            0.7.
        pooling: ``mean`` as above; the authors' code takes ``mean_e exp(-|...|)`` in each layer, and then the
            ``geometric`` mean over layers, or their ``product``, which shrinks with depth.
        ratio: whose log-ratios are shifted: of tokens, or of whole completions, which then average ``gamma`` too.

    Reference: RSPO, arXiv 2510.23027, equations 5 to 11 of version 2 as restated in a re-implementation. Version 1
    multiplies after the clip.
    """

    floor: float = 0.8
    pooling: Pooling = "mean"
    ratio: Ratio = field(default_factory=TokenRatio)
    needs: ClassVar[frozenset[str]] = frozenset({"router_probs_old_topk", "policy.router_probs_on_old_topk"})
    arxiv: ClassVar[str] = "2510.23027"

    def __post_init__(self) -> None:
        if not 0 < self.floor <= 1:
            raise ValueError(f"floor lies above 0 and up to 1, not {self.floor}")
        check_choice("pooling", self.pooling, Pooling)
        if self.ratio.needs:
            raise ValueError(f"the shifted ratio can have no needs of its own, unlike {type(self.ratio).__name__}")

    @property
    def sequence_level(self) -> bool:  # type: ignore[override]
        """As the ratio that is shifted."""
        return self.ratio.sequence_level

    def shift(self, old: Tensor, current: Tensor) -> Tensor:
        """Return ``gamma`` ``(B, T)``, not floored, from router probabilities ``(B, T, layers, k)``."""
        drift = (current.clamp(min=1e-8).log() - old.clamp(min=1e-8).log()).abs()
        if self.pooling == "mean":
            return (-drift.mean(-1).mean(-1)).exp()
        layers = (-drift).exp().mean(-1)
        return layers.prod(-1) if self.pooling == "product" else layers.log().mean(-1).exp()

    def __call__(self, logps: Tensor, old_logps: Tensor, mask: Tensor, *_: Any, **inputs: Any) -> Tensor:
        """Return the shape of the ratio that is shifted; ``inputs`` are ``policy`` and ``rollouts``."""
        old = inputs["rollouts"].extras["router_probs_old_topk"]
        with torch.no_grad():
            gamma = self.shift(old, inputs["policy"].extras["router_probs_on_old_topk"]).clamp(min=self.floor)
            shift = masked(gamma.log(), mask).to(logps)
        return self.ratio(logps + shift, old_logps, mask)
