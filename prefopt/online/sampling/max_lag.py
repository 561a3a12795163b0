"""Leave out completions that were begun too many weight versions ago."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.slots import Metrics, Sampling


@dataclass(frozen=True)
class MaxLag(Sampling):
    """Keep rows with ``lag <= max_lag``, where ``lag = newest weight version - version at the start of the row``.

    Where weights are swapped while a completion is generated, its tokens come from several versions; the lag is that
    of its first one, the largest. `weight_lag` computes it from version stamps.

    Attributes:
        max_lag: largest lag; infinity keeps everything and only logs.
        whole_batch: a batch is as old as its oldest row, and stays or goes as a whole, as in the released code.

    Reference: staleness bookkeeping of PipelineRL, arXiv 2509.19128.
    """

    max_lag: float
    whole_batch: bool = False
    needs: ClassVar[frozenset[str]] = frozenset({"weight_lag"})
    arxiv: ClassVar[str] = "2509.19128"

    def __post_init__(self) -> None:
        if self.max_lag < 0:
            raise ValueError(f"max_lag counts weight versions and is not negative, unlike {self.max_lag}")

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B,)`` bool."""
        kept = rollouts.extras["weight_lag"] <= self.max_lag
        return kept.all().expand_as(kept) if self.whole_batch else kept

    def metrics(self, rollouts: Rollouts) -> Metrics:
        """Return ``lag``, its mean over rows; ``lag_largest``; ``lag_dropped``, the share of rows that are too old."""
        lag = rollouts.extras["weight_lag"].double()
        rows = torch.tensor(len(lag))
        return {
            "lag": (lag.sum(), rows),
            "lag_largest": (lag.max() if len(lag) else lag.sum(), torch.ones(())),
            "lag_dropped": ((~self(lag, rollouts)).sum(), rows),
        }


def weight_lag(started_with: Tensor, newest: int) -> Tensor:
    """Return ``(B,)``: how many versions lie between the one a row was started with and the newest one.

    Raises:
        ValueError: a row is stamped with a version that does not exist yet.
    """
    if len(started_with) and int(started_with.max()) > newest:
        raise ValueError(f"a completion is stamped with weight version {int(started_with.max())}, newest is {newest}")
    return newest - started_with
