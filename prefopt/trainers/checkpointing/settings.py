"""Settings of how checkpoints are written, in the configurations of all trainers."""

from __future__ import annotations

from dataclasses import dataclass, field

from prefopt.errors import UserError


@dataclass
class CheckpointArguments:
    """Put before transformers' TrainingArguments."""

    on_failed_save: str = field(
        default="stop",
        metadata={
            "help": "a checkpoint that cannot be written, as on a full disk: stop, or continue (to the next save, with "
            "an error in the log); older checkpoints stay as they were either way"
        },
    )

    def __post_init__(self) -> None:
        if self.on_failed_save not in ("stop", "continue"):
            raise UserError(f"on_failed_save must be stop or continue, got '{self.on_failed_save}'")
        super().__post_init__()  # type: ignore[misc]
