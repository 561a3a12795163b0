"""Pairs of several levels to token ids: what a side of such a pair says are answers to several prompts."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from datasets import Dataset

from prefopt.offline.pairs import Levels
from prefopt.offline.pairs.levels import BETWEEN, ITSELF, WITHIN
from prefopt.trainers.pairs.tokens import LABEL, PairTokens
from reward_models.data.constraints import LevelPrompts, level_prompts
from reward_models.formatting import Formatter

logger = logging.getLogger(__name__)
LEVEL = "level"
SIDES = ("chosen", "rejected")
Answered = tuple[Any, Any]
"""A prompt and an answer to it."""
Made = tuple[int, list[Answered], list[Answered]]
"""Level, what the chosen side says, what the rejected side says."""


def made_of(row: Mapping[str, Any], prompts: LevelPrompts, levels: Levels) -> Iterator[Made]:
    """Yield the pairs that are made of a pair."""
    chosen, rejected = row["chosen"], row["rejected"]
    if levels.prompts:
        for answer, asked in ((chosen, prompts.chosen), (rejected, prompts.rejected)):
            if asked is not None:
                yield WITHIN, [(asked[0], answer)], [(asked[1], answer)]
    if levels.margins and prompts.between is not None:
        first, second = prompts.between
        yield BETWEEN, [(first, chosen), (second, rejected)], [(first, rejected), (second, chosen)]


def with_levels(
    pairs: PairTokens, data: Dataset, levels: Levels, tokenizer: Any, limit: int, seed: int, name: str
) -> PairTokens:
    """Return tokenised pairs and those that are made of them, with ``level`` and ``chosen_parts``, ``rejected_parts``.

    Made pairs are numbered on behind the last row. One that is longer than ``limit`` is left out, and the log says how
    many are.

    Args:
        pairs: of `tokenise_pairs`. data: what they were made of. levels: which to make.
        tokenizer, limit: as for the pairs. seed: of the prompts that are made; each row has its own stream.
    """
    formatter = Formatter(tokenizer)
    labels = [
        column
        for column in pairs.rows.column_names
        if column not in ("prompt_ids", "chosen_ids", "rejected_ids", "row")
    ]
    found: list[dict[str, Any]] = []
    counts, long = {WITHIN: 0, BETWEEN: 0}, 0
    for tokens in pairs.rows:
        own = {f"{side}_parts": [{"prompt": tokens["prompt_ids"], "answer": tokens[f"{side}_ids"]}] for side in SIDES}
        found.append({**tokens, **own, LEVEL: float(ITSELF)})
        row = data[tokens["row"]]
        draw = Random(f"{seed} {tokens['row']}")
        prompts = level_prompts(row["prompt"], row["chosen"], row["rejected"], draw, levels.most)
        for level, chosen, rejected in made_of(row, prompts, levels):
            sides = [[_encoded(formatter, *part) for part in side] for side in (chosen, rejected)]
            parts = [part for side in sides for part in side]
            if max(len(part["prompt"]) + len(part["answer"]) for part in parts) > limit:
                long += 1
                continue
            found.append(
                _row(sides, level, len(data) + sum(counts.values()), {label: tokens[label] for label in labels})
            )
            counts[level] += 1
    logger.warning(
        "%s: %d pairs; made of them: %d answers to two prompts, %d pairs of pairs; %d more were too long",
        name, len(pairs.rows), counts[WITHIN], counts[BETWEEN], long,
    )  # fmt: skip
    return PairTokens(Dataset.from_list(found), pairs.bad, pairs.truncated)


def alone(pairs: PairTokens) -> PairTokens:
    """Return tokenised pairs as those of level 0, with nothing made of them."""
    return PairTokens(pairs.rows.add_column(LEVEL, [float(ITSELF)] * len(pairs.rows)), pairs.bad, pairs.truncated)  # type: ignore[call-arg]


def _encoded(formatter: Formatter, prompt: Any, answer: Any) -> dict[str, list[int]]:
    whole = formatter.encode(prompt, answer)
    return {"prompt": whole.input_ids[: whole.response_start], "answer": whole.input_ids[whole.response_start :]}


def _row(
    sides: Sequence[list[dict[str, list[int]]]], level: int, row: int, labels: Mapping[str, float]
) -> dict[str, Any]:
    """Return a made pair; its own prompt and answers are the longest of its parts, by which rows are measured."""
    longest = max((part["prompt"] for side in sides for part in side), key=len)
    certain = {
        name: 1.0 if name == LABEL else 0.0 if name == "label_smoothing" else value for name, value in labels.items()
    }
    found: dict[str, Any] = {**certain, "prompt_ids": longest, "row": row, LEVEL: float(level)}
    for name, side in zip(SIDES, sides, strict=True):
        found[f"{name}_ids"] = max((part["answer"] for part in side), key=len)
        found[f"{name}_parts"] = side
    return found
