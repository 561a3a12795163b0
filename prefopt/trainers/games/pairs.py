"""The files of an iteration: candidates and verdicts in chunks, then pairs; each written once, and whole."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset

from prefopt.errors import UserError
from prefopt.games.judged import Judged, Played
from prefopt.trainers.games.judge import Judge
from prefopt.trainers.games.sampling import Drawn, Sampler, seed_of
from prefopt.trainers.pairs.tokens import PairTokens, label_columns
from reward_models.formatting import Formatter
from reward_models.whole_files import replace_json

logger = logging.getLogger(__name__)
Row = dict[str, Any]


@dataclass(frozen=True)
class Prompts:
    """The prompts of a game: ``rows`` of the data, and the ``ids`` of their prompts as generation gets them."""

    rows: Dataset
    ids: list[list[int]]
    teachers: list[list[int]] | None = None

    def columns(self, chosen: Sequence[int]) -> dict[str, list[Any]]:
        """Return the data's columns of some rows."""
        picked = self.rows.select(chosen)
        return {name: picked[name][:] for name in self.rows.column_names}


def encoded(rows: Dataset, tokenizer: Any, teacher_column: str | None) -> Prompts:
    """Return the prompts as token ids, and the teacher's answers likewise."""
    formatter = Formatter(tokenizer)
    ids, teachers = [], []
    for row in rows:
        found = formatter.encode(row["prompt"], row[teacher_column] if teacher_column else "")
        ids.append(found.input_ids[: found.response_start])
        teachers.append(found.input_ids[found.response_start :])
    return Prompts(rows, ids, teachers if teacher_column else None)


def in_chunks(folder: Path, name: str, size: int, rows: Sequence[int], work: Callable[[int, list[int]], Any]) -> None:
    """Write ``name_0000.json``, ...: what ``work(number, rows)`` gives for so many rows each; whole ones are left.

    Processes of a distributed run share the chunks.
    """
    processes = PartialState()
    for number, start in enumerate(range(0, len(rows), size)):
        file = folder / f"{name}_{number:04d}.json"
        if number % processes.num_processes == processes.process_index and not _is_whole(file):
            replace_json(file, work(number, list(rows[start : start + size])), indent=None)
    processes.wait_for_everyone()


def read_chunks(folder: Path, name: str) -> Iterator[Any]:
    """Yield the entries of all chunks, in order."""
    for file in sorted(folder.glob(f"{name}_*.json")):
        yield from json.loads(file.read_text(encoding="utf-8"))


def _is_whole(file: Path) -> bool:
    """Whether a chunk is there and can be read; one that a fault of the disk has damaged is made again."""
    if not file.exists():
        return False
    try:
        return isinstance(json.loads(file.read_text(encoding="utf-8")), list)
    except (ValueError, OSError) as error:
        logger.warning("%s is damaged and made again: %s", file, error)
        return False


def draw(sampler: Sampler, prompts: Prompts, chosen: list[int], seed: int) -> list[Row]:
    """Return each row's candidates, the teacher's last."""
    found = sampler([prompts.ids[row] for row in chosen], seed)
    for row, some in zip(chosen, found, strict=True):
        if prompts.teachers is not None and sampler.candidates.teacher:
            ids = prompts.teachers[row]
            some.append(Drawn("teacher", ids, sampler.tokenizer.decode(ids, skip_special_tokens=True)))
    return [{"row": row, "candidates": [asdict(one) for one in some]} for row, some in zip(chosen, found, strict=True)]


def judge_rows(judge: Judge, prompts: Prompts, drawn: Sequence[Row]) -> list[Row]:
    """Return the rows with the judge's matrix of win rates, and scores where it gives them; null = no verdict."""
    chosen = [row["row"] for row in drawn]
    columns = prompts.columns(chosen)
    asked = columns["prompt"]
    answers = [
        [as_completion(prompt, one["text"]) for one in row["candidates"]]
        for prompt, row in zip(asked, drawn, strict=True)
    ]
    wins, scores = judge(asked, answers, {name: values for name, values in columns.items() if name != "prompt"})
    return [
        {"row": row, "wins": _plain(wins[i]), "scores": None if scores is None else _plain(scores[i])}
        for i, row in enumerate(chosen)
    ]


