"""Rows with ratings or ranks of answers; `reward_models.data.pairing` makes pairs of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reward_models.data.conversations import same_form
from reward_models.data.examples import Answer, Candidates, Conversation, Example, Row
from reward_models.data.faults import RowFault
from reward_models.data.fields import conversation, messages, number, record, records, text
from reward_models.data.shape import Shape
from reward_models.data.shapes.verdicts import helpsteer_prompt

HELPSTEER = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
ULTRAFEEDBACK = ("instruction_following", "honesty", "truthfulness", "helpfulness")
MULTI_OBJECTIVE = (
    "helpsteer-helpfulness",
    "helpsteer-correctness",
    "helpsteer-coherence",
    "helpsteer-complexity",
    "helpsteer-verbosity",
    "ultrafeedback-overall_score",
    "ultrafeedback-instruction_following",
    "ultrafeedback-truthfulness",
    "ultrafeedback-honesty",
    "ultrafeedback-helpfulness",
    "beavertails-is_safe",
    "prometheus-score",
    "argilla-overall_quality",
    "argilla-judge_lm",
    "code-complexity",
    "code-style",
    "code-explanation",
    "code-instruction-following",
    "code-readability",
)
OVERALL = (
    "helpsteer-helpfulness",
    "ultrafeedback-overall_score",
    "beavertails-is_safe",
    "prometheus-score",
    "argilla-overall_quality",
    "code-instruction-following",
)
Rated = tuple[Conversation, float, Mapping[str, Any]]


def ranked(prompt: Conversation, answers: Iterable[Rated], attributes: Mapping[str, Any]) -> list[Example]:
    """Candidates, with prompt and answers brought to one form."""
    responses, ratings, details = zip(*answers, strict=True)
    prompt, in_one_form = same_form(prompt, responses)
    rated = tuple(Answer(*parts) for parts in zip(in_one_form, ratings, details, strict=True))
    return [Candidates(prompt, rated, attributes)]


def helpsteer(row: Row) -> list[Example]:
    """One answer a row, rated by `helpfulness`; consecutive rows with the same prompt are compared."""
    attributes = {name: number(row, name) for name in HELPSTEER}
    return ranked(helpsteer_prompt(row), [(text(row, "response"), attributes["helpfulness"], attributes)], {})


def ultrafeedback(row: Row) -> list[Example]:
    """Rated by the mean of the aspects that were rated; `overall_score` only where none was.

    The mean comes first because `overall_score` holds 1 in place of 10 in some rows of the published data.
    """
    answers = [_ultrafeedback_answer(completion) for completion in records(row, "completions")]
    return ranked(text(row, "instruction"), answers, {"subset": row.get("source")})


def _ultrafeedback_answer(completion: Row) -> Rated:
    annotations = record(completion, "annotations")
    found = {name: _aspect(annotations.get(name), name) for name in ULTRAFEEDBACK}
    rated = [value for value in found.values() if value is not None]
    rating = sum(rated) / len(rated) if rated else number(completion, "overall_score")
    return text(completion, "response"), rating, {"model": completion.get("model"), **found}


def _aspect(annotation: Any, name: str) -> float | None:
    """The rating, a number in quotes; None for "N/A"."""
    rating = annotation.get("Rating") if isinstance(annotation, Mapping) else None
    if rating is None or rating == "N/A":
        return None
    try:
        value = float(rating)
    except (TypeError, ValueError, OverflowError):
        raise RowFault("wrong_type", f"annotations.{name}.Rating", f"expected a number, found {rating!r}") from None
    return number({f"annotations.{name}.Rating": value}, f"annotations.{name}.Rating")


def nectar(row: Row) -> list[Example]:
    """Up to seven answers with ranks, 1 is the best: the rating is minus the rank."""
    answers = [
        (text(item, "answer"), -number(item, "rank"), {"model": item.get("model")}) for item in records(row, "answers")
    ]
    return ranked(text(row, "prompt"), answers, {"subset": row.get("source")})


def nemo(row: Row) -> list[Example]:
    """`completions` of messages with ranks, 0 is the best: the rating is minus the rank."""
    answers: list[Rated] = [
        (conversation(item, "completion"), -number(item, "rank"), {}) for item in records(row, "completions")
    ]
    return ranked(conversation(row, "context"), answers, {"subset": row.get("task_name")})


def multi_objective(row: Row) -> list[Example]:
    """One conversation a row with up to 19 attributes; rated by the first overall attribute of its source."""
    turns = messages(row, "messages")
    attributes = {name: number(row, name) for name in MULTI_OBJECTIVE if row.get(name) is not None}
    overall = [attributes[name] for name in OVERALL if name in attributes]
    if not overall:
        raise RowFault("missing_field", OVERALL[0], f"none of {', '.join(OVERALL)} is there")
    if len(turns) < 2 or turns[-1]["role"] != "assistant":
        raise RowFault("no_common_turn", "messages", "the conversation does not end with an assistant turn")
    return ranked(turns[:-1], [(turns[-1:], overall[0], attributes)], {})


def solutions(row: Row) -> list[Example]:
    """A question, and one column a model with {solution, is_correct}: correct is 1, wrong is 0."""
    answers: list[Rated] = [
        (text(value, "solution"), float(verdict(value)), {"model": name})
        for name, value in row.items()
        if isinstance(value, Mapping)
    ]
    if not answers:
        raise RowFault("missing_field", "solution", "no column holds a solution with its verdict")
    return ranked(text(row, "question"), answers, {})


def verdict(solution: Row) -> bool:
    """`is_correct`, which must be true or false."""
    if not isinstance(solution.get("is_correct"), bool):
        raise RowFault("wrong_type", "is_correct", "expected true or false")
    return solution["is_correct"]


def has_solutions(row: Row) -> bool:
    """Whether a column holds {solution, is_correct}."""
    return any(isinstance(value, Mapping) and {"solution", "is_correct"} <= set(value) for value in row.values())


def _has_attribute(row: Row) -> bool:
    return any(name in row for name in MULTI_OBJECTIVE)


SHAPES = (
    Shape("HelpSteer ratings", ("prompt", "response", *HELPSTEER), helpsteer, joins_rows=True),
    Shape("UltraFeedback", ("instruction", "completions"), ultrafeedback),
    Shape("Nectar ranks", ("prompt", "answers"), nectar),
    Shape("NeMo ranks", ("context", "completions"), nemo),
    Shape("multi-objective ratings", ("messages",), multi_objective, _has_attribute, joins_rows=True),
    Shape("model solutions", ("question", "ground_truth"), solutions, has_solutions),
)
