"""What the loaders may be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reward_models.data.pairing import PAIR_RULES
from reward_models.data.policy import BadRowPolicy
from reward_models.data.quarantine import Quarantine, default_quarantine
from reward_models.data.tokens import TokenLimit
from reward_models.errors import DataError

CHOICES: Mapping[str, tuple[str, ...]] = {
    "pair_rule": tuple(PAIR_RULES),
    "ties": ("drop", "soft"),
    "on_bad_row": ("raise", "quarantine"),
}


@dataclass(frozen=True)
class LoadOptions:
    """The keyword arguments of `load_preferences`, `load_unpaired` and `load_prompts`.

    Attributes:
        split: of a hub name, folder or `DatasetDict`; "train" where there are several and none is named.
        config: of a hub name.
        columns: new name to old name, for sources with names of their own: ``{"prompt": "question"}``.
        pair_rule: how several rated answers become pairs, see `reward_models.data.pairing`.
        ties: "drop", or "soft" to keep them with ``label_chosen_preferred = 0.5``.
        on_bad_row: "raise", or "quarantine" to write bad rows to a file and go on.
        quarantine_path: that file; by default ``NAME.quarantine.jsonl`` in the working directory, named as the source.
        max_bad_fraction: the ceiling of "quarantine"; None allows a tenth of the rows, and always ten.
        tokenizer: with ``max_length``, rows that leave no token of an answer to learn from are bad.
        max_length: tokens of prompt and answer together.
        allow_truncation: False makes every row above ``max_length`` a bad row.
    """

    split: str | None = None
    config: str | None = None
    columns: Mapping[str, str] | None = None
    pair_rule: str = "all"
    ties: str = "drop"
    on_bad_row: str = "raise"
    quarantine_path: str | Path | None = None
    max_bad_fraction: float | None = None
    tokenizer: Any = None
    max_length: int | None = None
    allow_truncation: bool = True

    def __post_init__(self) -> None:
        for name, valid in CHOICES.items():
            if getattr(self, name) not in valid:
                raise DataError(f"{name}={getattr(self, name)!r} is unknown; choose one of {', '.join(valid)}")
        if self.max_length is not None and self.tokenizer is None:
            raise DataError("max_length counts tokens: give a tokenizer too")

    def limit(self) -> TokenLimit | None:
        """The limit on tokens, where one was asked for."""
        if self.tokenizer is None or self.max_length is None:
            return None
        return TokenLimit(self.tokenizer, self.max_length, self.allow_truncation)

    def policy(self, source: str, immediately: bool = False) -> BadRowPolicy:
        """What happens to the bad rows of this source."""
        path = self.quarantine_path or default_quarantine(source)
        quarantine = Quarantine(path) if self.on_bad_row == "quarantine" else None
        return BadRowPolicy(self.on_bad_row, quarantine, self.max_bad_fraction, immediately)