def as_completion(prompt: Any, text: str) -> Any:
    """Return an answer as judges get it: text for a prompt that is text, else a list of one message."""
    return text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]


def choose(played: Played, drawn: Sequence[Row], verdicts: Sequence[Row], seed: int) -> tuple[list[Row], int]:
    """Return the pairs, and the number of comparisons without a verdict."""
    found, unjudged = [], 0
    for candidates, verdict in zip(drawn, verdicts, strict=True):
        some = [Drawn(**one) for one in candidates["candidates"]]
        wins = _tensor(verdict["wins"])
        unjudged += int(wins.isnan().sum()) // 2
        judged = Judged(
            wins,
            tuple(one.origin for one in some),
            None if verdict["scores"] is None else _tensor(verdict["scores"]),
            torch.tensor([one.broken for one in some]),
        )
        random = torch.Generator().manual_seed(seed_of(seed, candidates["row"]))
        for pair in played.choice(judged, random):
            chosen, rejected = some[pair.chosen], some[pair.rejected]
            if played.choice.keeps_equal or chosen.ids != rejected.ids:
                found.append(
                    {
                        "row": candidates["row"],
                        "chosen": asdict(chosen),
                        "rejected": asdict(rejected),
                        "labels": dict(pair.labels),
                    }
                )
    return found, unjudged


def mixed_in(own: list[Row], earlier: Sequence[list[Row]], share: float, seed: int) -> list[Row]:
    """Return own pairs and ``share`` of the last iteration's, half as large a share of the one before, and so on.

    ``earlier``: pairs of the iterations before, the last one first; rounded down.
    """
    for back, pairs in enumerate(earlier):
        count = int(share * 0.5**back * len(pairs))
        order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed_of(seed, back)))
        own = own + [pairs[i] for i in order[:count].tolist()]
    return own


def as_tokens(pairs: Sequence[Row], prompts: Prompts, needs: frozenset[str]) -> PairTokens:
    """Return pairs with the very tokens that were drawn, and the labels that the objective reads.

    Raises:
        UserError: no pair at all, or none with a label that is read.
    """
    labels = label_columns(needs)
    rows = [
        {
            "prompt_ids": prompts.ids[pair["row"]],
            "chosen_ids": pair["chosen"]["ids"],
            "rejected_ids": pair["rejected"]["ids"],
            **{name: pair["labels"][name] for name in labels},
            "row": number,
        }
        for number, pair in enumerate(pairs)
        if all(name in pair["labels"] for name in labels)
    ]
    if not rows:
        raise UserError(
            f"the judge's verdicts left no pair to learn from ({len(pairs)} before labels were looked at): candidates "
            "were equal, tied or not judged"
        )
    return PairTokens(Dataset.from_list(rows), [], 0)


def summary_of(pairs: Sequence[Row], unjudged: int) -> Mapping[str, Any]:
    """Return what is worth knowing of an iteration's pairs."""
    lengths = {side: [len(pair[side]["ids"]) for pair in pairs] for side in ("chosen", "rejected")}
    means = {f"{side}_tokens": sum(found) / max(len(found), 1) for side, found in lengths.items()}
    return {"pairs": len(pairs), "comparisons_without_verdict": unjudged, **means}


def _plain(values: torch.Tensor) -> Any:
    nested = values.double().tolist()
    return [[_or_none(one) for one in row] if isinstance(row, list) else _or_none(row) for row in nested]


def _or_none(value: float) -> float | None:
    return None if value != value else value


def _tensor(values: Any) -> torch.Tensor:
    return torch.tensor(
        [
            [float("nan") if one is None else one for one in row] if isinstance(row, list) else
            (float("nan") if row is None else row)
            for row in values
        ],
        dtype=torch.float64,
    )  # fmt: skip
