"""Muon with larger steps where momentum and gradient agree."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from prefopt.optimisers.alignment import check_factors, step_factors
from prefopt.optimisers.base import StepByParameter, adam_direction, check_rates
from prefopt.optimisers.orthogonal import orthogonalised


class MGUPMuon(StepByParameter):
    """Muon on matrices, AdamW on everything else; a matrix's step is multiplied by a large or a small factor::

        m <- momentum m + g;   n = g + momentum m
        phi = large for the int(share * d) largest n * g, small for the others
        p <- (1 - lr * weight_decay) p - 0.2 sqrt(max(rows, columns)) lr * phi * orthogonalised(n)

    Args:
        params: parameters or groups. A group with ``matrices=True`` holds matrices that Muon moves; others, and groups
            that don't say, are moved by AdamW without factors. `parameter_groups` makes such groups of a model.
        lr, weight_decay: of both.
        momentum, iterations: of Muon: decay and Newton-Schulz steps.
        betas, eps: of AdamW.
        share, large, small, cautious: as in `MGUPAdamW`.

    Reference: MGUP, arXiv 2606.17526.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.95,
        iterations: int = 5,
        betas: tuple[float, float] = (0.95, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        share: float = 0.5,
        large: float | None = None,
        small: float | None = None,
        cautious: bool = False,
    ) -> None:
        check_rates(lr, (*betas, momentum), eps, weight_decay)  # type: ignore[arg-type]
        large, small = check_factors(share, large, small)
        defaults = {"lr": lr, "momentum": momentum, "iterations": iterations, "betas": betas, "eps": eps}
        defaults |= {"weight_decay": weight_decay, "share": share, "large": large, "small": small}
        super().__init__(params, defaults | {"cautious": cautious, "matrices": False})
        for group in self.param_groups:
            wrong = [tuple(p.shape) for p in group["params"] if group["matrices"] and p.ndim != 2]
            if wrong:
                raise ValueError(
                    f"a group with matrices=True holds a parameter of shape {wrong[0]}; Muon moves matrices"
                )

    def move(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Change ``parameter`` and ``state`` in place."""
        rate = group["lr"]
        parameter_decay = 1 - rate * group["weight_decay"]
        if not group["matrices"]:
            direction, correction = adam_direction(gradient, state, group["betas"], group["eps"])
            parameter.mul_(parameter_decay).add_(direction, alpha=-rate * correction)
            return
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        buffer = state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
        ahead = gradient.add(buffer, alpha=group["momentum"])
        factors = step_factors(ahead, gradient, group["share"], group["large"], group["small"], group["cautious"])
        scale = 0.2 * max(parameter.shape) ** 0.5
        step = orthogonalised(ahead, group["iterations"])
        parameter.mul_(parameter_decay).addcmul_(factors, step, value=-rate * scale)
