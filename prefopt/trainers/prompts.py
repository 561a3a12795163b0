"""Checks of the prompts of an online run, before a model is loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefopt.errors import UserError, nearest
from prefopt.trainers.rewards.reading import RewardSource
from reward_models.chat_template import by_template
from reward_models.data.faults import BadRow
from reward_models.data.quarantine import Quarantine

logger = logging.getLogger(__name__)


def check_columns(data: Any, sources: Sequence[RewardSource], name: str, skip: bool = False) -> None:
    """Raise ``UserError`` where the data is empty, or lacks ``prompt`` or a column that a source reads.

    A source with a method ``check_rows`` looks through its columns, and raises for a row that it cannot read.

    ``skip`` leaves out the sources' columns, which a rollout function may supply.
    """
    columns = getattr(data, "column_names", None)
    if data is None or columns is None:
        return
    if hasattr(data, "__len__") and len(data) == 0:
        raise UserError(f"{name} is empty: there is no prompt to answer")
    if "prompt" not in columns:
        raise UserError(f"{name} has no column 'prompt'.{nearest('prompt', columns)} It has {', '.join(columns)}.")
    for source in () if skip else sources:
        for parameter, column in source.required_columns().items():
            if column not in columns:
                raise UserError(
                    f"reward source '{source.label}' reads the column '{column}', which {name} does not have."
                    f"{nearest(column, columns)} It has {', '.join(columns)}; map one with "
                    f"`columns: {{{parameter}: COLUMN}}`"
                )
        check_rows = getattr(source.call, "check_rows", None)
        if check_rows is not None and hasattr(data, "__len__"):
            check_rows(**{parameter: data[column] for parameter, column in source.required_columns().items()})


def check_supplied(data: Any, columns: Mapping[str, str], name: str) -> None:
    """Raise ``UserError`` where the data lacks a column of a setting or an input; ``columns`` by what wants them."""
    there = getattr(data, "column_names", None)
    if there is None:
        return
    for setting, column in columns.items():
        if column not in there:
            raise UserError(
                f"{setting} reads the column '{column}', which {name} does not have.{nearest(column, there)} It has "
                f"{', '.join(there)}."
            )


def check_lengths(
    data: Any, tokenizer: Any, positions: int | None, longest: int, on_bad_row: str, quarantine: Path,
    written: Callable[[Any], Any] = lambda prompt: prompt,
) -> Any:  # fmt: skip
    """Return the rows whose prompt leaves room for a completion of ``longest`` tokens within ``positions``.

    ``written`` is what becomes of a prompt before it is asked.

    With ``on_bad_row`` "quarantine" the others are written to a file, each with its reason.

    Raises:
        UserError: a prompt is too long and ``on_bad_row`` is "raise", or none is left.
    """
    if positions is None or data is None or not hasattr(data, "select"):
        return data
    counts = [prompt_length(tokenizer, written(prompt)) for prompt in data["prompt"]]
    bad = [i for i, count in enumerate(counts) if count + longest > positions]
    if not bad:
        return data
    what = (
        f"row {bad[0] + 1}: its prompt has {counts[bad[0]]} tokens, which with max_completion_length={longest} is more "
        f"than the model's {positions} positions ({len(bad)} of {len(counts)} rows are too long); shorten the prompts "
        "or lower max_completion_length"
    )
    if on_bad_row == "raise":
        raise UserError(f"{what}, or set on_bad_row: quarantine")
    if len(bad) == len(counts):
        raise UserError(f"no prompt fits: {what}")
    with Quarantine(quarantine) as file:
        for i in bad:
            detail = f"the prompt has {counts[i]} tokens, {positions - longest} leave room for a completion"
            file.add(BadRow("prompts", i + 1, "prompt", "over_length", detail, data[i]))
    logger.warning("%s; they are in %s", what, quarantine)
    gone = set(bad)
    return data.select([i for i in range(len(counts)) if i not in gone])


def prompt_length(tokenizer: Any, prompt: Any) -> int:
    """Return the number of tokens that a prompt, text or messages, becomes."""
    tokenizer = getattr(tokenizer, "tokenizer", tokenizer)
    if isinstance(prompt, str):
        return len(tokenizer(prompt, verbose=False)["input_ids"])
    if getattr(tokenizer, "chat_template", None) is None:
        raise UserError("the prompts are messages, but the tokenizer has no chat template; give prompts as text")
    text = by_template(tokenizer, prompt, add_generation_prompt=True)
    return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
