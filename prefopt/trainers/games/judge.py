"""Who wins: a reward source that scores answers, or a function that compares two."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prefopt.errors import UserError, nearest
from prefopt.trainers.games.comparisons import compared, tell
from prefopt.trainers.rewards.reading import USERS_MODULE, read_source
from prefopt.trainers.rewards.scores import Completions, scores_and_failures
from prefopt.trainers.rewards.source import RewardSource, parameters_of

OWN_KEYS = ("temperature", "both_orders")
COMPARED = {"prompts", "first", "second"}

Verdicts = tuple[list[Tensor], list[Tensor] | None]
"""A ``(K, K)`` matrix of win rates a prompt, NaN = no verdict; and ``(K,)`` scores a prompt, where there are any."""


@dataclass(frozen=True)
class Judge:
    """A reward source turned into win rates.

    A source that scores: ``P(i beats j) = sigmoid((s_i - s_j) / temperature)``, or 1, 1/2 and 0 where it is 0; several
    columns are summed by their weights. A source with the parameters ``first`` and ``second`` compares:
    ``f(prompts, first, second, **columns)`` gives for each row the probability that the first answer is the better one,
    or None. It is asked in both orders, and the mean counts, unless ``both_orders`` is off: then the policy's answer
    comes first in every comparison with another policy's, and a judge that favours the first favours the policy.

    Attributes:
        source: see `prefopt.trainers.rewards.source`.
    """

    source: RewardSource
    temperature: float = 1.0
    both_orders: bool = True

    @property
    def compares(self) -> bool:
        """Whether it takes two answers at a time."""
        call = self.source.call
        return call is not None and {"first", "second"} <= {name for kind in parameters_of(call)[:2] for name in kind}

    def required_columns(self) -> dict[str, str]:
        """Columns of the data without which it fails, by the parameter that wants them."""
        found = self.source.required_columns()
        return {name: column for name, column in found.items() if not (self.compares and name in COMPARED)}

    def load(self, device: Any) -> Judge:
        """Return the judge ready to be asked; a reward model's folder is read."""
        return replace(self, source=self.source.load(device))

    def __call__(
        self, prompts: Sequence[Any], answers: Sequence[Sequence[Any]], columns: Mapping[str, list[Any]]
    ) -> Verdicts:
        """Judge the candidates of some prompts.

        Args:
            prompts: text or messages. answers: of each prompt its candidates, text or messages likewise.
            columns: of the data, a value a prompt.

        Raises:
            RewardSourceError: the source failed, or gave what is no score or no probability.
        """
        if self.compares:
            return self._compared(prompts, answers, columns), None
        owner = [number for number, some in enumerate(answers) for _ in some]
        batch = Completions(
            [prompts[i] for i in owner],
            [answer for some in answers for answer in some],
            {name: [values[i] for i in owner] for name, values in columns.items()},
        )
        weights = torch.tensor(self.source.weights)
        found = scores_and_failures([self.source], batch)
        tell(self.source, list(found.failures.values()), int(torch.isnan(found.values).any(1).sum()), len(batch))
        scores = list((found.values * weights).sum(1).split([len(some) for some in answers]))
        return [self._wins(one) for one in scores], scores

    def _wins(self, scores: Tensor) -> Tensor:
        apart = scores[:, None] - scores
        wins = torch.sigmoid(apart / self.temperature) if self.temperature else (1 + apart.sign()) / 2
        return wins.fill_diagonal_(0.5)

    def _compared(
        self, prompts: Sequence[Any], answers: Sequence[Sequence[Any]], columns: Mapping[str, list[Any]]
    ) -> list[Tensor]:
        pairs = [(n, i, j) for n, some in enumerate(answers) for i, j in combinations(range(len(some)), 2)]
        if self.both_orders:
            pairs += [(n, j, i) for n, i, j in pairs]
        given = self.source.arguments({name: [values[n] for n, _, _ in pairs] for name, values in columns.items()}, {})
        first, second = ([answers[pair[0]][pair[side]] for pair in pairs] for side in (1, 2))
        found = compared(self.source, [prompts[n] for n, _, _ in pairs], first, second, given)
        wins = [torch.full((len(some), len(some)), torch.nan) for some in answers]
        for (n, i, j), chance in zip(pairs, found, strict=True):
            wins[n][i, j] = chance
        return [self._consistent(one).fill_diagonal_(0.5) for one in wins]

    def _consistent(self, asked: Tensor) -> Tensor:
        """Return win rates that add up to 1 with their mirror, from those that were asked for; None of both is NaN."""
        return torch.stack([asked, 1 - asked.T]).nanmean(0)


def fingerprint(source: RewardSource) -> str:
    """Return a SHA-256 of what a judge's verdicts follow from: settings, a model's files, the file of a function.

    A function in memory is known by its name alone, and what a file imports is not looked at.
    """
    call: Any = source.call
    function = call if hasattr(call, "__code__") else type(call).__call__
    # Of a server they say how long it is waited for.
    settings = {} if source.address else dict(source.settings)
    digest = hashlib.sha256(
        repr((source.names, source.weight, source.transform, dict(source.columns), settings)).encode()
    )
    digest.update(source.address.encode())
    if source.folder:
        for file in sorted(path for path in Path(source.folder).iterdir() if path.is_file()):
            digest.update(file.name.encode())
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    elif str(getattr(function, "__module__", "")).startswith(USERS_MODULE):
        digest.update(Path(function.__code__.co_filename).read_bytes())
    return digest.hexdigest()


def read_judge(entry: Any) -> Judge:
    """Return the judge of an entry: as one of ``rewards:``, with ``temperature`` and ``both_orders`` beside its keys.

    Raises:
        UserError: an unknown key or name, or a value that is out of range.
    """
    if isinstance(entry, Judge):
        return entry
    own = {key: entry[key] for key in OWN_KEYS if key in entry} if isinstance(entry, Mapping) else {}
    rest = {key: value for key, value in entry.items() if key not in own} if own else entry
    try:
        judge = Judge(read_source(rest), **own)
    except UserError as error:
        hint = next((nearest(str(key), OWN_KEYS) for key in rest if nearest(str(key), OWN_KEYS)), "") if own else ""
        raise UserError(f"judge: {str(error).replace('rewards[0]: ', '').replace('rewards[0] ', '')}{hint}") from error
    if isinstance(judge.temperature, bool) or not isinstance(judge.temperature, (int, float)) or judge.temperature < 0:
        raise UserError(f"judge: temperature must be a number of at least 0, not {judge.temperature!r}")
    if not isinstance(judge.both_orders, bool):
        raise UserError(f"judge: both_orders must be true or false, not {judge.both_orders!r}")
    return judge


JudgeEntry = str | Mapping[str, Any] | Callable[..., Any] | Judge
"""What `read_judge` takes."""
