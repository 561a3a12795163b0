"""Rows of one text with numbers on it: logged feedback, scored texts, ratings by attribute, samples of policies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from reward_models.data.examples import Example, Kept, Row
from reward_models.data.faults import RowFault
from reward_models.data.fields import conversation, number, present, text
from reward_models.data.shape import Shape

SAMPLE_WEIGHT = "sample_weight"
LOGGED_TOKENS = "logged_tokens"
"""Of how many tokens a row brings log-probabilities, where it does."""
PROPENSITIES = ("logps", "log_propensity", "propensity")
TEXTS = ("prompt", "completion")
NUMBERS = (bool, int, float)


def logged_row(row: Row) -> dict[str, Any]:
    """Read ``prompt``, ``completion``, ``reward`` and how likely the completion was when it was logged.

    That is ``logps``, log-probabilities of its tokens, or ``log_propensity``, their sum, or ``propensity`` itself. Of a
    long completion the last one is 0 in a computer's numbers, and so refused.
    """
    given = [field for field in PROPENSITIES if row.get(field) is not None]
    if not given:
        raise RowFault("missing_field", "logps", "give logps, log_propensity or propensity")
    found = {
        "prompt": conversation(row, "prompt"),
        "completion": conversation(row, "completion"),
        "logged_reward": number(row, "reward"),
        "log_propensity": _log_propensity(row, given[0]),
    }
    if not found["completion"]:
        raise RowFault("empty_answer", "completion", "the completion is empty")
    if given[0] == "logps":
        found[LOGGED_TOKENS] = len(row["logps"])
    return found | weight_of(row)


def text_row(row: Row) -> dict[str, Any]:
    """Read ``segments`` and ``scores``, lists of equal length, or ``text`` and ``score``; a higher score is worse.

    ``prompt`` and ``completion`` are a text of one segment that follows a prompt, scored 0 unless said.
    """
    prompt = {}
    if row.get("completion") is not None:
        prompt = {"prompt": conversation(row, "prompt")}
        segments, scores = [text(row, "completion")], [0.0 if row.get("score") is None else number(row, "score")]
    elif row.get("segments") is None:
        segments, scores = [text(row, "text")], [number(row, "score")]
    else:
        segments, scores = present(row, "segments"), numbers(row, "scores")
        if not isinstance(segments, list) or not all(isinstance(one, str) for one in segments):
            raise RowFault("wrong_type", "segments", "expected a list of texts")
        if len(segments) != len(scores):
            raise RowFault("wrong_type", "scores", f"{len(segments)} segments have {len(scores)} scores")
    if not "".join(segments):
        raise RowFault("empty_answer", "text", "there is no text")
    return {"segments": segments, "scores": scores, **prompt, **weight_of(row)}


def rating_row(row: Row, attributes: Sequence[str] = (), scale: tuple[float, float] | None = None) -> dict[str, float]:
    """Read the ratings of an answer, one a column, mapped to [0, 1] by their ``scale``; without one, as they are.

    True and false are 1 and 0 on every scale, null is no rating. Without ``attributes`` every number is one.
    """
    found: dict[str, float] = {}
    for name in attributes or [name for name in row if name not in TEXTS and isinstance(row[name], NUMBERS)]:
        value = row.get(name)
        if value is None or isinstance(value, bool):
            found |= {} if value is None else {name: float(value)}
            continue
        if not isinstance(value, NUMBERS):
            raise RowFault("wrong_type", name, f"expected a number or null, found {type(value).__name__}")
        if isinstance(value, float) and not math.isfinite(value):
            raise RowFault("not_finite", name, f"found {value}; null says that the answer is not rated")
        rating, (low, high) = number(row, name), scale or (-math.inf, math.inf)
        if not low <= rating <= high:
            scales = "say what the scale is with rating_scale, its lower and its upper end"
            raise RowFault("out_of_range", name, f"'{name}' is {rating:g}, outside {low:g} to {high:g}; {scales}")
        found[name] = rating if scale is None else (rating - low) / (high - low)
    return found


def weight_of(row: Row) -> dict[str, float]:
    """Return the row's ``sample_weight`` where it has one."""
    if row.get(SAMPLE_WEIGHT) is None:
        return {}
    value = number(row, SAMPLE_WEIGHT)
    if value < 0:
        raise RowFault("out_of_range", SAMPLE_WEIGHT, f"{value}; a row can count for nothing (0), not for less")
    return {SAMPLE_WEIGHT: value}


def numbers(row: Row, field: str) -> list[float]:
    """Return a field that must be a list of finite numbers."""
    values = present(row, field)
    if not isinstance(values, list) or not values:
        raise RowFault("wrong_type", field, "expected a list of numbers")
    return [number({field: value}, field) for value in values]


def logged(row: Row) -> list[Example]:
    """Logged feedback: see `logged_row`."""
    found = logged_row(row)
    return [Kept(found["prompt"], {"completion": found["completion"]}, found)]


def scored_text(row: Row) -> list[Example]:
    """A scored text: see `text_row`."""
    found = text_row(row)
    return [Kept(found.get("prompt"), {"text": "".join(found["segments"])}, found)]


def sampled(row: Row) -> list[Example]:
    """What a policy, given by name, wrote."""
    found = {"prompt": conversation(row, "prompt"), "completion": conversation(row, "completion")}
    return [Kept(found["prompt"], {"completion": found["completion"]}, {**found, "policy": text(row, "policy")})]


def rated(row: Row, attributes: Sequence[str] = (), scale: tuple[float, float] | None = None) -> list[Example]:
    """An answer with its ratings: see `rating_row`."""
    texts = {name: conversation(row, name) for name in TEXTS}
    return [Kept(texts["prompt"], {"completion": texts["completion"]}, {**texts, **rating_row(row, attributes, scale)})]


def _log_propensity(row: Row, field: str) -> float:
    if field == "propensity":
        value = number(row, field)
        if not 0 < value <= 1:
            raise RowFault("out_of_range", field, f"{value} is no probability above 0; store log-probabilities instead")
        return math.log(value)
    values = numbers(row, field) if field == "logps" else [number(row, field)]
    if not all(value <= 0 for value in values):
        raise RowFault("out_of_range", field, f"{max(values)} is no log-probability")
    return math.fsum(values)


def _has_propensity(row: Row) -> bool:
    return any(row.get(field) is not None for field in PROPENSITIES)


def _has_rating(row: Row) -> bool:
    return any(isinstance(value, NUMBERS) for name, value in row.items() if name not in TEXTS)


LOGGED = (Shape("logged feedback", ("prompt", "completion", "reward"), logged, _has_propensity),)
SCORED_TEXTS = (
    Shape("texts with scored segments", ("segments", "scores"), scored_text),
    Shape("scored texts", ("text", "score"), scored_text),
    Shape("completions as scored texts", ("prompt", "completion"), scored_text),
)
SAMPLES = (Shape("samples of policies", ("prompt", "completion", "policy"), sampled),)
RATINGS = (Shape("ratings by attribute", ("prompt", "completion"), rated, _has_rating),)
