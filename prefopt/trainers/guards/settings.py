"""The setting that all trainers share of what happens at a loss or gradient that is not finite."""

from __future__ import annotations

from dataclasses import dataclass, field

from prefopt.errors import UserError


@dataclass
class GuardArguments:
    """Put before transformers' TrainingArguments."""

    max_non_finite: int = field(
        default=3, metadata={"help": "stop after so many steps in a row whose loss or gradient is not finite"}
    )

    def __post_init__(self) -> None:
        if self.max_non_finite < 1:
            raise UserError(f"max_non_finite must be at least 1, not {self.max_non_finite}")
        # A mean over taken steps is what is logged. The filter would put an older mean in the place of a loss that is
        # not finite, at the cost of waiting for the device in every micro-batch.
        self.logging_nan_inf_filter = False
        super().__post_init__()  # type: ignore[misc]
