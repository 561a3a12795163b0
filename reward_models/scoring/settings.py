"""Settings of a scoring run and the checks that need no model; imports neither torch nor transformers."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from reward_models.attention_choice import ATTENTION_HELP, CHOICES
from reward_models.data.files import format_of
from reward_models.errors import DataError

OUTPUTS = (".jsonl", ".jsonl.gz", ".parquet")
BAD_ROWS = ("raise", "quarantine", "null")


@dataclass(frozen=True)
class ScoringSettings:
    """How to batch and what to do with bad rows. A resumed run must agree on all that scores depend on."""

    batch_tokens: int = field(
        default=16384, metadata={"help": "most tokens in one forward pass, padding counted; a CPU takes 2,048"}
    )
    shard_rows: int = field(default=4096, metadata={"help": "rows in memory at once; several completions count each"})
    max_length: int | None = field(
        default=None, metadata={"help": "longest prompt + completion in tokens; unset: as in training"}
    )
    on_bad_row: str = field(
        default="raise",
        metadata={
            "help": "raise; quarantine: leave bad rows out and list them with their reasons; or null: keep them, with "
            "null for a score and the reason beside it"
        },
    )
    attention: str = field(default="auto", metadata={"help": ATTENTION_HELP})
    step_summary: str | None = field(
        default=None,
        metadata={
            "help": "a whole solution's score where a model scores steps: the min, the last or the mean of its "
            "steps' (all are written beside it); unset: as the model was trained"
        },
    )
    prefix: str = field(default="", metadata={"help": "put before the score columns' names"})
    explain: bool = field(
        default=False, metadata={"help": "also write what each attribute counts in a gated model's score: weight_NAME"}
    )
    restart: bool = field(
        default=False, metadata={"help": "throw away what an earlier attempt scored, and score everything anew"}
    )

    def __post_init__(self) -> None:
        if self.on_bad_row not in BAD_ROWS:
            raise DataError(f"on_bad_row must be one of {', '.join(BAD_ROWS)}, got '{self.on_bad_row}'")
        if self.attention not in CHOICES:
            raise DataError(f"attention must be one of {', '.join(CHOICES)}, got '{self.attention}'")
        for name in ("batch_tokens", "shard_rows"):
            if getattr(self, name) < 1:
                raise DataError(f"{name} must be at least 1, got {getattr(self, name)}")


def check_files(source: Path, output: Path) -> None:
    """Refuse files that cannot be read or written, before a model is loaded.

    Raises:
        DataError: says which and why.
    """
    if not output.name.endswith(OUTPUTS):
        raise DataError(f"{output}: the output must end in one of {', '.join(OUTPUTS)}")
    if not source.is_file():
        raise DataError(f"{source}: no such file")
    if source.resolve() == output.resolve():
        raise DataError(f"{output} is the input itself; name another output")
    format_of(source)
    _check_place(output)


def _check_place(output: Path) -> None:
    if output.is_dir():
        raise DataError(f"{output} is a folder; name a file")
    folder = output.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise DataError(f"{output}: {folder} is no folder; name another output")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"{output}: {folder} is not writable; name another output, or change its permissions")
