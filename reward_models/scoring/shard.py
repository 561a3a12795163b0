"""Scores of one shard's texts; a text that has none takes no other with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from reward_models.data.faults import RowFault, bad_row
from reward_models.errors import ModelError
from reward_models.formatting import Encoded, Formatter, Text
from reward_models.model import RewardModel
from reward_models.prefix_tree import Bundle
from reward_models.scoring.input import ScoringInput, ScoringRow
from reward_models.scoring.records import Kept
from reward_models.scoring.report import ScoringReport
from reward_models.scoring.store import ScoreStore

REASON_LENGTH = 300
# So many texts that all fail, one by one, are not at fault.
ENOUGH = 4
# What devices other than CUDA's, and libraries beneath them, have no type of error for.
OF_MACHINES = ("CUDA error", "HIP error", "CUBLAS_STATUS", "CUDNN_STATUS", "out of memory", "can't allocate memory")
Outcome: TypeAlias = Tensor | str


@dataclass(frozen=True)
class ShardScorer:
    """Scores shards of an input into a store; ``pulse`` is called after each batch."""

    model: RewardModel
    formatter: Formatter
    rows: ScoringInput
    store: ScoreStore
    pulse: Callable[[], None]

    def __call__(self, shard: int, rows: list[ScoringRow], known: dict[bytes, Kept], report: ScoringReport) -> None:
        """Score what is not known yet.

        Raises:
            DataError: a text without a score, where bad rows stop the run.
            ModelError: the model fails on texts of any kind.
        """
        texts: dict[bytes, tuple[Any, Text]] = {
            key: text for row in rows for key, text in zip(row.keys, row.texts, strict=True)
        }
        # Batches are made of all texts that belong to this shard, so that they are the same when a killed run goes on.
        own = [key for key in texts if known[key].shard == shard]
        found = _encoded(self.formatter, [texts[key] for key in own])
        broken = {key: one for key, one in zip(own, found, strict=True) if isinstance(one, str)}
        self._keep(shard, rows, {key: reason for key, reason in broken.items() if not known[key].settled}, {})
        sound = {key: one for key, one in zip(own, found, strict=True) if isinstance(one, Encoded)}
        encoded = list(sound.values())
        names = list(sound)
        for batch in self.model.batches(encoded, self.rows.settings.batch_tokens):
            keys = [names[i] for i in batch.rows]
            if all(known[key].settled for key in keys):
                continue
            outcomes = dict(zip(keys, self._outcomes(batch, [encoded[i] for i in batch.rows]), strict=True))
            self._keep(shard, rows, outcomes, sound)
            report.tokens += sum(len(sound[key].input_ids) for key in keys)
            report.scored += len(keys)
            self.pulse()

    def _keep(
        self, shard: int, rows: list[ScoringRow], outcomes: dict[bytes, Outcome], sound: dict[bytes, Encoded]
    ) -> None:
        if self.rows.settings.on_bad_row == "raise":
            for key, outcome in outcomes.items():
                if isinstance(outcome, str):
                    self.rows.refuse(unscorable(self.rows, next(row for row in rows if key in row.keys), outcome))
        cut = [key in sound and bool(sound[key].prompt_cut or sound[key].response_cut) for key in outcomes]
        self.store.remember(shard, list(outcomes), list(outcomes.values()), cut)

    def _outcomes(self, batch: Bundle, rows: Sequence[Encoded]) -> list[Outcome]:
        found = self._values(batch, rows)
        if len(rows) >= ENOUGH and all(isinstance(outcome, str) for outcome in found):
            raise ModelError(f"the model fails on each of {len(rows)} texts of a batch ({found[0]})")
        return found

    def _values(self, batch: Bundle, rows: Sequence[Encoded]) -> list[Outcome]:
        """A batch that fails is split in halves until the text at fault stands alone."""
        try:
            values = self.model.score_batch(batch) if self.model.steps is None else self.model.step_values(batch)
            if len(values) != len(rows):
                raise ModelError(f"the model gave {len(values)} scores for {len(rows)} texts")
            return list(values)
        except Exception as error:
            if _is_the_machine(error):
                raise ModelError(
                    f"the device failed in a batch of {len(rows)} texts ({_words(error)}). What is scored is kept: run "
                    "the same command again to go on. Where memory runs out each time, lower batch_tokens"
                ) from error
            if len(rows) == 1:
                return [_words(error)]
            middle = len(rows) // 2
            return self._apart(rows[:middle]) + self._apart(rows[middle:])

    def _apart(self, rows: Sequence[Encoded]) -> list[Outcome]:
        found: list[Outcome] = [""] * len(rows)
        for batch in self.model.batches(rows, self.rows.settings.batch_tokens):
            values = self._values(batch, [rows[i] for i in batch.rows])
            for place, outcome in zip(batch.rows, values, strict=True):
                found[place] = outcome
        return found


def unscorable(rows: ScoringInput, row: ScoringRow, reason: str) -> Any:
    """A row that the model gives no score for, as the bad row that it is."""
    return bad_row(str(rows.source), row.number, row.row, RowFault("unscorable", "completion", reason))


def _encoded(formatter: Formatter, texts: list[tuple[Any, Text]]) -> list[Encoded | str]:
    if not texts:
        return []
    try:
        return list(formatter.encode_many(*zip(*texts, strict=True)))
    except Exception as error:
        found = [_encoded_alone(formatter, text) for text in texts]
        if len(texts) > 1 and found == [_words(error)] * len(texts):
            raise ModelError(f"no text of {len(texts)} can be tokenised ({_words(error)})") from error
        return found


def _encoded_alone(formatter: Formatter, text: tuple[Any, Text]) -> Encoded | str:
    try:
        return formatter.encode(*text)
    except Exception as error:
        return _words(error)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:REASON_LENGTH]


def _is_the_machine(error: Exception) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(words in str(error) for words in OF_MACHINES)
