"""Ratio to the reference policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from prefopt.online.slots import Ratio, masked


@dataclass(frozen=True)
class ReferenceRatio(Ratio):
    """``rho_t = pi / pi_ref``: a clip then holds the policy near the reference, not near the one that sampled."""

    needs: ClassVar[frozenset[str]] = frozenset({"ref_logps"})

    def __call__(self, logps: Tensor, old_logps: Tensor, mask: Tensor, *_: Any, **inputs: Any) -> Tensor:
        """Return ``(B, T)``; ``inputs`` are ``policy`` and ``rollouts``."""
        return (logps - masked(inputs["rollouts"].extras["ref_logps"], mask).to(logps)).exp()
