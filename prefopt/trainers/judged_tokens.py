"""Responses judged one by one: from what the user names to token ids."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets

from prefopt.errors import UserError
from prefopt.trainers.data_record import record_data
from prefopt.trainers.pairs.tokens import (
    SAMPLE_WEIGHT,
    PairTokens,
    check_pairs,
    check_weights,
    fit,
    number,
    refused_by_template,
    sift,
)
from reward_models.chat_template import TemplateRefusesError
from reward_models.data import load_with_report
from reward_models.data.reading import read_as
from reward_models.data.sources import open_source
from reward_models.errors import DataError
from reward_models.formatting import Formatter

logger = logging.getLogger(__name__)
NEEDED = ("prompt", "completion", "label")
COLUMNS = ("prompt_desirable_probability", SAMPLE_WEIGHT)
"""Columns that an objective may read, where the data has them."""


def load_judged(data: Dataset | str | Path, on_bad_row: str, quarantine: Path, name: str) -> Dataset:
    """Return rows of prompt, completion and label; pairs are taken apart, and the log says so.

    Raises:
        DataError: neither judged responses nor pairs are recognised, or rows are bad.
        UserError: pairs whose label is unsure.
    """
    settings: dict[str, Any] = {"on_bad_row": on_bad_row, "quarantine_path": quarantine}
    try:
        rows, report = load_with_report(data, "unpaired", **settings)
        record_data(quarantine.parent, name, report)
        return rows
    except DataError as unrecognised:
        try:
            pairs, report = load_with_report(data, "preferences", **settings)
        except DataError as error:
            raise unrecognised from error
    record_data(quarantine.parent, name, report)
    # Whether weights are read is asked of the rows, in `tokenise_judged`.
    check_pairs(pairs, {SAMPLE_WEIGHT} & set(pairs.column_names), name)
    rows = taken_apart(pairs)
    logger.warning(
        "%s: these are pairs; each is taken apart into a good and a bad response, so %d pairs are %d responses, and "
        "which two belonged together is forgotten",
        name, len(pairs), len(rows),
    )  # fmt: skip
    return rows


def without_partners(data: Dataset | str | Path) -> bool:
    """Whether the data holds judged responses and no pairs."""
    source = open_source(data, None, None, False)
    return read_as(source, "preferences").shape is None and read_as(source, "unpaired").shape is not None


def taken_apart(pairs: Dataset) -> Dataset:
    """Return the chosen response of each pair as a good one and the rejected as a bad one, side by side.

    Both have the pair's ``sample_weight``, where it has one.
    """
    sides, own = [], [SAMPLE_WEIGHT] if SAMPLE_WEIGHT in pairs.column_names else []
    for side, label in (("chosen", True), ("rejected", False)):
        rows = pairs.select_columns(["prompt", side, *own]).rename_column(side, "completion")
        sides.append(rows.add_column("label", [label] * len(pairs)))  # type: ignore[call-arg]
    count = len(pairs)
    return concatenate_datasets(sides).select([i + side * count for i in range(count) for side in (0, 1)])


def check_judged(data: Dataset, name: str) -> None:
    """Raise ``UserError`` for data that cannot be trained on, before any model is loaded."""
    missing = [column for column in NEEDED if column not in data.column_names]
    if missing:
        raise UserError(
            f"{name} has no column {', '.join(missing)}; it has {', '.join(data.column_names)}. Judged responses are "
            "rows of prompt, completion, label (true or false)"
        )
    if len(data) == 0:
        raise UserError(f"{name} has no rows")
    wrong = next((i for i, label in enumerate(data["label"]) if not isinstance(label, bool)), None)
    if wrong is not None:
        raise UserError(
            f"{name}, row {wrong + 1}: label is {data['label'][wrong]!r}; it must be true (good) or false (bad)"
        )


def tokenise_judged(
    data: Dataset, tokenizer: Any, max_length: int, over_length: str, needs: Collection[str], on_bad_row: str,
    quarantine: Path, name: str,
) -> PairTokens:  # fmt: skip
    """Tokenise each response as generation will see it: ``prompt_ids``, ``completion_ids``, ``desirable``, ``row``.

    Raises:
        UserError: a response that doesn't fit ``max_length`` (unless quarantined), a column that is no number.
    """
    check_judged(data, name)
    check_weights(data, needs, name)
    formatter = Formatter(tokenizer)
    columns = [column for column in COLUMNS if column in needs and column in data.column_names]

    def encode(row: dict[str, Any], i: int) -> dict[str, Any]:
        try:
            whole = formatter.encode(row["prompt"], row["completion"])
            start = whole.response_start
            prompt, answer = whole.input_ids[:start], whole.input_ids[start:]
            fitted = fit(prompt, answer, [], max_length, over_length, tokenizer.bos_token_id)
        except TemplateRefusesError as error:
            fitted = refused_by_template(error)
        fitted["completion_ids"] = fitted.pop("chosen_ids")
        del fitted["rejected_ids"]
        numbers = {column: number(row[column], column, f"{name}, row {i + 1}") for column in columns}
        return {**fitted, **numbers, "desirable": float(row["label"]), "row": i}

    rows = data.map(
        encode,
        with_indices=True,
        remove_columns=data.column_names,
        load_from_cache_file=False,
        desc=f"Tokenising {name}",
    )
    return sift(rows, data, on_bad_row, quarantine, max_length, name, "responses")
