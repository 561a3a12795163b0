"""Stop a run whose sandbox fails too often, instead of training on what is left."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

from reward_models.failures import SourceStopped


class GradingStopped(SourceStopped):
    """Too many programs could not be graded, by no fault of theirs."""


@dataclass
class Breaker:
    """Counts the last ``window`` programs, over all calls of ``grade`` that share it.

    Attributes:
        share: of programs that may fail by the sandbox's fault. least: programs before it judges at all.
    """

    share: float = 0.2
    least: int = 50
    window: int = 500
    _failed: deque[bool] = field(default_factory=deque, init=False, repr=False)
    _reason: str = field(default="", init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def count(self, failure: str | None) -> None:
        """Count one program; ``failure`` says why the sandbox failed, None if it did not.

        Raises:
            GradingStopped: more than ``share`` of at least ``least`` programs have failed. Counting begins anew then.
        """
        with self._lock:
            self._failed.append(failure is not None)
            if len(self._failed) > self.window:
                self._failed.popleft()
            if failure is not None and not self._reason:
                self._reason = failure
            failed, total = sum(self._failed), len(self._failed)
            if not failed:
                self._reason = ""
            if total < self.least or failed <= self.share * total:
                return
            reason, self._reason = self._reason, ""
            self._failed.clear()
        raise GradingStopped(
            f"the sandbox failed for {failed} of the last {total} programs ({failed / total:.0%}, more than "
            f"{self.share:.0%}); the first reason: {reason}. `prefopt doctor` shows which sandbox works here"
        )


BREAKER = Breaker()
