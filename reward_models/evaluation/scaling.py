"""How a reward model's test loss falls with its data: a power law, fitted for each kind of test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import linregress, t

from reward_models.errors import DataError

FAMILIES: Mapping[str, str] = {
    "adversarial": "the rejected answer is fluent and wrong, deceptive or off the topic: falls with data and size",
    "objective": "correctness can be checked: falls for larger models only",
    "subjective": "the taste of a few people or of a model: flat, as the labels follow style",
}
"""The three kinds of tests that behave differently, and what was found of them."""


@dataclass(frozen=True)
class PowerLaw:
    """``loss = scale * size^(-exponent)``; the exponent with its 95 % interval (t, ordinary least squares in logs).

    ``r_squared`` is that of the line in logs; ``falls`` says whether the whole interval of the exponent lies above 0.
    """

    exponent: float
    low: float
    high: float
    scale: float
    r_squared: float
    points: int

    @property
    def falls(self) -> bool:
        """Whether the loss falls with size beyond doubt."""
        return self.low > 0

    def __call__(self, size: float) -> float:
        """Return the loss that the law gives at a size."""
        return self.scale * size**-self.exponent


@dataclass(frozen=True)
class ScalingFit:
    """Power laws of test losses over training sizes, one for each kind of test.

    ``log loss = log C - a log X`` by ordinary least squares. Give the loss as well as the accuracy: on subjective tests
    confidence grows while accuracy does not, so that they part.

    Attributes:
        confidence: of the exponent's interval.

    Reference: WorldPM, arXiv 2505.10527 (its exponents and any irreducible term are not established).
    """

    confidence: float = 0.95

    def __call__(self, sizes: Sequence[float], losses: Sequence[float]) -> PowerLaw:
        """Fit one law.

        Raises:
            DataError: fewer than two distinct sizes, different lengths, or a value that is not positive.
        """
        if len(sizes) != len(losses) or len(set(sizes)) < 2:
            raise DataError(f"a power law needs at least two sizes with one loss each, not {len(sizes)}, {len(losses)}")
        if not all(value > 0 and math.isfinite(value) for value in (*sizes, *losses)):
            place = next(
                i for i, pair in enumerate(zip(sizes, losses, strict=True))
                if not all(value > 0 and math.isfinite(value) for value in pair)
            )  # fmt: skip
            raise DataError(
                f"point {place}: size {sizes[place]:g} with loss {losses[place]:g}; a power law has positive finite "
                "numbers alone. Leave the point out, or train that run again"
            )
        found = linregress(np.log(sizes), np.log(losses))
        freedom = len(sizes) - 2
        half = float(found.stderr) * t.ppf((1 + self.confidence) / 2, freedom) if freedom else math.inf
        exponent = -float(found.slope)
        return PowerLaw(
            exponent, exponent - half, exponent + half, math.exp(found.intercept), float(found.rvalue) ** 2, len(sizes)
        )

    def each(self, sizes: Sequence[float], losses: Mapping[str, Sequence[float]]) -> dict[str, PowerLaw]:
        """Fit one law for each kind of test, from losses by kind over the same sizes."""
        return {name: self(sizes, values) for name, values in losses.items()}
