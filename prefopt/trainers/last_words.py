"""What is said when a run stops for numbers that are not finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from prefopt.trainers.guards.gradients import spoilt_parameter
from prefopt.trainers.guards.report import some


def last_words(step: int, many: int, rows: Sequence[Any], page: str, model: nn.Module, checkpoint: str | None) -> str:
    """Return which rows, where their batch is, what to do, and from where to go on.

    Args:
        step: that was not taken. many: steps in a row that were not.
        rows: by name; empty where they are not known. page: of the dump, or "".
        model: as it is now. checkpoint: the newest that is whole.
    """
    often = f" in {many} steps in a row" if many > 1 else ""
    spoilt = spoilt_parameter(model)
    told = [
        f"training stopped at step {step}: loss or gradient was not finite{often};",
        f"the last rows were {some(rows)}." if rows else "its rows are not known.",
        f"Their batch is in {page}." if page else "",
        f"The parameter {spoilt} itself is not finite: no row is to blame;" if spoilt else "",
        "" if spoilt else "Look at these rows, or lower the learning rate;",
        f"the last good checkpoint is {checkpoint}," if checkpoint else "no checkpoint was written before,",
        "and nothing was saved since.",
    ]
    return " ".join(part for part in told if part)
