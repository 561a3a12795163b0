"""Time, and chance for pauses, as a value: so that a test can hold both."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0


@dataclass
class Clock:
    """Time, so that a test can hold it. ``chance`` spreads pauses; it is seeded, and apart from all others."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    # Not the global one: pauses must not change what a seeded run draws; processes must not come back all at once.
    chance: random.Random = field(default_factory=lambda: random.Random(f"pauses {os.environ.get('RANK', '0')}"))

    def pause(self, attempt: int, at_least: float = 0.0) -> float:
        """Return seconds before retry ``attempt`` (from 0): 0.25 s doubled each time up to 10 s, less up to half."""
        longest = min(FIRST_PAUSE * 2.0 ** min(attempt, 10), LONGEST_PAUSE)
        return max(longest * self.chance.uniform(0.5, 1.0), at_least)

    async def rest(self, seconds: float) -> None:
        """Sleep in an event loop."""
        if self.sleep is time.sleep:
            await asyncio.sleep(seconds)
        else:
            self.sleep(seconds)


CLOCK = Clock()
