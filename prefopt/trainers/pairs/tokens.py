"""Preference pairs to token ids: prompt and responses apart, over-length pairs by an explicit rule."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from prefopt.batch import NEEDS
from prefopt.errors import UserError
from prefopt.trainers.data_record import record_lengths
from reward_models.chat_template import TemplateRefusesError
from reward_models.data.faults import BadRow
from reward_models.data.quarantine import Quarantine
from reward_models.formatting import Formatter

NEEDED = ("prompt", "chosen", "rejected")
LABEL, SMOOTHING = "label_chosen_preferred", "label_smoothing"
SAMPLE_WEIGHT = "sample_weight"


@dataclass(frozen=True)
class PairTokens:
    """Tokenised pairs: ``prompt_ids``, ``chosen_ids``, ``rejected_ids``, ``row`` and the labels that are read.

    ``bad`` are the pairs that don't fit, with reasons; ``truncated`` counts those that lost tokens.
    """

    rows: Dataset
    bad: list[BadRow]
    truncated: int


def check_pairs(data: Dataset, needs: Collection[str], name: str = "training data") -> None:
    """Raise ``UserError`` for data that the objective cannot be trained on, before any model is loaded."""
    wanted = [*NEEDED, *label_columns(needs)]
    missing = [column for column in wanted if column not in data.column_names]
    if missing:
        labels = [f"'{column}' ({NEEDS[column].meaning})" if column in NEEDS else f"'{column}'" for column in missing]
        raise UserError(
            f"{name} has no column {', '.join(labels)}; it has {', '.join(data.column_names)}. Rename the columns, or "
            "load the data with reward_models.data.load_preferences, which recognises the usual shapes"
        )
    if len(data) == 0:
        raise UserError(f"{name} has no rows")
    check_weights(data, needs, name)
    if LABEL in data.column_names and LABEL not in needs:
        unsure = next((i for i, value in enumerate(data[LABEL]) if value is not None and value != 1), None)
        if unsure is not None:
            raise UserError(
                f"{name}, row {unsure + 1}: {LABEL} is {data[LABEL][unsure]}, which this objective would train as "
                "certain. Read it with recipe_settings {labels: soft}, or drop the row or the column"
            )


def check_weights(data: Dataset, needs: Collection[str], name: str) -> None:
    """Raise ``UserError`` for weights of rows that would be ignored."""
    if SAMPLE_WEIGHT in data.column_names and SAMPLE_WEIGHT not in needs:
        if any(value not in (None, 1) for value in data[SAMPLE_WEIGHT]):
            raise UserError(
                f"{name} has a column {SAMPLE_WEIGHT}, which this run would not read; set sample_weights, or drop the "
                "column"
            )
    elif SAMPLE_WEIGHT in needs and SAMPLE_WEIGHT not in data.column_names:
        raise UserError(f"sample_weights is set, but {name} has no column {SAMPLE_WEIGHT}")


def label_columns(needs: Collection[str]) -> list[str]:
    """Return the columns that hold what ``needs`` names of each pair, or of each judged response."""
    own = {name for name in needs if NEEDS[name].holder == "pairs" and NEEDS[name].shape == "(N,)"}
    return sorted(own | ({"prompt_desirable_probability"} & set(needs)))


def tokenise_pairs(
    data: Dataset,
    tokenizer: Any,
    max_length: int,
    over_length: str,
    needs: Collection[str] = (),
    on_bad_row: str = "raise",
    quarantine: Path | None = None,
    name: str = "training data",
) -> PairTokens:
    """Tokenise each pair as generation will see it: the prompt's ids never depend on the response.

    Raises:
        UserError: a pair that doesn't fit ``max_length`` (unless quarantined), a label that is no number, no pair left.
    """
    formatter = Formatter(tokenizer)
    columns = label_columns(needs)

    def encode(row: dict[str, Any], i: int) -> dict[str, Any]:
        try:
            chosen, rejected = (formatter.encode(row["prompt"], row[side]) for side in ("chosen", "rejected"))
        except TemplateRefusesError as error:
            return {**refused_by_template(error), **dict.fromkeys(columns, 0.0), "row": i}
        start = chosen.response_start
        prompt, answers = chosen.input_ids[:start], (chosen.input_ids[start:], rejected.input_ids[start:])
        fitted = fit(prompt, *answers, max_length, over_length, tokenizer.bos_token_id)
        labels = {column: number(row[column], column, f"{name}, row {i + 1}") for column in columns}
        return {**fitted, **labels, "row": i}

    rows = data.map(
        encode,
        with_indices=True,
        remove_columns=data.column_names,
        load_from_cache_file=False,
        desc=f"Tokenising {name}",
    )
    return sift(rows, data, on_bad_row, quarantine, max_length, name)


def sift(
    rows: Dataset,
    data: Dataset,
    on_bad_row: str,
    quarantine: Path | None,
    max_length: int,
    name: str,
    kind: str = "pairs",
) -> PairTokens:
    """Set tokenised rows that have a ``fault`` apart; ``kind`` is what messages call a row.

    Raises:
        UserError: a row that doesn't fit ``max_length`` (unless quarantined), no row left.
    """
    bad = [
        BadRow(name, i + 1, "prompt", rows[i]["fault"], rows[i]["detail"], data[i])
        for i, fault in enumerate(rows["fault"])
        if fault
    ]
    truncated = sum(rows["truncated"])
    if bad:
        _refuse(bad, on_bad_row, quarantine, max_length)
        refused = {row.row_number - 1 for row in bad}
        rows = rows.select([i for i in range(len(rows)) if i not in refused])
    # Without a file for bad rows there is no run whose record this could stand in.
    if quarantine is not None and quarantine.name:
        record_lengths(quarantine.parent, name, len(data), len(bad), max_length)
    if len(rows) == 0:
        raise UserError(f"{name}: none of the {len(data)} {kind} fits max_length={max_length}; raise it")
    return PairTokens(rows.remove_columns(["fault", "detail", "truncated"]), bad, truncated)


def fit(
    prompt: list[int], chosen: list[int], rejected: list[int], limit: int, rule: str, bos: int | None
) -> dict[str, Any]:
    """Return the three within ``limit`` by a rule of ``over_length``, whether that cut them, or why they don't fit."""
    longest = max(len(chosen), len(rejected))
    excess = max(0, len(prompt) + longest - limit)
    fault = detail = ""
    if excess and rule == "truncate_response":
        room = limit - len(prompt)
        chosen, rejected = chosen[: max(room, 0)], rejected[: max(room, 0)]
        if room < 1:
            fault, detail = "zero_trainable_tokens", f"the prompt has {len(prompt)} tokens, {limit} are allowed"
        elif chosen == rejected:
            fault, detail = "identical_after_truncation", f"both answers are the same in the first {room} tokens"
    elif excess and rule == "truncate_prompt":
        kept = prompt[:1] if bos is not None and prompt[:1] == [bos] else []
        prompt = [*kept, *prompt[len(kept) + excess :]]
        if len(prompt) + longest > limit or len(prompt) == len(kept):
            fault, detail = (
                "over_length",
                f"the longer answer has {longest} tokens, {limit} are allowed with its prompt",
            )
    elif excess:
        fault = "over_length"
        detail = f"prompt and answer have {len(prompt) + longest} tokens, {limit} are allowed"
    return {
        "prompt_ids": prompt,
        "chosen_ids": chosen,
        "rejected_ids": rejected,
        "truncated": bool(excess and not fault),
        "fault": fault,
        "detail": detail,
    }


