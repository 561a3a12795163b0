"""Rows that say which answer was chosen: `chosen` and `rejected` under various conventions."""

from __future__ import annotations

from reward_models.data.conversations import (
    ASSISTANT_TURN,
    as_messages,
    split_messages,
    split_texts,
    split_transcripts,
    transcript,
    without_prompt,
)
from reward_models.data.examples import Conversation, Example, Pair, Row
from reward_models.data.faults import RowFault
from reward_models.data.fields import (
    conversation,
    is_messages,
    message,
    messages,
    number,
    optional_number,
    record,
    remaining,
    text,
)
from reward_models.data.shape import PROMPT_NAMES, Shape

USED = ("prompt", "chosen", "rejected", "margin", "label_chosen_preferred")


def _pair(row: Row, prompt: Conversation, chosen: Conversation, rejected: Conversation, *used: str) -> list[Example]:
    """A pair with its margin, soft label and all further columns."""
    margin = optional_number(row, "margin")
    label = optional_number(row, "label_chosen_preferred")
    return [Pair(prompt, chosen, rejected, margin, label, remaining(row, (*USED, *used)))]


def explicit_prompt(row: Row) -> list[Example]:
    """`prompt`, `chosen`, `rejected` as text or messages."""
    parts = (conversation(row, "prompt"), conversation(row, "chosen"), conversation(row, "rejected"))
    prompt, chosen, rejected = without_prompt(*parts)
    return _pair(row, prompt, chosen, rejected, "messages")


def transcripts(row: Row) -> list[Example]:
    r"""Whole transcripts, split at the last common ``\n\nAssistant:``."""
    return _pair(row, *split_transcripts(text(row, "chosen"), text(row, "rejected")))


def implicit_chat(row: Row) -> list[Example]:
    """Whole conversations; the prompt is what they share."""
    return _pair(row, *split_messages(messages(row, "chosen"), messages(row, "rejected")))


def implicit_text(row: Row) -> list[Example]:
    """Whole texts; the prompt is what they share."""
    return _pair(row, *split_texts(text(row, "chosen"), text(row, "rejected")))


def static(row: Row) -> list[Example]:
    """`response` repeats `chosen`."""
    return _pair(row, text(row, "prompt"), text(row, "chosen"), text(row, "rejected"), "response")


def scored(row: Row) -> list[Example]:
    """`score_chosen` and `score_rejected`: their gap is the margin, and equal scores are a tie."""
    parts = (conversation(row, "prompt"), conversation(row, "chosen"), conversation(row, "rejected"))
    high, low = number(row, "score_chosen"), number(row, "score_rejected")
    if high < low:
        raise RowFault("chosen_scored_below_rejected", "score_chosen", f"{high:g} is below {low:g}")
    label = 0.5 if high == low else None
    ratings = {"chosen_rating": high, "rejected_rating": low}
    attributes = {**remaining(row, (*USED, "messages", "score_chosen", "score_rejected")), **ratings}
    return [Pair(*without_prompt(*parts), high - low, label, attributes)]


def sourced_chat(row: Row) -> list[Example]:
    """Skywork's conversations: `source` is the subset."""
    used = (*USED, "source")
    attributes = {**remaining(row, used), "subset": row.get("source")}
    return [Pair(*split_messages(messages(row, "chosen"), messages(row, "rejected")), attributes=attributes)]


def alpaca(row: Row) -> list[Example]:
    """`instruction`, optional `input`, `system` and `history`; the answers as text."""
    used = ("instruction", "input", "system", "history")
    return _pair(row, alpaca_prompt(row), text(row, "chosen"), text(row, "rejected"), *used)


def alpaca_prompt(row: Row) -> str:
    """Instruction and input, joined by a line break; with a history, a transcript of all turns."""
    prompt = "\n".join(part for part in (text(row, "instruction"), row.get("input")) if isinstance(part, str) and part)
    history = row.get("history") or []
    if not isinstance(history, list) or not all(_is_exchange(turns) for turns in history):
        raise RowFault("wrong_type", "history", "expected a list of [question, answer]")
    if history:
        prompt = transcript([turn for turns in history for turn in turns] + [prompt])
    system = row.get("system")
    return f"{system}\n\n{prompt.lstrip()}" if isinstance(system, str) and system else prompt


def _is_exchange(turns: object) -> bool:
    return isinstance(turns, list) and len(turns) == 2 and all(isinstance(turn, str) for turn in turns)


def sharegpt(row: Row) -> list[Example]:
    """`conversations` of {from, value}; each answer one such message."""
    prompt = messages(row, "conversations")
    if isinstance(row.get("system"), str) and row["system"]:
        prompt = [*as_messages(row["system"], "system"), *prompt]
    chosen, rejected = ([message(record(row, field), field)] for field in ("chosen", "rejected"))
    return _pair(row, prompt, chosen, rejected, "conversations", "system", "tools")


def _has_transcripts(row: Row) -> bool:
    return isinstance(row.get("chosen"), str) and ASSISTANT_TURN in row["chosen"]


PLAIN = Shape("preference pairs", ("prompt", "chosen", "rejected"), explicit_prompt)
SHAPES = (
    PLAIN,
    Shape("preference pairs with scores", ("prompt", "chosen", "rejected", "score_chosen", "score_rejected"), scored),
    Shape("rm-static", ("prompt", "response", "chosen", "rejected"), static),
    Shape(
        "HH-RLHF transcripts",
        ("chosen", "rejected"),
        transcripts,
        _has_transcripts,
        PROMPT_NAMES,
        silence=True,
    ),
    Shape(
        "Skywork conversations",
        ("chosen", "rejected", "source"),
        sourced_chat,
        lambda row: is_messages(row.get("chosen")),
        PROMPT_NAMES,
    ),
    Shape(
        "conversations with a shared prompt",
        ("chosen", "rejected"),
        implicit_chat,
        lambda row: is_messages(row.get("chosen")),
        PROMPT_NAMES,
    ),
    Shape(
        "texts with a shared prompt",
        ("chosen", "rejected"),
        implicit_text,
        lambda row: isinstance(row.get("chosen"), str) and not _has_transcripts(row),
        PROMPT_NAMES,
    ),
    Shape("LLaMA-Factory alpaca", ("instruction", "chosen", "rejected"), alpaca),
    Shape("LLaMA-Factory sharegpt", ("conversations", "chosen", "rejected"), sharegpt),
)
