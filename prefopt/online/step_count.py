"""The state of a part that only has to know how many steps were taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from prefopt.composition import State, StatefulPart


class StepCount(StatefulPart):
    """A part whose state is ``step``, the number of optimiser steps so far."""

    def init_state(self) -> State:
        """Return step 0."""
        return {"step": torch.zeros((), dtype=torch.int64)}

    def statistics(self, *_: Any, **state: Any) -> State:
        """Return nothing: only steps are counted."""
        return {}

    def update(self, state: State, statistics: Mapping[str, Tensor]) -> State:
        """Count a step."""
        return {"step": state["step"] + 1}
