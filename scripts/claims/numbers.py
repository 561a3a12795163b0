"""Figures over seeds with their intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t

LEVEL = 0.95


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over the first dimension (seeds) and the ends of its 95 % t interval: ``mean -+ t_{n-1} s / sqrt(n)``.

    Student's, and no bootstrap, as a bootstrap of three or five seeds is far too narrow. One seed has no interval: NaN.
    """
    values = np.asarray(values, dtype=float)
    count, mean = len(values), values.mean(0)
    if count < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    half = t.ppf((1 + LEVEL) / 2, count - 1) * values.std(0, ddof=1) / np.sqrt(count)
    return mean, mean - half, mean + half


@dataclass(frozen=True)
class Number:
    """One figure: a value a seed. All values of an experiment have the same seeds, so that comparisons are paired."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(interval(np.array(self.values))[0])

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval of the mean."""
        return float(interval(np.array(self.values))[1])

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval of the mean."""
        return float(interval(np.array(self.values))[2])

    def minus(self, other: Number) -> Number:
        """Difference seed by seed."""
        return Number(tuple(a - b for a, b in zip(self.values, other.values, strict=True)))

    def below(self, other: Number | float) -> bool:
        """Whether this is smaller beyond doubt: the interval of the (paired) difference lies below zero."""
        other = other if isinstance(other, Number) else Number((float(other),) * len(self.values))
        gap = self.minus(other)
        spread = np.ptp(gap.values) > 0
        return gap.high < 0 if spread else gap.mean < 0

    def above(self, other: Number | float) -> bool:
        """Whether this is larger beyond doubt."""
        other = other if isinstance(other, Number) else Number((float(other),) * len(self.values))
        return other.below(self)

    def as_json(self) -> dict[str, Any]:
        """Mean, interval and the values themselves."""
        return {key: _short(getattr(self, key)) for key in ("mean", "low", "high")} | {
            "values": [_short(value) for value in self.values]
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Number:
        """Read what `as_json` gave."""
        return cls(tuple(float(value) for value in stored["values"]))


Numbers = Mapping[str, Number]


def each_seed(one: Callable[[int], Mapping[str, Any]], seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """Call ``one(seed)`` for every seed and stack what it returns by name: scalars to ``(seeds,)``, curves to 2-D."""
    runs = [one(seed) for seed in seeds]
    return {name: np.stack([np.asarray(run[name], dtype=float) for run in runs]) for name in runs[0]}


def first_step(curves: np.ndarray, threshold: float, every: int = 1) -> np.ndarray:
    """Steps until a curve ``(..., X)`` first exceeds ``threshold``; where it never does, the steps that were run.

    A run that was cut off counts as if it had just arrived, so a slow method looks better than it is, never worse.
    """
    reached = np.asarray(curves) > threshold
    return np.where(reached.any(-1), reached.argmax(-1), reached.shape[-1] - 1).astype(float) * every


def _short(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None
