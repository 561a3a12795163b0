"""Texts of the data as tokens: demonstrations, reference answers, degraded prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from prefopt.errors import UserError


def answer_ids(tokenizer: Any, text: Any, longest: int, where: str) -> list[int]:
    """Return the tokens of a completion as the policy would write it, with the end token, at most ``longest``.

    Raises:
        UserError: no text. ``where`` names the column.
    """
    if not isinstance(text, str) or not text:
        raise UserError(f"{where} holds {text!r} in a row where a text is wanted")
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])[: longest - 1]
    return [*ids, tokenizer.eos_token_id]


def prompt_ids(tokenizer: Any, prompt: Any, settings: Mapping[str, Any]) -> list[int]:
    """Return the tokens of a prompt, text or messages, as generation gets them."""
    if isinstance(prompt, str):
        return list(tokenizer(prompt)["input_ids"])
    found = tokenizer.apply_chat_template(
        prompt, add_generation_prompt=True, tokenize=True, return_dict=True, **settings
    )
    return list(found["input_ids"])


def padded(
    rows: Sequence[Sequence[int]], filler: int, device: torch.device, left: bool = False
) -> tuple[Tensor, Tensor]:
    """Return tokens ``(B, L)`` and their int64 mask, padded on the right, or on the left."""
    longest = max([1, *map(len, rows)])
    ids, mask = torch.full((len(rows), longest), filler), torch.zeros(len(rows), longest, dtype=torch.long)
    for number, row in enumerate(rows):
        place = slice(longest - len(row), longest) if left else slice(len(row))
        ids[number, place], mask[number, place] = torch.tensor(row, dtype=torch.long), 1
    return ids.to(device), mask.to(device)
