"""How many completions a reward source may leave unscored before a run stops."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from prefopt.trainers.rewards import RewardSourceError


@dataclass
class UnscoredLimit:
    """Stops a run when a source leaves too many completions unscored.

    Missing scores within the last ``window`` generation batches may not exceed ``share`` of a full window's
    completions, so that an outage stops at once and a single failure never does.
    """

    share: float
    window: int
    seen: deque[tuple[int, list[int]]] = field(default_factory=deque)

    def observe(self, rewards: Tensor, names: Sequence[str], may_abstain: Sequence[bool]) -> None:
        """Count the missing scores of a generation batch ``(N, K)``. Raises ``RewardSourceError`` above the limit."""
        self.seen.append((len(rewards), torch.isnan(rewards).sum(0).tolist()))
        while len(self.seen) > self.window:
            self.seen.popleft()
        full = self.window * max(rows for rows, _ in self.seen)
        scored = sum(rows for rows, _ in self.seen)
        for k, name in enumerate(names):
            missing = sum(counts[k] for _, counts in self.seen)
            if missing > self.share * full and not may_abstain[k]:
                raise RewardSourceError(
                    f"reward source '{name}' left {missing} of {scored} completions unscored in the last "
                    f"{len(self.seen)} generation batches; max_unscored={self.share:g} allows "
                    f"{self.share * full:g} within {self.window}. Mend the source, raise max_unscored, or set "
                    "may_abstain: true on a source that is meant for some prompts only."
                )
