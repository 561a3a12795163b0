"""Learns whose utility counts how much, and how evenly it should be shared, from judgements of utility vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from prefopt.errors import UserError
from prefopt.weighting.power_mean import PowerMean, log_power_mean
from prefopt.weighting.welfare import FLOOR

POWERS = tuple(float(power) for power in range(-10, 11))
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(shares (P, 1, K), powers (P, 1), sharpness (P, 1))`` to the loss of each judgement, ``(P, N)``."""


@dataclass(frozen=True)
class PowerMeanFit:
    """What was learned.

    Attributes:
        mean: the power mean; its floor is the one of the fit.
        sharpness: ``tau`` of comparisons: how surely the better of two is told; infinity of values.
        loss: mean over the judgements held out, or over all where none were.
    """

    mean: PowerMean
    sharpness: float
    loss: float


@dataclass(frozen=True)
class Search:
    """How the fit is looked for; all of it our choice.

    For each power of a grid weights ``softmax(a)`` and sharpness ``exp(b)`` are learned by Adam, all powers at once;
    the power of the smallest held-out loss is taken, and the grid is drawn closer around it, ten times each round. The
    loss is not convex in the power.

    Attributes:
        powers: grid. rounds: how often it is drawn closer. steps, learning_rate: of Adam. held_out: share. seed: of it.
    """

    powers: tuple[float, ...] = POWERS
    rounds: int = 2
    steps: int = 300
    learning_rate: float = 0.1
    held_out: float = 0.2
    seed: int = 0


def fit_to_values(
    utilities: Tensor, values: Tensor, search: Search | None = None, floor: float = FLOOR
) -> PowerMeanFit:
    """Return the power mean of least squared error ``mean (W(u) - y)^2``.

    Args:
        utilities: ``(N, K)``, positive. values: ``(N,)``, the welfare that somebody judged each to have.

    Reference: arXiv 2405.17700.
    """
    logs, targets = _logs(utilities, floor), values.double()
    if targets.shape != logs.shape[:1]:
        raise UserError(f"{len(logs)} utility vectors need as many values, not shape {tuple(targets.shape)}")
    if not torch.isfinite(targets).all():
        row = int((~torch.isfinite(targets)).nonzero()[0])
        value = float(targets[row])
        raise UserError(f"row {row + 1}: the value is {value}; give a finite number, or leave the row out")

    def errors(rows: Tensor) -> Loss:
        return lambda shares, powers, _: (log_power_mean(logs[rows], shares, powers).exp() - targets[rows]) ** 2

    return _fit(errors, len(logs), logs.shape[-1], search or Search(), floor, compared=False)


def fit_to_comparisons(
    better: Tensor, worse: Tensor, search: Search | None = None, floor: float = FLOOR
) -> PowerMeanFit:
    """Return the power mean of greatest likelihood, ``P(u over v) = sigmoid(tau (log W(u) - log W(v)))``.

    That the logarithms are compared is inferred: it makes the probability the same for utilities of any unit.

    Args:
        better, worse: ``(N, K)`` each, positive; row by row what somebody preferred, and to what.

    Reference: arXiv 2405.17700.
    """
    preferred, other = _logs(better, floor), _logs(worse, floor)
    if preferred.shape != other.shape:
        raise UserError(f"comparisons need two of one shape, not {tuple(better.shape)} and {tuple(worse.shape)}")

    def surprise(rows: Tensor) -> Loss:
        def loss(shares: Tensor, powers: Tensor, sharpness: Tensor) -> Tensor:
            pair = (log_power_mean(side[rows], shares, powers) for side in (preferred, other))
            return -torch.nn.functional.logsigmoid(sharpness * (next(pair) - next(pair)))

        return loss

    return _fit(surprise, len(preferred), preferred.shape[-1], search or Search(), floor, compared=True)


def _logs(utilities: Tensor, floor: float) -> Tensor:
    if utilities.ndim != 2 or len(utilities) == 0:
        raise UserError(f"utilities must be (N, K) with at least one row, not {tuple(utilities.shape)}")
    fine = (utilities >= 0) & torch.isfinite(utilities)
    if not fine.all():
        row, source = (~fine).nonzero()[0].tolist()
        raise UserError(
            f"row {row + 1}, source {source + 1}: the utility is {float(utilities[row, source]):g}; utilities must be "
            "finite, and must not be negative nor missing: shift and scale the rewards into (0, 1]"
        )
    return utilities.double().clamp(min=floor).log()


def _fit(
    loss_of: Callable[[Tensor], Loss], rows: int, sources: int, search: Search, floor: float, compared: bool
) -> PowerMeanFit:
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(search.seed))
    held = int(search.held_out * rows)
    learning, judging = loss_of(order[held:]), loss_of(order[:held] if held else order)
    powers, width = list(search.powers), 1.0
    start = torch.zeros(sources + 1, dtype=torch.float64)
    for _ in range(search.rounds + 1):
        grid = torch.tensor(powers, dtype=torch.float64)[:, None]
        found = _learned(learning, grid, start.expand(len(powers), -1).clone(), search)
        with torch.no_grad():
            losses = judging(*_parameters(found, grid)).mean(-1)
        best = int(losses.argmin())
        power, start, loss = powers[best], found[best], losses[best].item()
        powers = [power + width * step / 10 for step in range(-10, 11)]
        width /= 10
    shares, _, sharpness = _parameters(start[None], torch.tensor([[power]], dtype=torch.float64))
    mean = PowerMean(power, tuple(shares.flatten().tolist()), floor)
    return PowerMeanFit(mean, sharpness.item() if compared else torch.inf, loss)


def _parameters(table: Tensor, powers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return table[:, None, :-1].softmax(-1), powers, table[:, -1:].exp()


def _learned(loss: Loss, powers: Tensor, start: Tensor, search: Search) -> Tensor:
    """Return ``(P, K + 1)``: logits of the weights and the logarithm of the sharpness for each power."""
    table = start.requires_grad_()
    adam = torch.optim.Adam([table], lr=search.learning_rate)
    for _ in range(search.steps):
        adam.zero_grad()
        loss(*_parameters(table, powers)).mean(-1).sum().backward()
        adam.step()
    return table.detach()
