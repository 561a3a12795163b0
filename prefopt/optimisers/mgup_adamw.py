"""AdamW with larger steps where momentum and gradient agree."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from prefopt.optimisers.alignment import check_factors, step_factors
from prefopt.optimisers.base import StepByParameter, adam_direction, check_rates


class MGUPAdamW(StepByParameter):
    """AdamW whose step is multiplied, for each coordinate of a tensor, by a large or a small factor::

        u = m / (sqrt(v) + eps)
        phi = large for the int(share * d) largest u * g, small for the others
        p <- (1 - lr * weight_decay) p - lr * sqrt(1 - beta2^t) / (1 - beta1^t) * phi * u

    With the default factors a step is longer by about ``1 + share - share^2`` on average: compare with a learning rate
    that was tuned for each. With a tuned rate the authors advise ``large`` 1 to 1.5 and ``small`` 0.5 to 1.

    Args:
        params: parameters or groups.
        lr, betas, eps, weight_decay: AdamW's.
        share: of coordinates with the large factor, ``tau``.
        large, small: the factors; None = ``1 / share`` and ``share``, as in the paper. The released code has 0.1 for
            the small one.
        cautious: the large factor wherever ``u * g >= 0``, without a sort.

    Reference: MGUP, arXiv 2606.17526.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        share: float = 0.5,
        large: float | None = None,
        small: float | None = None,
        cautious: bool = False,
    ) -> None:
        check_rates(lr, betas, eps, weight_decay)
        large, small = check_factors(share, large, small)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "share": share}
        super().__init__(params, defaults | {"large": large, "small": small, "cautious": cautious})

    def move(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Change ``parameter`` and ``state`` in place."""
        direction, correction = adam_direction(gradient, state, group["betas"], group["eps"])
        factors = step_factors(direction, gradient, group["share"], group["large"], group["small"], group["cautious"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.addcmul_(factors, direction, value=-group["lr"] * correction)
