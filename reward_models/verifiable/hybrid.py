"""A rule where a program can judge, a softer score where none can, and terms for length and form beside them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from reward_models.errors import ModelError
from reward_models.failures import Failure
from reward_models.formatting import Text
from reward_models.verifiable.format_and_length.correctness import build_judge, columns_read
from reward_models.verifiable.lengths import check_unit, lengths_of
from reward_models.verifiable.similarity import EmbeddingSimilarity


@dataclass(frozen=True)
class HybridReward:
    """Three columns, to be added with equal weights: ``hybrid``, ``length`` and ``format``.

        hybrid_i = c R_rule + (1 - c) R_model          c = 1 where the prompt is verifiable, 0 where it is open-ended
        length_i = - P_max clip((tau L_c - L_i) / (tau L_c), 0, 1)   for a wrong completion, else 0
        format_i = weight * R_format

    ``L_c`` is the mean length of the group's completions that the rule finds right (at least 1); without one there is
    no penalty. It falls on wrong answers that are too short. A group is all completions of the call with the same
    prompt, so a call must hold whole groups, as a trainer's does. A part that gives no score leaves None in its column,
    never 0. Terms of different scales: the one that varies most decides; a trainer logs each column's deviation, and
    ``weight`` takes one number a column. Train with an advantage that subtracts the group's mean and divides by nothing
    (``dr_grpo``).

    *Reconstructed*: the confidence c, the length term's form and every default; established are the sum of three terms
    of equal weight, the rule where verifiable and otherwise the similarity to a reference (or a reward model), and the
    advantage without deviation.

    Attributes:
        rule: verifier by name, or ``{source: name, settings: {...}}``, or a function.
        model: score of open-ended prompts: the folder of an encoder of sentences (cosine with column ``reference``),
            or a function; None = they have no score.
        format: verifier of form, as ``rule``; None = no such column.
        penalty: P_max. tau: share of the right ones' mean length below which a wrong answer is too short.
        format_weight: of a well-formed completion. unit: of lengths: words, characters or tokens.

    Columns: what rule and model read, and ``verifiable`` (true, false, or c itself), where there is one; without it a
    prompt is verifiable where the rule gives a verdict.

    Reference: HARMO, arXiv 2510.05283.
    """

    rule: Any = "exact_answer"
    model: Any = None
    format: Any = None
    penalty: float = 0.5
    tau: float = 1.0
    format_weight: float = 0.1
    unit: str = "words"
    __name__: ClassVar[str] = "hybrid_reward"

    def __post_init__(self) -> None:
        check_unit(self.unit, "hybrid_reward")
        if self.rule is None:
            raise ModelError("hybrid_reward: rule names the verifier of prompts that a program can judge")
        if self.penalty < 0 or not self.tau > 0:
            raise ModelError(f"hybrid_reward needs penalty >= 0 and tau > 0, not {self.penalty} and {self.tau}")
        self._judges  # noqa: B018  refuses an unknown verifier now

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return ("hybrid", "length") if self.format is None else ("hybrid", "length", "format")

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns without which it does not start."""
        return tuple(dict.fromkeys(name for part in self._judges.values() if part for name in columns_read(part)))

    @cached_property
    def _judges(self) -> dict[str, Callable[..., Any] | None]:
        model = EmbeddingSimilarity(self.model) if isinstance(self.model, str) else self.model
        if model is not None and not callable(model):
            raise ModelError(f"hybrid_reward: model is a folder or a function, not {self.model!r}")
        return {
            "rule": build_judge(self.rule, "hybrid_reward"),
            "model": model,
            "format": None if self.format is None else build_judge(self.format, "hybrid_reward"),
        }

    def __call__(
        self,
        prompts: Sequence[Text],
        completions: Sequence[Text],
        completion_ids: Sequence[Sequence[int]] | None = None,
        verifiable: Sequence[float | bool | None] | None = None,
        **columns: Any,
    ) -> list[list[float | None]]:
        """Return a row of scores a completion."""
        lengths = lengths_of(self.unit, completions, completion_ids, "hybrid_reward")
        known = {**columns, "completion_ids": completion_ids}
        rule, model, form = (
            self._ask(name, prompts, completions, known) for name in ("rule", "model", "format")
        )  # fmt: skip
        given = verifiable if verifiable is not None else [None] * len(prompts)
        shares = [
            float(found is not None) if one is None else float(one) for one, found in zip(given, rule, strict=True)
        ]
        hybrid = [mixed(*row) for row in zip(shares, rule, model, strict=True)]
        right = [None if share == 0 or found is None else found >= 1 for share, found in zip(shares, rule, strict=True)]
        length = self.length_terms(prompts, lengths, right)
        if self.format is None:
            return [list(row) for row in zip(hybrid, length, strict=True)]
        formed = [None if one is None else self.format_weight * one for one in form]
        return [list(row) for row in zip(hybrid, length, formed, strict=True)]

    def length_terms(
        self, prompts: Sequence[Text], lengths: Sequence[int], right: Sequence[bool | None]
    ) -> list[float | None]:
        """Return the length term of each completion; ``right`` is None where no rule says."""
        groups: dict[Hashable, list[int]] = defaultdict(list)
        for prompt, length, ok in zip(prompts, lengths, right, strict=True):
            if ok:
                groups[_key(prompt)].append(length)
        found: list[float | None] = []
        for prompt, length, ok in zip(prompts, lengths, right, strict=True):
            own = groups.get(_key(prompt))
            wanted = self.tau * sum(own) / len(own) if own else 0.0
            short = min(max((wanted - length) / wanted, 0.0), 1.0) if wanted > 0 and ok is False else 0.0
            found.append(-self.penalty * short if short else 0.0)
        return found

    def _ask(
        self, name: str, prompts: Sequence[Text], completions: Sequence[Text], columns: Mapping[str, Any]
    ) -> list[float | None]:
        judge = self._judges[name]
        if judge is None:
            return [None] * len(prompts)
        for column in columns_read(judge):
            if columns.get(column) is None:
                raise ModelError(f"hybrid_reward: its {name} reads the column '{column}', which the data do not have")
        given = list(judge(prompts=prompts, completions=completions, **_taken(judge, columns)))
        return [None if one is None or isinstance(one, Failure) or math.isnan(one) else float(one) for one in given]


def mixed(share: float, rule: float | None, model: float | None) -> float | None:
    """Return ``c R_rule + (1 - c) R_model``; None where a part that counts is missing."""
    if (share > 0 and rule is None) or (share < 1 and model is None):
        return None
    return (share * rule if share > 0 else 0.0) + ((1 - share) * model if share < 1 else 0.0)  # type: ignore[operator]


def _taken(judge: Callable[..., Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    from inspect import Parameter, signature

    parameters = signature(judge).parameters.values()
    if any(one.kind is Parameter.VAR_KEYWORD for one in parameters):
        return {name: value for name, value in columns.items() if value is not None}
    return {one.name: columns[one.name] for one in parameters if one.name in columns}


def _key(prompt: Text) -> Hashable:
    return prompt if isinstance(prompt, str) else repr(prompt)
