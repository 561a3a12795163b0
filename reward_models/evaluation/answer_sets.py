"""Several answers to each prompt with their gold rewards: what best-of-n curves and regret are computed from."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from reward_models.errors import DataError
from reward_models.formatting import Text
from reward_models.groupwise import GroupwisePairwise, PairJudge

if TYPE_CHECKING:
    from reward_models.data.sources import Data
    from reward_models.model import RewardModel


@dataclass(frozen=True)
class AnswerSets:
    """``m`` answers to each of P prompts.

    ``gold`` ``(P, m)``. ``votes[p][i]`` is the final answer that a majority is taken over, None where unknown; None as
    a whole where no row has one. ``left_out`` counts prompts with another number of answers, ``ungraded`` rows without
    gold reward.
    """

    prompts: tuple[Text, ...]
    answers: tuple[tuple[Text, ...], ...]
    gold: Tensor
    votes: tuple[tuple[str | None, ...], ...] | None
    left_out: int
    ungraded: int

    def scores(self, model: RewardModel, head: str | None = None, batch_size: int = 16) -> Tensor:
        """Return the model's scores ``(P, m)``; answers to a prompt share its tokens where the model allows it.

        Of a model that compares answers with each other these are the shares of comparisons that each wins.

        Raises:
            DataError: a model that reads a reference, which these rows do not have.
        """
        prompts = [prompt for prompt, texts in zip(self.prompts, self.answers, strict=True) for _ in texts]
        answers = [text for texts in self.answers for text in texts]
        column = 0 if head is None else model.names.index(head)
        if model.layout is None:
            return model.score(prompts, answers, batch_size)[:, column].view(self.gold.shape)
        if model.layout.against == "reference":
            raise DataError("the model scores an answer beside a reference, and answers with gold rewards have none")
        rates = GroupwisePairwise(PairJudge(model, batch_size, column))(prompts, answers)
        return torch.tensor([math.nan if rate is None else rate for rate in rates]).view(self.gold.shape)


def read_answer_sets(data: Data) -> AnswerSets:
    """Read rows of ``prompt``, ``completion``, ``gold`` (a number, true or false) and, optionally, ``answer``.

    A row may also hold lists, ``completions`` and ``gold`` (and ``answers``). Rows are grouped by prompt. All prompts
    must have equally many graded answers for one curve, so those with another number than most are left out, and
    counted. A gold reward of null leaves its row out.

    Raises:
        DataError: a row that lacks a field or holds something else in it; no prompt with at least two graded answers.
    """
    from reward_models.data.faults import BadRow
    from reward_models.data.sources import open_source

    source = open_source(data)
    found: dict[str, list[tuple[Text, float, str | None]]] = {}
    prompts: dict[str, Text] = {}
    ungraded = 0
    for numbered in source.read():
        row, where = numbered.value, f"{numbered.source}, row {numbered.number}"
        if isinstance(row, BadRow):
            raise DataError(f"{where}: {row.detail}")
        for prompt, completion, gold, vote in _answers(row, where):
            if gold is None:
                ungraded += 1
                continue
            key = prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True)
            prompts[key] = prompt
            found.setdefault(key, []).append((completion, gold, vote))
    counts = Counter(len(answers) for answers in found.values())
    usual = max((count for count in counts if count > 1), key=lambda count: (counts[count], count), default=0)
    if not usual:
        raise DataError(f"{source.name}: no prompt has two graded answers or more")
    kept = [key for key, answers in found.items() if len(answers) == usual]
    votes = tuple(tuple(vote for _, _, vote in found[key]) for key in kept)
    return AnswerSets(
        prompts=tuple(prompts[key] for key in kept),
        answers=tuple(tuple(text for text, _, _ in found[key]) for key in kept),
        gold=torch.tensor([[gold for _, gold, _ in found[key]] for key in kept], dtype=torch.float64),
        votes=votes if any(vote is not None for row in votes for vote in row) else None,
        left_out=len(found) - len(kept),
        ungraded=ungraded,
    )


def _answers(row: Any, where: str) -> Iterable[tuple[Text, Text, float | None, str | None]]:
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: expected an object with fields, found {type(row).__name__}")
    several = "completions" in row
    names = ("prompt", "completions" if several else "completion", "gold")
    missing = [name for name in names if name not in row]
    if missing:
        raise DataError(f"{where}: no field '{missing[0]}'; rows need {', '.join(names)}, and have {', '.join(row)}")
    if not several:
        return [(row["prompt"], row["completion"], _gold(row["gold"], where), _vote(row.get("answer")))]
    texts, golds = row["completions"], row["gold"]
    votes = row.get("answers") or [None] * len(texts)
    if not (isinstance(golds, Sequence) and len(texts) == len(golds) == len(votes)):
        raise DataError(f"{where}: completions, gold and answers must be lists of one length")
    return [
        (row["prompt"], *one) for one in zip(texts, (_gold(g, where) for g in golds), map(_vote, votes), strict=True)
    ]


def _gold(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if not isinstance(value, (bool, int, float)) or not math.isfinite(value):
        raise DataError(f"{where}: gold is {value!r}; it must be a finite number, true, false or null")
    return float(value)


def _vote(value: Any) -> str | None:
    return None if value is None else str(value)
