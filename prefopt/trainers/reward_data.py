"""Rows to token ids as a loss asks for them, and token ids to trees of prompts with their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor

from prefopt.errors import UserError
from prefopt.trainers.token_budget import Side, padded_tokens
from reward_models.errors import DataError
from reward_models.formatting import Formatter
from reward_models.losses import Example, RowLoss
from reward_models.prefix_tree import Bundle, bundles

NUMBER = "number_"


@dataclass(frozen=True)
class EncodedRows:
    """Tokenised rows and what happened to the others. ``dropped`` are row numbers of the source.

    ``silent`` counts rows that say nothing about what the loss learns.
    """

    rows: Dataset
    dropped: list[int]
    truncated: int
    silent: int = 0


def encode_rows(
    data: Dataset,
    loss: RowLoss,
    formatter: Formatter,
    over_length: str,
    heads: Sequence[str],
    name: str = "data",
    prefixes: bool = False,
) -> EncodedRows:
    """Tokenise each text as it will be scored: prompt and response apart, joined, with the end token.

    Args:
        data: rows with the columns that ``loss`` reads.
        loss: says which texts of a row are read, and where.
        formatter: the model's.
        over_length: truncate_prompt, or drop.
        heads: of the model; with several, the column ``head`` picks one for each row.
        name: of the data, for messages.
        prefixes: a solution in steps becomes a text for each step, as the state of a step's last token sees the steps
            that follow (encoders).

    Raises:
        UserError: empty data, a missing column, a damaged row, a head that the model lacks, or no row left.
    """
    missing = [column for column in loss.columns if column not in data.column_names]
    if missing:
        raise UserError(
            f"{name} has no column {', '.join(missing)}; it has {', '.join(data.column_names)}. "
            f"Load it as {loss.reads} with reward_models.data, which recognises the usual shapes."
        )
    if len(data) == 0:
        raise UserError(f"{name} has no rows")
    if len(heads) > 1 and "head" not in data.column_names:
        raise UserError(f"the model has {len(heads)} heads, so {name} needs a column head that names one for each row")
    try:
        loss.check(data.column_names, name)
    except DataError as error:
        raise UserError(str(error)) from error
    index = {head: i for i, head in enumerate(heads)}
    speaking = list(range(len(data)))
    if loss.may_skip:
        speaking = [i for i, row in enumerate(data) if _example(loss, row, name, i) is not None]
    if not speaking:
        raise UserError(f"no row of {name} says what the loss learns: every label is unknown")
    whole = replace(formatter, max_length=None if over_length == "drop" else formatter.max_length)

    def encode(row: dict[str, Any], i: int) -> dict[str, Any]:
        head = row.get("head") if len(heads) > 1 else heads[0]
        if head not in index:
            raise UserError(f"{name}, row {i + 1}: head '{head}' is none of the model's: {', '.join(heads)}")
        example = _example(loss, row, name, i)
        assert example is not None
        texts = [whole.encode(*text) for text in example.texts]
        if prefixes:
            texts = [prefix for text in texts for prefix in (whole.prefixes(text) if text.step_ends else [text])]
        return {
            "prompts": [text.input_ids[: text.response_start] for text in texts],
            "answers": [text.input_ids[text.response_start :] for text in texts],
            "ends": [list(text.step_ends) for text in texts],
            "longest": max(len(text.input_ids) for text in texts),
            # Equal prompts count once, as they do in a tree.
            "length": sum(len(text.input_ids) - text.response_start for text in texts)
            + sum(len(prompt) for prompt in {tuple(text.input_ids[: text.response_start]) for text in texts}),
            "truncated": any(text.prompt_cut or text.response_cut for text in texts),
            "head": index[head],
            "row": i,
            # Under another name: a column that keeps its name keeps its type, and true and false have no sign.
            **{f"{NUMBER}{key}": value for key, value in example.numbers.items()},
        }

    encoded = data.select(speaking).map(
        lambda row, at: encode(row, speaking[at]),
        with_indices=True,
        remove_columns=data.column_names,
        load_from_cache_file=False,
        desc=f"Tokenising {name}",
    )
    lengths = encoded["longest"]
    limit = formatter.max_length
    dropped = [speaking[i] for i, length in enumerate(lengths) if limit is not None and length > limit]
    if dropped:
        encoded = encoded.select([i for i, length in enumerate(lengths) if limit is None or length <= limit])
    if len(encoded) == 0:
        raise UserError(
            f"all {len(data)} {loss.reads} of {name} are longer than max_length={limit}; raise it, or set "
            "over_length to truncate_prompt"
        )
    return EncodedRows(encoded, dropped, sum(encoded["truncated"]), len(data) - len(speaking))


def _example(loss: RowLoss, row: Mapping[str, Any], name: str, number: int) -> Example | None:
    try:
        return loss.example(row)
    except DataError as error:
        raise UserError(f"{name}, row {number + 1}: {error}") from error


@dataclass(frozen=True)
class RowCollator:
    """N rows to the fields of one `TreeBatch` a bundle, and where their readings stand in what the model gives.

    ``trees`` are the bundles, ``reads`` ``(P, 2)`` of each bundle its readings: number of the response and index of a
    token of it, None where each response is read once, at its end. ``places`` ``(N, R)`` and ``texts`` ``(N, S)`` are
    the places of a row's readings and texts among those of all bundles, -1 where there is none.

    Args:
        share: answers to equal prompts share a row. Otherwise each has a row of its own.
        row: see `bundles`.
    """

    share: bool
    row: int | None = None

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Lay out and stack."""
        sides = [side for row in rows for side in self.sides(row)]
        ends = [tuple(end) for row in rows for end in row.get("ends") or [()] * len(row["answers"])]
        found = self._bundles(sides)
        order = [number for bundle in found for number in bundle.rows]
        place = {number: at for at, number in enumerate(order)}
        first, done = {}, 0
        for number in order:
            first[number], done = done, done + max(1, len(ends[number]))
        texts, readings, number = [], [], 0
        for row in rows:
            own = range(number, number + len(row["answers"]))
            number = own.stop
            texts.append([place[one] for one in own])
            readings.append([first[one] + k for one in own for k in range(max(1, len(ends[one])))])
        names = [key for key in rows[0] if key.startswith(NUMBER)]
        return {
            "places": stacked(readings, -1),
            "texts": stacked(texts, -1),
            "trees": [vars(bundle.batch()) for bundle in found],
            "reads": [_reads(bundle, ends) for bundle in found],
            "head": torch.tensor([row["head"] for row in rows]),
            "row": torch.tensor([row["row"] for row in rows]),
            "weight": torch.tensor([row.get("weight", 1.0) for row in rows]),
            "numbers": {key.removeprefix(NUMBER): _numbers([row[key] for row in rows]) for key in names},
        }

    def sides(self, row: Mapping[str, Any]) -> list[Side]:
        """Return prompt and answer of each text."""
        return list(zip(row["prompts"], row["answers"], strict=True))

    def tokens(self, sides: Sequence[Side]) -> int:
        """Return the tokens of all bundles, padding counted."""
        return sum(padded_tokens(bundle.trees, bundle.width) for bundle in self._bundles(sides))

    def _bundles(self, sides: Sequence[Side]) -> list[Bundle]:
        return bundles([prompt for prompt, _ in sides], [answer for _, answer in sides], self.share, row=self.row)


def stacked(rows: Sequence[Sequence[float]], filler: float) -> Tensor:
    """Return lists as the rows of one tensor, filled on the right."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows])


def _reads(bundle: Bundle, ends: Sequence[tuple[int, ...]]) -> Tensor | None:
    own = [ends[number] for number in bundle.rows]
    if not any(own):
        return None
    last = [len(answer) - 1 for tree in bundle.trees for answer in tree.responses]
    pairs = [(i, end) for i, found in enumerate(own) for end in (found or (last[i],))]
    return torch.tensor(pairs)


def _numbers(values: Sequence[Any]) -> Tensor:
    several = isinstance(values[0], (list, tuple))
    return (stacked(values, torch.nan) if several else torch.tensor(values)).to(torch.float32)
