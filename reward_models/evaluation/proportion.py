"""A proportion and its Wilson score interval."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.stats import binomtest


@dataclass(frozen=True)
class Proportion:
    """``successes`` of ``total``.

    The interval is Wilson's score interval, which keeps its coverage for small totals and near 0 and 1:

        (p + z^2/2n +- z sqrt(p (1-p)/n + z^2/4n^2)) / (1 + z^2/n)

    Reference: Wilson, 1927 (JASA 22:209).
    """

    successes: int
    total: int

    @property
    def value(self) -> float:
        """The proportion; NaN of nothing."""
        return self.successes / self.total if self.total else float("nan")

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Lower and upper end; the whole range of nothing."""
        if not self.total:
            return (0.0, 1.0)
        found = binomtest(self.successes, self.total).proportion_ci(confidence, method="wilson")
        return (float(found.low), float(found.high))
