"""What is wrong with an example whose fields have the right types; raises `RowFault`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from reward_models.data.examples import (
    Candidates,
    Conversation,
    Example,
    Pair,
    answers_of,
    is_silent,
    plain_text,
)
from reward_models.data.faults import RowFault


def check_example(example: Example, silence: bool = False) -> None:
    """Every check that needs no tokenizer. With ``silence`` an answer may be without words."""
    if example.prompt is not None:
        check_words(example.prompt, "prompt", "empty_prompt")
    for name, answer in answers_of(example):
        check_words(answer, name, "empty_answer", silence)
    for field, value in _attributes(example):
        check_unicode(value, field)
    if isinstance(example, Pair):
        check_pair(example)


def check_words(conversation: Conversation, field: str, reason: str, silence: bool = False) -> None:
    """The text is valid Unicode and not blank."""
    words = plain_text(conversation)
    check_unicode(words, field)
    if not silence and is_silent(conversation):
        raise RowFault(reason, field, "has no words")


def check_unicode(value: Any, field: str) -> None:
    """No lone surrogates: JSON can write them, UTF-8 can't."""
    if isinstance(value, list):
        for item in value:
            check_unicode(item, field)
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise RowFault("invalid_unicode", field, f"lone surrogate at character {error.start}") from None


def check_pair(pair: Pair) -> None:
    """The answers differ, the margin is finite and the label a probability."""
    if pair.chosen == pair.rejected:
        raise RowFault("identical_answers", "chosen", "the same as rejected")
    if pair.margin is not None and not math.isfinite(pair.margin):
        raise RowFault("not_finite", "margin", f"expected a finite number, found {pair.margin}")
    label = pair.label_chosen_preferred
    if label is not None and not 0 <= label <= 1:
        raise RowFault("out_of_range", "label_chosen_preferred", f"expected 0 to 1, found {label:g}")


def _attributes(example: Example) -> Iterable[tuple[str, Any]]:
    for name, value in example.attributes.items():
        check_unicode(name, "column name")
        yield name, value
    if isinstance(example, Candidates):
        for answer in example.answers:
            yield from answer.attributes.items()
