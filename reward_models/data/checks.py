"""What is wrong with an example whose fields have the right types; raises `RowFault`."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from typing import Any

from reward_models.data.examples import (
    Candidates,
    Conversation,
    Example,
    Pair,
    Task,
    answers_of,
    is_silent,
    plain_text,
)
from reward_models.data.faults import RowFault
from reward_models.data.shapes.feedback import weight_of


def check_example(example: Example, silence: bool = False) -> None:
    """Every check that needs no tokenizer. With ``silence`` an answer may be without words."""
    if example.prompt is not None:
        check_words(example.prompt, "prompt", "empty_prompt")
    for name, answer in answers_of(example):
        check_words(answer, name, "empty_answer", silence)
    for field, value in _attributes(example):
        check_unicode(value, field)
    check_roles(example)
    weight_of(example.attributes)
    if isinstance(example, Pair):
        check_pair(example)


def check_roles(example: Example) -> None:
    """Of messages that are answered, someone other than the system asks, and the assistant answers."""
    prompt = example.prompt
    if not isinstance(prompt, list) or isinstance(example, Task):
        return
    if all(message["role"] in ("system", "developer") for message in prompt):
        raise RowFault("roles_out_of_order", "prompt", "there is no turn of a user")
    for name, answer in answers_of(example):
        if not isinstance(answer, list) or not answer:
            continue
        if answer[0]["role"] != "assistant":
            raise RowFault("roles_out_of_order", name, f"the answer begins with a turn of role {answer[0]['role']!r}")
        if prompt[-1]["role"] == "assistant":
            raise RowFault("roles_out_of_order", name, "two turns of the assistant follow each other")


def check_words(conversation: Conversation, field: str, reason: str, silence: bool = False) -> None:
    """The text is valid Unicode and not blank."""
    words = plain_text(conversation)
    check_unicode(words, field)
    if not silence and is_silent(conversation):
        raise RowFault(reason, field, "has no words")


def check_unicode(value: Any, field: str) -> None:
    """No lone surrogates: JSON can write them, UTF-8 can't. No NUL: it is what a torn file is filled with."""
    if isinstance(value, list):
        for item in value:
            check_unicode(item, field)
    if isinstance(value, str) and "\0" in value:
        raise RowFault("invalid_unicode", field, f"NUL at character {value.index(chr(0))}")
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise RowFault("invalid_unicode", field, f"lone surrogate at character {error.start}") from None


def check_pair(pair: Pair) -> None:
    """The answers differ, the margin is finite and the label a probability."""
    if pair.chosen == pair.rejected:
        raise RowFault("identical_answers", "chosen", "the same as rejected")
    if normal(pair.chosen) == normal(pair.rejected):
        raise RowFault("identical_answers", "chosen", "the same as rejected but for space around or forms of letters")
    if pair.margin is not None and not math.isfinite(pair.margin):
        raise RowFault("not_finite", "margin", f"expected a finite number, found {pair.margin}")
    label = pair.label_chosen_preferred
    if label is not None and not 0 <= label <= 1:
        raise RowFault("out_of_range", "label_chosen_preferred", f"expected 0 to 1, found {label:g}")


def normal(conversation: Conversation) -> object:
    """A conversation without what no reader sees: space around texts, line ends, two ways to write one letter."""
    if isinstance(conversation, str):
        return unicodedata.normalize("NFC", conversation.replace("\r\n", "\n").strip())
    return [(message["role"], normal(message["content"])) for message in conversation]


def _attributes(example: Example) -> Iterable[tuple[str, Any]]:
    for name, value in example.attributes.items():
        check_unicode(name, "column name")
        yield name, value
    if isinstance(example, Candidates):
        for answer in example.answers:
            yield from answer.attributes.items()
