"""Why a row cannot be used: a closed list of reasons, each with its fix."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REASONS: Mapping[str, str] = {
    "unparseable_json": "the line is no JSON; one object a line, no trailing commas, no line breaks inside",
    "invalid_unicode": "bytes that are no UTF-8, or half of a surrogate pair; write the file again as UTF-8",
    "duplicate_keys": "a column stands twice in the row, so it is not known which is meant; keep one of them",
    "not_an_object": "a row must be a JSON object with named columns",
    "unrecognised_columns": "the columns fit no known shape; rename them with `columns`",
    "missing_field": "the field is absent or null; fill it or remove the row",
    "wrong_type": "the field holds another type than its shape asks for",
    "empty_prompt": "the prompt has no words; give one or remove the row",
    "empty_answer": "an answer has no words; give one or remove the row",
    "identical_answers": "chosen and rejected are the same, so the pair says nothing; remove the row",
    "not_finite": "NaN or infinity; give a number or leave the field out",
    "out_of_range": "the value lies outside its allowed range",
    "unknown_label": "the verdict is none of the values that the shape defines",
    "no_common_turn": "chosen and rejected share no prompt up to an assistant turn",
    "roles_out_of_order": "a user asks, then the assistant answers; bring the messages into that order",
    "prompt_mismatch": "the prompt does not occur in the conversations that it should begin",
    "unsupported_content": "messages may carry text only, no images and no tool calls",
    "unsupported_tests": "tests must stand alone as JSON or source text; convert them, pickled ones are never opened",
    "mixed_format": "text and message lists in one file; bring all rows to one of the two",
    "chosen_scored_below_rejected": "the scores contradict the order; swap the answers or correct the scores",
    "refused_by_template": "the chat template does not take these messages; bring their roles into its order",
    "over_length": "prompt and answer exceed max_length; shorten them or raise max_length",
    "zero_trainable_tokens": "the prompt alone fills max_length, so no token of the answer is left to learn from",
    "unscorable": "the model gives no score for this text; look at the reason, mend the row or leave it out",
    "identical_after_truncation": "cut at max_length, both answers are the same; raise max_length",
}


class RowFault(Exception):
    """Raised while a row is read; the row goes to quarantine or stops the load."""

    def __init__(self, reason: str, field: str, detail: str) -> None:
        if reason not in REASONS:
            raise KeyError(f"unknown reason {reason!r}")
        super().__init__(f"{field}: {detail} ({reason})")
        self.reason, self.field, self.detail = reason, field, detail


@dataclass(frozen=True)
class BadRow:
    """A row with its fault: where it stands (1-based row, or line of a JSONL file), which field, and why."""

    source: str
    row_number: int
    field: str
    reason: str
    detail: str
    row: Any

    def __str__(self) -> str:
        return f"{self.source}, row {self.row_number}, field {self.field!r}: {self.detail} ({self.reason})"

    def to_json(self) -> str:
        """One line of a quarantine file. ASCII only, so that broken Unicode survives; NaN stays ``NaN``."""
        values = {
            "source": self.source,
            "row_number": self.row_number,
            "field": self.field,
            "reason": self.reason,
            "detail": self.detail,
            "row": self.row,
        }
        try:
            return json.dumps(values, default=str)
        except (RecursionError, TypeError, ValueError):
            # Only rows in memory can be such: nested without end, keys that are no text, integers of 5,000 digits.
            return json.dumps({**values, "row": reprlib.repr(self.row)}, default=str)


def bad_row(source: str, row_number: int, row: Any, fault: RowFault) -> BadRow:
    """Attach a fault to its row."""
    return BadRow(source, row_number, fault.field, fault.reason, fault.detail, row)
