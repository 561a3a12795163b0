"""Runs of all trainers that are resumed from a checkpoint, against the same runs that were never stopped."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.faults.figure import Figure
from scripts.faults.resuming import offline_cases, online_cases, reward_cases
from scripts.faults.resuming.equality import Case, tried

RUNS = {"reward": 24, "offline": 30, "online": 40}
"""Trainer -> uninterrupted runs, each of which is resumed at four steps."""
PRODUCTS = {
    "reward": reward_cases.product_of_losses,
    "offline": offline_cases.product_of_recipes,
    "online": online_cases.product_of_recipes,
}


def inject(seed: int) -> list[Figure]:
    """Draw runs from the product of recipes and settings, and resume each at every step that the product has."""
    return [compared(trainer, drawn(PRODUCTS[trainer](), runs, seed)) for trainer, runs in RUNS.items()]


def drawn(cases: Iterable[Case], runs: int, seed: int) -> list[Case]:
    """Return the cases of so many runs."""
    groups = [list(some) for _, some in groupby(cases, key=lambda case: case.made_of)]
    return [case for group in random.Random(seed).sample(groups, runs) for case in group]


def compared(trainer: str, cases: Sequence[Case]) -> Figure:
    """Return how many resumed runs were the uninterrupted ones, bit for bit."""
    with TemporaryDirectory() as folder, _silence():
        found = {case.name: differing for case, differing in tried(cases, Path(folder))}
    unlike = {name: differing for name, differing in found.items() if differing}
    note = "; ".join(f"{name}: {', '.join(differing[:3])}" for name, differing in list(unlike.items())[:3])
    return Figure(
        f"{trainer} runs resumed and compared bit for bit",
        len(found),
        len(found) - len(unlike),
        lost=len(unlike),
        note=note or "weights, moments, schedule, states, batches, random numbers, log",
    )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    logging.disable(logging.WARNING)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
