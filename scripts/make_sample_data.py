"""Make ``data/preferences``, ``data/prompts`` and ``data/bad-rows``; the same bytes on every run.

    python -m scripts.make_sample_data [--output data]

A simulated annotator compares two answers to one question. It values courtesy, working shown and the right result,
and prefers the better answer with probability ``sigmoid(SHARPNESS * difference)``: a Bradley-Terry annotator, whose
labels no model can predict better than that probability allows.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from scripts import small_talk
from scripts.small_talk import Answer, Sum

SEEDS = {"train": 11, "test": 12}
PREFERENCE_ROWS = {"train": 2000, "test": 400}
PROMPT_ROWS = {"train": 1000, "test": 250}
SHARPNESS = 2.0
TASTE = {
    "opening": {"polite": 1.0, "plain": 0.0, "rude": -1.3},
    "closing": {"polite": 0.5, "plain": 0.0, "rude": -0.8},
    "body": {"worked": 0.8, "stated": 0.4, "bare": 0.0, "guess": -0.3, "dodge": -1.0},
    "right": {True: 1.0, False: 0.0},
}


def utility(answer: Answer) -> float:
    """How much the annotator likes an answer: a sum of its taste for each part."""
    return sum(values[getattr(answer, part)] for part, values in TASTE.items())


def probability_preferred(first: Answer, second: Answer) -> float:
    """Bradley-Terry: ``sigmoid(SHARPNESS * (utility(first) - utility(second)))``."""
    return 1 / (1 + math.exp(-SHARPNESS * (utility(first) - utility(second))))


def preference_rows(split: str) -> Iterator[dict[str, Any]]:
    """Yield pairs of different answers, labelled by the annotator."""
    rng = random.Random(SEEDS[split])
    sums = small_talk.all_sums(held_out=split == "test")
    for _ in range(PREFERENCE_ROWS[split]):
        question = small_talk.pick(sums, rng)
        prompt = question.question(rng)
        first, second = small_talk.answer(question, rng), small_talk.answer(question, rng)
        while second.text == first.text:
            second = small_talk.answer(question, rng)
        if rng.random() >= probability_preferred(first, second):
            first, second = second, first
        yield {"prompt": prompt, "chosen": first.text, "rejected": second.text, "subset": subset(first, second)}


def subset(first: Answer, second: Answer) -> str:
    """Say what tells the pair apart."""
    if first.right != second.right:
        return "one is right"
    return "both are right" if first.right else "both are wrong"


def prompt_rows(split: str) -> Iterator[dict[str, Any]]:
    """Yield questions with their result; no sum occurs twice."""
    rng = random.Random(SEEDS[split] + 100)
    seen: set[Sum] = set()
    sums = small_talk.all_sums(held_out=split == "test")
    while len(seen) < PROMPT_ROWS[split]:
        question = small_talk.pick(sums, rng)
        if question not in seen:
            seen.add(question)
            yield {"prompt": question.question(rng), "answer": str(question.total)}


def bad_lines() -> Iterator[str]:
    """Yield two good rows, each of the faults that a row can have, and faults that only several rows show."""
    good = {"prompt": "What is 37 plus 48?", "chosen": "Sure! 85.", "rejected": "Maybe 84."}
    yield json.dumps(good)
    yield json.dumps({"prompt": "What is 12 plus 20?", "chosen": "It is 32.", "rejected": "Go away."})
    yield json.dumps({**good, "prompt": ""})
    yield json.dumps({**good, "rejected": "   "})
    yield json.dumps({**good, "rejected": good["chosen"]})
    yield json.dumps({"prompt": good["prompt"], "chosen": good["chosen"]})
    yield json.dumps({**good, "chosen": 85})
    yield json.dumps({**good, "chosen": None})
    yield json.dumps({**good, "margin": math.nan})
    yield json.dumps({**good, "chosen": "Sure! \ud800 85."})
    yield json.dumps(list(good.values()))
    yield json.dumps(good)[:-12]
    yield json.dumps(good)
    yield json.dumps({**good, "chosen": good["rejected"], "rejected": good["chosen"]})


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write one line each, with the same line ends everywhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())


def write_all(output: Path) -> None:
    """Write every file of the sample data under ``output``."""
    for split in SEEDS:
        write_lines(output / "preferences" / f"{split}.jsonl", map(json.dumps, preference_rows(split)))
        write_lines(output / "prompts" / f"{split}.jsonl", map(json.dumps, prompt_rows(split)))
    write_lines(output / "bad-rows" / "preferences.jsonl", bad_lines())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("data"))
    write_all(parser.parse_args().output)


if __name__ == "__main__":
    main()