def refused_by_template(error: TemplateRefusesError) -> dict[str, Any]:
    """Return, in place of tokens, why there are none."""
    none: dict[str, Any] = {"prompt_ids": [], "chosen_ids": [], "rejected_ids": []}
    return {**none, "truncated": False, "fault": "refused_by_template", "detail": str(error)}


def _refuse(bad: Sequence[BadRow], on_bad_row: str, quarantine: Path | None, limit: int) -> None:
    if on_bad_row == "raise" or quarantine is None:
        more = f"; {len(bad) - 1} more like it" if len(bad) > 1 else ""
        mend = f"Raise max_length={limit}, choose another over_length (truncate_prompt, truncate_response)"
        if bad[0].reason == "refused_by_template":
            mend = "Bring the roles into the template's order"
        raise UserError(
            f"{bad[0].source}, row {bad[0].row_number}: {bad[0].detail}{more}. {mend}, or set on_bad_row to quarantine"
        )
    with Quarantine(quarantine) as file:
        for row in bad:
            file.add(row)


def number(value: Any, column: str, where: str) -> float:
    """Return a finite number, or say which row and column has none; a certain label where none is given."""
    if value is None and column == LABEL:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise UserError(f"{where}: {column} is {value!r}; it must be a finite number")
    if column in (LABEL, SMOOTHING) and not 0 <= value <= 1:
        raise UserError(f"{where}: {column} is {value}; it is a probability, from 0 to 1")
    if column == SAMPLE_WEIGHT and value < 0:
        raise UserError(f"{where}: {column} is {value}; a row can count for nothing (0), not for less")
    return float(value)
