"""All reward sources of a run: called by every process on its own rows, gathered, and counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from prefopt.trainers.reward_source import RewardSource
from prefopt.trainers.rewards import Completions, RewardSourceError, score_all
from prefopt.trainers.unscored import UnscoredLimit
from prefopt.trainers.verdicts import verdicts


@dataclass
class Scorer:
    """Reward sources with the limit on what they leave unscored.

    ``needs``: inputs of the objective; test results among them are asked of the sources as well.
    """

    sources: list[RewardSource]
    limit: UnscoredLimit
    needs: frozenset[str] = frozenset()

    @property
    def names(self) -> list[str]:
        """Names of the reward columns."""
        return [name for source in self.sources for name in source.names]

    @property
    def weights(self) -> list[float]:
        """Weight of each reward column."""
        return [weight for source in self.sources for weight in source.weights]

    def __call__(
        self,
        accelerator: Accelerator,
        rows: Sequence[Mapping[str, Any]],
        prompts: list[Any],
        completions: list[Any],
        context: Mapping[str, Any],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return rewards ``(N, K)`` float32 of all processes, NaN = no score, and this process's test results by name.

        Raises:
            RewardSourceError: a source failed; on every process, so that none waits for another.
        """
        columns = {key: [row.get(key) for row in rows] for key in rows[0]}
        scores, results, failure = torch.full((len(rows), len(self.names)), torch.nan), {}, ""
        try:
            batch = Completions(prompts, completions, columns, context)
            scores, results = score_all(self.sources, batch), verdicts(self.needs, self.sources, batch)
        except RewardSourceError as error:
            if accelerator.num_processes == 1:
                raise
            failure = str(error)
        if accelerator.num_processes > 1:
            failures = [text for text in gather_object([failure]) if text]
            if failures:
                raise RewardSourceError(failure or f"on another process: {failures[0]}")
        everywhere: Tensor = accelerator.gather(scores.to(accelerator.device))
        return everywhere, results

    def count(self, rewards: Tensor) -> None:
        """Count the missing scores of a generation batch. Raises ``RewardSourceError`` above the limit."""
        abstain = [source.may_abstain for source in self.sources for _ in source.names]
        self.limit.observe(rewards.cpu(), self.names, abstain)
