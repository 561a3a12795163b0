"""An objective's state that no update makes unusable."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import Tensor

from prefopt.composition import Objective, State

logger = logging.getLogger(__name__)


def updated(objective: Objective, state: State, statistics: Mapping[str, Mapping[str, Tensor]]) -> State:
    """Return the state after a step; where a number would stop being finite, the state as it was, and the log says so.

    What is not finite from the start, such as a best value of minus infinity, may be what it is.
    """
    after = objective.update(state, statistics)
    spoilt = sorted(name for name, value in after.items() if _spoilt(state.get(name), value))
    if not spoilt:
        return after
    logger.warning("the state of the objective stays as it was: %s would not be finite", ", ".join(spoilt))
    return state


def _spoilt(before: Tensor | None, after: Tensor) -> bool:
    if before is None or before.shape != after.shape or not after.is_floating_point():
        return False
    return bool((torch.isfinite(before) & ~torch.isfinite(after)).any())
