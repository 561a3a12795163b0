"""How many completions a reward source may leave unscored before a run stops."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from prefopt.trainers.rewards.answers import ABSTAINED, BY_INFRASTRUCTURE, BY_UNGRADABLE, SCORED
from prefopt.trainers.rewards.completions import RewardSourceError
from reward_models.failures import INFRASTRUCTURE, UNGRADABLE

ADVICE = {
    INFRASTRUCTURE: "A server, sandbox or machine behind it failed: look at that, then resume from the last "
    "checkpoint. `retries` and `deadline` of the source say how long it is waited for. ",
    UNGRADABLE: "It has nothing to judge these completions by: look at the columns that it reads. ",
}


@dataclass
class UnscoredLimit:
    """Stops a run when a source leaves too many completions unscored.

    Missing scores within the last ``window`` generation batches may not exceed ``share`` of a full window's
    completions, so that an outage stops at once and a single failure never does. A source that may abstain is held to
    its failures; its plain None is none.

    ``seen``: of each batch its completions, and of each reward column how many failed by infrastructure and how many
    were ungradable; a single number, in older checkpoints, is both together.
    """

    share: float
    window: int
    seen: deque[tuple[int, list[Any]]] = field(default_factory=deque)

    def observe(
        self,
        rewards: Tensor,
        names: Sequence[str],
        may_abstain: Sequence[bool],
        kinds: Tensor | None = None,
        failures: Mapping[str, str] | None = None,
    ) -> None:
        """Count the missing scores of a generation batch.

        Args:
            rewards: ``(N, K)``. names, may_abstain: of the columns.
            kinds: ``(N, K)``, see `prefopt.trainers.rewards.answers`; None = every NaN is ungradable, or abstained.
            failures: the last failure's words, by column.

        Raises:
            RewardSourceError: more are missing than may be.
        """
        kinds = kinds_of(rewards, may_abstain) if kinds is None else kinds
        failed = torch.stack([kinds == BY_INFRASTRUCTURE, kinds == BY_UNGRADABLE], -1).sum(0)
        self.seen.append((len(rewards), failed.tolist()))
        while len(self.seen) > self.window:
            self.seen.popleft()
        full = self.window * max(rows for rows, _ in self.seen)
        scored = sum(rows for rows, _ in self.seen)
        for k, name in enumerate(names):
            by = [sum(_by_kind(counts[k])[kind] for _, counts in self.seen) for kind in (0, 1)]
            if sum(by) > self.share * full:
                last = (failures or {}).get(name, "")
                raise RewardSourceError(
                    f"reward source '{name}' left {sum(by)} of {scored} completions unscored in the last "
                    f"{len(self.seen)} generation batches ({by[0]} by infrastructure, {by[1]} ungradable"
                    f"{f'; the last one: {last}' if last else ''}); max_unscored={self.share:g} allows "
                    f"{self.share * full:g} within {self.window}. {ADVICE[INFRASTRUCTURE] if by[0] else ''}"
                    f"{ADVICE[UNGRADABLE] if by[1] else ''}Mend the source, raise max_unscored, or set "
                    "may_abstain: true on a source that is meant for some prompts only."
                )


def _by_kind(count: int | Sequence[int]) -> Sequence[int]:
    return (0, count) if isinstance(count, int) else count


def kinds_of(rewards: Tensor, may_abstain: Sequence[bool]) -> Tensor:
    """Return the kinds ``(N, K)`` of rewards of which nothing is known but their NaN."""
    missing = torch.tensor([ABSTAINED if one else BY_UNGRADABLE for one in may_abstain], dtype=torch.int8)
    return torch.where(torch.isnan(rewards), missing, torch.tensor(SCORED, dtype=torch.int8))
