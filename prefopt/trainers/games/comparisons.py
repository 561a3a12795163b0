"""Ask a function which of two answers is the better one, as a reward source is asked."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prefopt.trainers.rewards.asking import ask_all
from prefopt.trainers.rewards.completions import Completions, RewardSourceError
from prefopt.trainers.rewards.source import RewardSource
from reward_models.failures import Failure

logger = logging.getLogger(__name__)


def compared(
    source: RewardSource, prompts: list[Any], first: list[Any], second: list[Any], given: Mapping[str, Any]
) -> list[float]:
    """Return the probability of each pair that the first answer is the better one; NaN = no verdict.

    Args:
        source: a callable ``f(prompts, first, second, **columns)``. given: its columns, by their parameters.

    Raises:
        RewardSourceError: it has a bug, or gave what is no probability.
    """
    batch = Completions(prompts, list(zip(first, second, strict=True)), dict(given))
    try:
        rows = ask_all([replace(source, call=_Compares(source.call), columns={})], batch)[0]
    except RewardSourceError as error:
        raise RewardSourceError(str(error).replace("reward source", "judge", 1)) from error
    failures = [str(one) for one in rows if isinstance(one, Failure)]
    tell(source, failures, len(failures), len(rows))
    return [_chance(source, one, batch, number) for number, one in enumerate(rows)]


def tell(source: RewardSource, failures: Sequence[str], missing: int, asked: int) -> None:
    """Log what a judge failed on, if anything."""
    if failures:
        logger.warning(
            "judge '%s' gave no verdict on %d of %d; the last failure: %s", source.label, missing, asked, failures[-1]
        )


@dataclass(frozen=True)
class _Compares:
    """A function of two answers as a source that is asked about pairs of them."""

    call: Any

    def __call__(self, prompts: list[Any], completions: list[Any], **given: Any) -> Any:
        first, second = ([pair[side] for pair in completions] for side in (0, 1))
        return self.call(prompts=prompts, first=first, second=second, **given)

    @property
    def patience(self) -> Any:
        return getattr(self.call, "patience", None)


def _chance(source: RewardSource, value: Any, batch: Completions, number: int) -> float:
    """Return a verdict as a probability, NaN where there is none."""
    if value is None or isinstance(value, Failure):
        return math.nan
    try:
        chance = float(value)
    except (TypeError, ValueError):
        chance = math.inf
    if chance < 0 or chance > 1:
        raise RewardSourceError(
            f"judge '{source.label}' gave {value} for comparison {number + 1}; it must be the probability that the "
            f"first answer is better, in [0, 1], or None\n  prompt: {batch.prompts[number]!r}"
        )
    return chance
