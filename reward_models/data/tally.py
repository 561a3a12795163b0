"""Counts over a data set: duplicates, contradictions, leaks, lengths. Hashes of 12 bytes, so linear in time."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from reward_models.data.examples import Conversation, Example, Labelled, Pair, answers_of, is_silent
from reward_models.data.faults import BadRow

EXAMPLES = 20
BUFFER = 1000


def digest(conversation: Conversation) -> bytes:
    """A hash of words and roles; space around text does not count."""
    if isinstance(conversation, str):
        words = "text" + conversation.strip()
    else:
        words = json.dumps([[message["role"], message["content"].strip()] for message in conversation])
    return blake2b(words.encode("utf-8", "surrogatepass"), digest_size=12).digest()


@dataclass(frozen=True)
class Lengths:
    """Of one field over a data set."""

    median: float
    p95: float
    maximum: int


@dataclass
class Tally:
    """What has been seen so far. ``measure`` gives the lengths of conversations; without it none are kept."""

    measure: Callable[[Sequence[Conversation]], Sequence[int]] | None = None
    rows: int = 0
    good: int = 0
    examples: int = 0
    ties: int = 0
    without_pairs: int = 0
    duplicates: int = 0
    contradictions: int = 0
    silent: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    bad_rows: list[BadRow] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    prompts: Counter[bytes] = field(default_factory=Counter)
    _seen: dict[bytes, int] = field(default_factory=dict)
    _lengths: dict[str, array] = field(default_factory=dict)
    _buffer: dict[str, list[Conversation]] = field(default_factory=dict)

    def add_bad(self, row: BadRow) -> None:
        """Count a bad row; the first few are kept whole."""
        self.bad[row.reason] += 1
        if len(self.bad_rows) < EXAMPLES:
            self.bad_rows.append(row)

    def add_pair(self, number: int, pair: Pair) -> None:
        """Count a pair; a contradiction is a pair whose reverse came before."""
        prompt, chosen, rejected = digest(pair.prompt), digest(pair.chosen), digest(pair.rejected)
        if not pair.is_tie:
            reverse = self._seen.get(prompt + rejected + chosen)
            if reverse is not None:
                self.contradictions += 1
                self._warn(f"row {number} prefers the answer that row {reverse} rejects")
        self._add(number, pair, prompt, prompt + chosen + rejected)

    def add_example(self, number: int, example: Example) -> None:
        """Count an example that is no pair; two verdicts on the same answer are a contradiction."""
        prompt = b"" if example.prompt is None else digest(example.prompt)
        if not isinstance(example, Labelled):
            answers = b"".join(digest(answer) for _, answer in answers_of(example))
            self._add(number, example, prompt, prompt + answers)
            return
        key = prompt + digest(example.completion)
        reverse = self._seen.get(key + bytes([not example.label]))
        if reverse is not None:
            self.contradictions += 1
            self._warn(f"row {number} contradicts the label of row {reverse}")
        self._add(number, example, prompt, key + bytes([example.label]))

    def _add(self, number: int, example: Example, prompt: bytes, key: bytes) -> None:
        self.examples += 1
        if prompt:
            self.prompts[prompt] += 1
        if key in self._seen:
            self.duplicates += 1
            self._warn(f"row {number} repeats row {self._seen[key]}")
        else:
            self._seen[key] = number
        prompts = [] if example.prompt is None else [("prompt", example.prompt)]
        for name, conversation in [*prompts, *answers_of(example)]:
            self.silent += name != "prompt" and is_silent(conversation)
            self._measure(name, conversation)

    def _warn(self, sentence: str) -> None:
        if len(self.warnings) < EXAMPLES:
            self.warnings.append(sentence)

    def _measure(self, name: str, conversation: Conversation) -> None:
        if self.measure is None:
            return
        buffer = self._buffer.setdefault(name, [])
        buffer.append(conversation)
        if len(buffer) >= BUFFER:
            self._flush(name)

    def _flush(self, name: str) -> None:
        if self.measure is not None and self._buffer.get(name):
            self._lengths.setdefault(name, array("q")).extend(self.measure(self._buffer[name]))
            self._buffer[name] = []

    def lengths(self) -> Mapping[str, Lengths]:
        """Median, 95th percentile and maximum of each field."""
        for name in list(self._buffer):
            self._flush(name)
        return {name: _summary(np.asarray(values)) for name, values in self._lengths.items()}


def _summary(values: np.ndarray) -> Lengths:
    return Lengths(float(np.median(values)), float(np.percentile(values, 95)), int(values.max()))
