"""What the processes of a run tell each other about checkpoints; alone, nothing is sent."""

from __future__ import annotations

import os
from typing import Any

from torch import distributed


def gathered(value: Any) -> list[Any]:
    """Return what every process gave, the same list on all; a barrier."""
    if not _several():
        return [value]
    everyone: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(everyone, value)
    return everyone


def leads_machine() -> bool:
    """Whether this process is the first on its machine."""
    return not _several() or int(os.environ.get("LOCAL_RANK", "0")) == 0


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
