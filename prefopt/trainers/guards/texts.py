"""What rows hold, in words, for the page of a step that was not taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset

from prefopt.trainers.shared_prompts import unpadded

IDS, LISTS = "_ids", ("prompts", "answers")


def texts_of_rows(rows: Dataset, numbers: Sequence[int], tokenizer: Any) -> list[dict[str, Any]]:
    """Return texts and numbers of tokenised rows, by the numbers that they had in the data."""
    place: dict[int, int] = {}
    for i, number in enumerate(rows["row"]):
        place.setdefault(number, i)
    return [_in_words(rows[place[number]], tokenizer) for number in numbers]


def texts_of_rollouts(batch: Mapping[str, Any], tokenizer: Any, rewards: Sequence[str]) -> list[dict[str, Any]]:
    """Return prompt, completion, rewards by their names and the sum of advantages of each row of a micro-batch."""
    prompts, completions = (
        [tokenizer.decode(ids) for ids in unpadded(batch[f"{side}_ids"], batch[f"{side}_mask"])]
        for side in ("prompt", "completion")
    )
    scores, advantages = batch["rewards"].tolist(), batch["advantages"].sum(-1).tolist()
    return [
        {"prompt": prompt, "completion": text, "rewards": dict(zip(rewards, row, strict=True)), "advantage": advantage}
        for prompt, text, row, advantage in zip(prompts, completions, scores, advantages, strict=True)
    ]


def _in_words(row: Mapping[str, Any], tokenizer: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        if name.endswith(IDS) and isinstance(value, list):
            found[name.removesuffix(IDS)] = tokenizer.decode(value)
        elif name in LISTS:
            found[name] = [tokenizer.decode(ids) for ids in value]
        elif isinstance(value, (str, int, float)) and name != "row":
            found[name] = value
    return found
