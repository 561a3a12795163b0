"""Weights of the rows of a file, from samples that were drawn for their prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prefopt.errors import UserError
from prefopt.offline.data_weight import AnswerSpread, DistributionShift
from prefopt.trainers.pairs.tokens import SAMPLE_WEIGHT
from prefopt.trainers.sample_losses import mean_losses
from reward_models.data.faults import BadRow, RowFault
from reward_models.data.faults import bad_row as faulty
from reward_models.data.fields import conversation
from reward_models.data.files import read_rows
from reward_models.formatting import Text
from reward_models.verifiable.answer_clusters import agreement, answer_key, reference_key
from reward_models.verifiable.texts import text_of

SINGLE, SEVERAL, PAIR = ("completion", "response"), ("completions", "responses"), ("chosen", "rejected")


@dataclass(frozen=True)
class SampledRow:
    """A row of a file as it stands there, its prompt, and the answers that it holds, of a pair the chosen one first."""

    where: str
    row: Mapping[str, Any]
    prompt: Text
    answers: tuple[Text, ...]

    @property
    def question(self) -> str:
        """The same for the same prompt."""
        return json.dumps(self.prompt, sort_keys=True)


def sampled_rows(file: str | Path) -> list[SampledRow]:
    """Return the rows of a file: a prompt with completion, response, a list of either, or chosen and rejected.

    Raises:
        UserError: a row that is bad, or no row at all. DataError: a file that cannot be read.
    """
    found = []
    for number, row in read_rows(Path(file)):
        if isinstance(row, BadRow):
            raise UserError(f"{row}. Mend the row")
        try:
            found.append(SampledRow(f"{file}, row {number}", row, *_read(row)))
        except RowFault as fault:
            raise UserError(f"{faulty(str(file), number, row, fault)}. Mend the row") from fault
    if not found:
        raise UserError(f"{file} has no rows")
    return found


def unweighed_rows(file: str | Path) -> list[SampledRow]:
    """Return the same of a file without weights. Raises ``UserError`` for a row that has one already."""
    rows = sampled_rows(file)
    for row in rows:
        if SAMPLE_WEIGHT in row.row:
            raise UserError(f"{row.where} has a {SAMPLE_WEIGHT} already; drop the column to weigh the rows anew")
    return rows


def weights_by_spread(
    weigh: AnswerSpread, rows: Sequence[SampledRow], samples: Sequence[SampledRow], right_answers: str | None = None
) -> Tensor:
    """Return the weight of each row ``(N,)``: that of its question, by the answers among the samples.

    Args:
        weigh: the method.
        rows: what is weighed.
        samples: rows that hold the answers that were drawn for each question.
        right_answers: column of ``rows`` with the right answer of the question, or None.

    Raises:
        UserError: a question without samples, a row without its right answer.
    """
    keys = answers_of(samples)
    right: dict[str, Any] = {}
    for row in rows:
        if row.question not in keys:
            raise UserError(f"{row.where}: no sample has its prompt")
        if right_answers is not None:
            right.setdefault(row.question, _right(row, right_answers))
    questions = list(dict.fromkeys(row.question for row in rows))
    given = [right[question] for question in questions] if right_answers is not None else None
    try:
        weights = weigh([keys[question] for question in questions], given)
    except ValueError as error:
        raise UserError(f"{error}; name their column as right_answers") from error
    of_question = dict(zip(questions, weights.tolist(), strict=True))
    return torch.tensor([of_question[row.question] for row in rows], dtype=torch.float64)


def weights_by_shift(
    weigh: DistributionShift, rows: Sequence[SampledRow], samples: Sequence[SampledRow] | None,
    validation: Sequence[SampledRow], model: str | Path, **reading: Any,
) -> tuple[Tensor, Tensor, float]:  # fmt: skip
    """Return weights ``(N,)`` and losses ``(N,)`` of the rows' answers, and the mean loss of validation answers.

    Of a pair the chosen answer is weighed. With samples, an answer is consistent if it is the most frequent one among
    those of its prompt.

    Args:
        weigh: the method.
        rows: what is weighed, one answer or a pair a row.
        samples: rows that hold the answers that were drawn for each prompt, or None: every answer is consistent.
        validation: rows that are known to be good.
        model: folder of the model before training.
        reading: of `mean_losses`.

    Raises:
        UserError: a row with a list of answers, of which none is the row's own; an answer without a finite loss.
    """
    for row in (*rows, *validation):
        if any(name in row.row for name in SEVERAL):
            raise UserError(f"{row.where}: a list of answers has no one loss; give each answer a row of its own")
    consistency = None if samples is None else _consistency(rows, answers_of(samples))
    groups = {"the data": rows, "the validation data": validation}
    pairs = {name: [(row.prompt, row.answers[0]) for row in some] for name, some in groups.items()}
    losses = mean_losses(model, pairs, **reading)
    standard = float(losses["the validation data"].mean())
    try:
        return weigh(losses["the data"], standard, consistency), losses["the data"], standard
    except ValueError as error:
        raise UserError(str(error)) from error


def answers_of(samples: Sequence[SampledRow]) -> dict[str, list[Any]]:
    """Return what the answers to each question are known by, see `answer_key`."""
    found: dict[str, list[Any]] = {}
    for row in samples:
        found.setdefault(row.question, []).extend(answer_key(text_of(answer)) for answer in row.answers)
    return found


def _consistency(rows: Sequence[SampledRow], keys: Mapping[str, list[Any]]) -> Tensor:
    shares = {question: dict(zip(own, agreement(own), strict=True)) for question, own in keys.items()}
    found = [shares.get(row.question, {}).get(answer_key(text_of(row.answers[0])), 0.0) for row in rows]
    return torch.tensor(found, dtype=torch.float64)


def _right(row: SampledRow, column: str) -> Any:
    value = row.row.get(column)
    key = None if value is None else reference_key(str(value))
    if key is None:
        raise UserError(f"{row.where}: column {column} holds no answer: {value!r}")
    return key


def _read(row: Any) -> tuple[Text, tuple[Text, ...]]:
    if not isinstance(row, Mapping):
        raise RowFault("not_an_object", "", "the row is no object")
    prompt: Text = conversation(row, "prompt")
    if all(name in row for name in PAIR):
        return prompt, tuple(conversation(row, name) for name in PAIR)
    for name in SEVERAL:
        if isinstance(row.get(name), list) and row[name]:
            return prompt, tuple(conversation({name: answer}, name) for answer in row[name])
    for name in SINGLE:
        if row.get(name) is not None:
            return prompt, (conversation(row, name),)
    raise RowFault("missing_field", "completion", "give completion, completions, or chosen and rejected")
