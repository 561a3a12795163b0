"""Call reward sources on a batch of completions, and refuse what is no score."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from prefopt.trainers.rewards.answers import Scores, scores_of
from prefopt.trainers.rewards.asking import ask_all
from prefopt.trainers.rewards.completions import Completions, RewardSourceError, WrongRowsError
from prefopt.trainers.rewards.source import RewardSource
from reward_models.clock import CLOCK, Clock
from reward_models.failures import Failure

logger = logging.getLogger(__name__)

__all__ = ["Completions", "RewardSourceError", "WrongRowsError", "answer_of", "score_all", "scores_and_failures"]


def score_all(sources: Sequence[RewardSource], batch: Completions) -> Tensor:
    """Return ``(N, K)`` float32 on the CPU, K over all sources' columns; None, NaN and failures become NaN.

    Sources that are coroutines run side by side, others one after the other.

    Raises:
        RewardSourceError: a source has a bug, or gave a wrong number of scores, infinity, or what is no number.
    """
    return scores_and_failures(sources, batch).values


def scores_and_failures(sources: Sequence[RewardSource], batch: Completions, clock: Clock = CLOCK) -> Scores:
    """Return the same with the reason for each score that is missing. Raises ``RewardSourceError`` likewise."""
    answers = ask_all(sources, batch, clock)
    columns = [scores_of(source, rows, batch) for source, rows in zip(sources, answers, strict=True)]
    blank = torch.zeros(len(batch), 0)
    return Scores(
        torch.cat([blank, *(one.values for one in columns)], 1),
        torch.cat([blank.to(torch.int8), *(one.kinds for one in columns)], 1),
        {name: words for one in columns for name, words in one.failures.items()},
    )


def answer_of(source: RewardSource, batch: Completions) -> list[Any]:
    """Return what a source says of each row, whatever it is; None for a failure.

    Raises:
        RewardSourceError: the source has a bug. WrongRowsError: it gave a wrong number of answers.
    """
    rows = ask_all([source], batch)[0]
    failures = [one for one in rows if isinstance(one, Failure)]
    if failures:
        last = f"{failures[-1].kind}: {failures[-1]}"
        logger.warning(
            "'%s' has no answer for %d of %d rows; the last: %s", source.label, len(failures), len(rows), last
        )
    return [None if isinstance(one, Failure) else one for one in rows]
