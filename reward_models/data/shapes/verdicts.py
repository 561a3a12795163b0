"""Rows with two answers and a verdict on them, from annotators or judges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reward_models.data.conversations import same_form, transcript
from reward_models.data.examples import Conversation, Example, Pair, Row
from reward_models.data.faults import RowFault
from reward_models.data.fields import choice, conversation, number, text
from reward_models.data.shape import Shape

FIRST, SECOND, TIE = 1.0, 0.0, 0.5
EXTRA_ID = "<extra_id_1>"


def judged(
    prompt: Conversation,
    first: Conversation,
    second: Conversation,
    first_preferred: float,
    margin: float | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Pair:
    """The pair of two answers, of which the first is preferred with this probability."""
    chosen, rejected = (first, second) if first_preferred >= 0.5 else (second, first)
    certain = first_preferred in (FIRST, SECOND)
    label = None if certain else max(first_preferred, 1 - first_preferred)
    prompt, (chosen, rejected) = same_form(prompt, [chosen, rejected])
    return Pair(prompt, chosen, rejected, margin, label, attributes or {})


def strength(row: Row, field: str) -> tuple[float, float]:
    """Preference and margin of a strength from -3 (the first is much better) to 3 (the second is)."""
    value = number(row, field)
    if not -3 <= value <= 3:
        raise RowFault("out_of_range", field, f"expected -3 to 3, found {value:g}")
    return (FIRST if value < 0 else SECOND if value > 0 else TIE), abs(value)


def helpsteer_prompt(row: Row) -> str:
    """The prompt; turns that HelpSteer separates by ``<extra_id_1>Role`` are rewritten as a transcript."""
    prompt = text(row, "prompt")
    if EXTRA_ID not in prompt:
        return prompt
    first, *rest = prompt.split(EXTRA_ID)
    turns = [turn.split("\n", 1)[-1] for turn in rest]
    return transcript([first, *(turn for turn in turns if turn.strip())])


def helpsteer2(row: Row) -> list[Example]:
    """`preference_strength` -3 to 3, negative = the first is better."""
    preferred, margin = strength(row, "preference_strength")
    return [judged(helpsteer_prompt(row), text(row, "response_1"), text(row, "response_2"), preferred, margin)]


def helpsteer3(row: Row) -> list[Example]:
    """`overall_preference` -3 to 3, negative = the first is better, 0 = tie."""
    preferred, margin = strength(row, "overall_preference")
    attributes = {"subset": row.get("domain"), "language": row.get("language")}
    answers = (conversation(row, "response1"), conversation(row, "response2"))
    return [judged(conversation(row, "context"), *answers, preferred, margin, attributes)]


def passages_before(row: Row) -> str:
    """The question after the passages that it is asked about: title, then sentences."""
    passages = row.get("passages") or []
    if not isinstance(passages, list) or not all(_is_passage(passage) for passage in passages):
        raise RowFault("wrong_type", "passages", "expected a list of [title, sentence, ...]")
    return "\n\n".join([*("\n".join(passage) for passage in passages), text(row, "question")])


def _is_passage(passage: object) -> bool:
    return isinstance(passage, list) and all(isinstance(part, str) for part in passage)


def finegrained(row: Row) -> list[Example]:
    """Four predictions and six verdicts 1-2, 1-3, 1-4, 2-3, 2-4, 3-4: 1 first, 2 second, 0 tie (arXiv 2306.01693)."""
    prompt = passages_before(row)
    answers = [text(row, f"prediction {i}") for i in range(1, 5)]
    verdicts = row.get("preference")
    if not isinstance(verdicts, list) or len(verdicts) != 6:
        raise RowFault("wrong_type", "preference", "expected a list of six verdicts")
    compared = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    return [
        judged(
            prompt,
            answers[i],
            answers[j],
            choice({"preference": verdict}, "preference", {0: TIE, 1: FIRST, 2: SECOND}),
            attributes={"first_prediction": i + 1, "second_prediction": j + 1},
        )
        for (i, j), verdict in zip(compared, verdicts, strict=True)
    ]


def _compares_predictions(row: Row) -> bool:
    return isinstance(row.get("preference"), list)


SHAPES = (
    Shape("HelpSteer2 preference", ("prompt", "response_1", "response_2", "preference_strength"), helpsteer2),
    Shape("HelpSteer3 preference", ("context", "response1", "response2", "overall_preference"), helpsteer3),
    Shape(
        "fine-grained feedback",
        ("question", "prediction 1", "prediction 2", "prediction 3", "prediction 4", "preference"),
        finegrained,
        _compares_predictions,
    ),
)
