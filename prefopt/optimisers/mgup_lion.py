"""Lion with larger steps where its sign and the gradient agree."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from prefopt.optimisers.alignment import check_factors, step_factors
from prefopt.optimisers.base import StepByParameter, check_rates


class MGUPLion(StepByParameter):
    """Lion whose step is multiplied by a large or a small factor::

        u = sign(beta1 m + (1 - beta1) g)
        phi = large for the int(share * d) largest u * g, small for the others
        p <- (1 - lr * weight_decay) p - lr * phi * u
        m <- beta2 m + (1 - beta2) g

    Args:
        params: parameters or groups.
        lr, betas, weight_decay: Lion's.
        share, large, small, cautious: as in `MGUPAdamW`.

    Reference: MGUP, arXiv 2606.17526.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        share: float = 0.5,
        large: float | None = None,
        small: float | None = None,
        cautious: bool = False,
    ) -> None:
        check_rates(lr, betas, 0.0, weight_decay)
        large, small = check_factors(share, large, small)
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "share": share}
        super().__init__(params, defaults | {"large": large, "small": small, "cautious": cautious})

    def move(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Change ``parameter`` and ``state`` in place."""
        if not state:
            state["exp_avg"] = torch.zeros_like(gradient)
        momentum, (beta1, beta2) = state["exp_avg"], group["betas"]
        direction = momentum.lerp(gradient, 1 - beta1).sign_()
        factors = step_factors(direction, gradient, group["share"], group["large"], group["small"], group["cautious"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.addcmul_(factors, direction, value=-group["lr"])
        momentum.lerp_(gradient, 1 - beta2)
