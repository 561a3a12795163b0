"""SIGTERM and Ctrl-C in the commands that train."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefopt.trainers.stop_signals import StopSignals


def stoppable(flags: str = "") -> StopSignals:
    """Return what a training command runs in: a step in hand is finished, and a checkpoint written.

    Args:
        flags: what the same command needs beside its arguments to go on, such as ``--resume``.
    """
    # Late: it takes seconds to import, and help needs none of it.
    from prefopt.trainers.stop_signals import StopSignals

    again = f"the same command with {flags}" if flags else "the same command again"
    return StopSignals(signal.SIGTERM, signal.SIGINT, resume=again)
