"""All reward sources of a run: called by every process on its own rows, gathered, and counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from prefopt.online.slots import Metrics
from prefopt.trainers.rewards.answers import ABSTAINED, BY_INFRASTRUCTURE, BY_UNGRADABLE, SCORED, Scores
from prefopt.trainers.rewards.scores import Completions, RewardSourceError, score_all, scores_and_failures
from prefopt.trainers.rewards.source import RewardSource
from prefopt.trainers.rewards.unscored import UnscoredLimit
from prefopt.trainers.rewards.verdicts import verdicts
from prefopt.trainers.supply.inputs import UserInput
from prefopt.trainers.supply.steps import Splitter, step_ids

Answer = TypeVar("Answer")
COUNTED = {
    "unscored_by_infrastructure": BY_INFRASTRUCTURE,
    "unscored_ungradable": BY_UNGRADABLE,
    "abstained": ABSTAINED,
}
"""Figures of the log, each only where it is not 0."""


@dataclass
class Scorer:
    """Reward sources with the limit on what they leave unscored.

    ``needs``: inputs of the objective; test results among them are asked of the sources as well. ``inputs``: those that
    the user supplies. ``splitter`` and ``tokenizer``: how completions are divided into steps, where that is said.
    """

    sources: list[RewardSource]
    limit: UnscoredLimit
    needs: frozenset[str] = frozenset()
    inputs: Sequence[UserInput] = ()
    splitter: Splitter | None = None
    tokenizer: Any = None
    _kinds: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.int8), init=False, repr=False)
    _failures: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    @property
    def names(self) -> list[str]:
        """Names of the reward columns."""
        return [name for source in self.sources for name in source.names]

    @property
    def weights(self) -> list[float]:
        """Weight of each reward column."""
        return [weight for source in self.sources for weight in source.weights]

    @property
    def roles(self) -> list[str]:
        """Role of each reward column."""
        return [source.role for source in self.sources for _ in source.names]

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
        batch = Completions(prompts, completions, columns, context)

        def ask() -> tuple[Scores, dict[str, Tensor]]:
            own = verdicts(self.needs, self.sources, batch)
            return scores_and_failures(self.sources, batch), own | self._supplied(batch)

        scores, results = _together(accelerator, ask)
        everywhere: Tensor = accelerator.gather(scores.values.to(accelerator.device))
        self._kinds = accelerator.gather(scores.kinds.to(accelerator.device)).cpu()
        self._failures = _last_words(accelerator, scores.failures)
        return everywhere, results

    def _supplied(self, batch: Completions) -> dict[str, Tensor]:
        """Return what the user's inputs give, and the steps' numbers."""
        ids, found = batch.context["completion_ids"], {}
        if self.splitter is not None:
            numbers, texts = step_ids(self.splitter, self.tokenizer, ids)
            batch = replace(batch, context={**batch.context, "steps": texts}, per_row=(*batch.per_row, "steps"))
            found = {"step_ids": numbers} if "step_ids" in self.needs else {}
        lengths = [len(tokens) for tokens in ids] if self.inputs else []
        return found | {one.name: one(batch, lengths) for one in self.inputs}

    def again(self, accelerator: Accelerator, batch: Completions) -> Tensor:
        """Return the rewards ``(N, K)`` of other completions of this process; N may differ between processes."""
        blank = torch.zeros(0, len(self.names))
        return _together(accelerator, lambda: score_all(self.sources, batch) if len(batch) else blank)

    def count(self, rewards: Tensor) -> None:
        """Count the missing scores of the last generation batch. Raises ``RewardSourceError`` above the limit."""
        abstain = [source.may_abstain for source in self.sources for _ in source.names]
        self.limit.observe(rewards.cpu(), self.names, abstain, self._kinds, self._failures)

    def missing(self) -> Metrics:
        """Return how many completions of the last generation batch have no score, by reward column and kind.

        ``unscored.K`` leaves out those on which a source abstained, which are ``abstained.K``.
        """
        rows, found = torch.tensor(len(self._kinds)), {}
        for k, kinds in enumerate(self._kinds.unbind(1)):
            found[f"unscored.{k}"] = (((kinds != SCORED) & (kinds != ABSTAINED)).sum(), rows)
            for name, kind in COUNTED.items():
                if (kinds == kind).any():
                    found[f"{name}.{k}"] = ((kinds == kind).sum(), rows)
        return found


def _last_words(accelerator: Accelerator, failures: Mapping[str, str]) -> dict[str, str]:
    """Return the last failure of each reward column, of any process."""
    of_all = gather_object([dict(failures)]) if accelerator.num_processes > 1 else [failures]
    return {name: words for one in reversed(of_all) for name, words in one.items()}


def _together(accelerator: Accelerator, ask: Callable[[], Answer]) -> Answer:
    """Return what ``ask`` does; where it fails on one process, all of them raise."""
    if accelerator.num_processes == 1:
        return ask()
    answer, failure, words = None, None, ""
    try:
        answer = ask()
    except Exception as error:
        # Whatever it is: the others wait for this process now.
        kind = "" if isinstance(error, RewardSourceError) else f"{type(error).__name__}: "
        failure, words = error, f"{kind}{error}"
    of_all = [text for text in gather_object([words]) if text]
    if failure is not None:
        raise failure
    if of_all:
        raise RewardSourceError(f"on another process: {of_all[0]}")
    assert answer is not None
    return answer
