"""Lengths of a group beside each other: the shortest right answer gains, the longest loses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reward_models.formatting import Text
from reward_models.verifiable.format_and_length.correctness import build_judge, columns_read, correctness
from reward_models.verifiable.lengths import check_unit, lengths_of


@dataclass(frozen=True)
class KimiLength:
    """``l_i = 0.5 - (L_i - L_min) / (L_max - L_min)`` over the group; right: ``l_i``, wrong: ``min(0, l_i)``.

    A group is all completions of the call with the same prompt, so a call must hold whole groups, as a trainer's does.
    Where all of a group are equally long, 0. None where correctness is not known; its length counts all the same.

    Attributes:
        unit: tokens (from a trainer), words or characters.
        correct: verifier that says what is right, a name or ``{source: name, settings: {...}}``; None reads a column.

    Columns: ``correct``, or what that verifier reads. Reference: arXiv 2501.12599.
    """

    unit: str = "tokens"
    correct: Any = None

    def __post_init__(self) -> None:
        check_unit(self.unit, "kimi_length")
        self.judge  # noqa: B018  refuses an unknown verifier now

    @cached_property
    def judge(self) -> Any:
        """The verifier of correctness, or None for a column."""
        return build_judge(self.correct, "kimi_length")

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that it needs: those of the verifier of correctness, or ``correct``."""
        return columns_read(self.judge)

    def __call__(
        self,
        prompts: Sequence[Text],
        completions: Sequence[Text],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Return a score in [-0.5, 0.5] a completion."""
        lengths = lengths_of(self.unit, completions, completion_ids, "kimi_length")
        known = {**columns, "completion_ids": completion_ids}
        right = correctness(self.judge, prompts, completions, known, "kimi_length")
        groups: dict[Hashable, list[int]] = defaultdict(list)
        for prompt, length in zip(prompts, lengths, strict=True):
            groups[_key(prompt)].append(length)
        bounds = [(min(groups[_key(prompt)]), max(groups[_key(prompt)])) for prompt in prompts]
        rows = zip(lengths, bounds, right, strict=True)
        return [None if ok is None else self.score(length, *both, ok) for length, both, ok in rows]

    @staticmethod
    def score(length: int, least: int, most: int, right: bool) -> float:
        """Score one length beside the least and the most of its group."""
        if least == most:
            return 0.0
        value = 0.5 - (length - least) / (most - least)
        return value if right else min(0.0, value)


def _key(prompt: Text) -> Hashable:
    return prompt if isinstance(prompt, str) else repr(prompt)
