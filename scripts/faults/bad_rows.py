"""Bad rows: the corpus, rows that cannot be used by construction, damage by chance, and damaged files.

Each goes into a file between good rows. Nothing may crash, every row must be used or set apart with its reason, and
what is read of the good rows must be what is read of them without the bad one.
"""

from __future__ import annotations

import gzip
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import datasets

from scripts.faults.figure import Figure
from scripts.faults.rows.corpus import PLACE, Case, corpus, damaged, good_rows
from scripts.faults.rows.damage import BY_CHANCE, hopeless
from scripts.faults.rows.verdicts import Verdict, by_check, read_by_loader

ROUNDS = 10
JOINED = ("rated", "multi-attribute")
"""Kinds whose neighbouring rows are compared with each other."""


@dataclass(frozen=True)
class Reading:
    """What came of a file with one damaged row: the verdict of the check, and the rows that were lost or changed."""

    verdict: Verdict
    lost: int


def read_with(like: str, line: bytes, folder: Path) -> Reading:
    """Put a line between good rows, check and load the file, and count what is missing or other than it was."""
    kind = good_rows()[like]["kind"]
    path = Case("by chance", like, "", hex=line.hex()).write(folder)
    verdict, (loaded, rows) = by_check(path), read_by_loader(path, kind)
    places = 1 + line.count(b"\n") if line.strip() else 0
    if verdict.refused is not None:
        # A file as a whole: nothing of it is used, so nothing of it can be lost unnoticed.
        return Reading(verdict, int(loaded.refused is None))
    lost = abs(len(good_rows()[like]["rows"]) + places - verdict.used - len(verdict.bad))
    lost += sum(row not in range(PLACE, PLACE + places) for row, *_ in verdict.bad)
    if loaded.refused is None:
        lost += int(loaded.bad != verdict.bad or loaded.used != verdict.used)
        found = [_kept(row) for row in rows or ()]
        # A row that can be used still may be another answer to a neighbour's prompt, and is then compared with it.
        if verdict.bad or like not in JOINED:
            lost += sum(row not in found for row in _alone(like))
    return Reading(verdict, lost)


@cache
def _alone(like: str) -> list[dict[str, Any]]:
    """What is read of good rows where no bad one stands between them."""
    with TemporaryDirectory(prefix="prefopt-rows-") as place:
        path = Case("good", like, "", file={"damage": "none"}).write(Path(place))
        return [_kept(row) for row in read_by_loader(path, good_rows()[like]["kind"])[1] or ()]


def _kept(row: dict[str, Any]) -> dict[str, Any]:
    """A row without columns that are empty: whether these exist depends on other rows."""
    return {name: value for name, value in row.items() if value is not None}


def of_corpus(work: Path) -> list[tuple[bool, int]]:
    """Whether each bad row or file of the corpus got its verdict, and how many rows were lost by it."""
    found = []
    for number, case in enumerate(one for one in corpus() if one.expect not in ("used", "counted", "leak")):
        folder = _room(work, number)
        verdict = by_check(case.write(folder), case.options)
        if case.expect == "refused":
            found.append((verdict.refused is not None and case.words in verdict.refused, 0))
        else:
            caught = [(row, field, reason) for row, field, reason, _ in verdict.bad] == [
                (PLACE, case.field, case.expect)
            ]
            found.append((caught, abs(len(case.good) - verdict.used)))
    return found


def by_construction(work: Path) -> list[tuple[bool, int]]:
    """Whether each row that cannot be used was caught, and how many rows were lost by it."""
    found = []
    lines = [(like, line) for like, rows in good_rows().items() for line in hopeless(like, rows["rows"][0])]
    for number, (like, line) in enumerate(lines):
        reading = read_with(like, line, _room(work, number))
        caught = [row for row, *_ in reading.verdict.bad] == [PLACE]
        found.append((caught, reading.lost))
    return found


def by_chance(work: Path, seed: int, rounds: int) -> list[tuple[bool, int]]:
    """Whether each damaged row was caught (or is a good row still), and how many rows were lost by it."""
    chance, found, number = Random(seed), [], 0
    for like in good_rows():
        lines = [Case("", like, "", row=row).bad_line() for row in good_rows()[like]["rows"]]
        for damage in BY_CHANCE.values():
            for _ in range(rounds):
                number += 1
                reading = read_with(like, damage(chance.choice(lines), chance), _room(work, number))
                found.append((bool(reading.verdict.bad or reading.verdict.refused), reading.lost))
    return found


def damaged_files(work: Path, seed: int, rounds: int) -> Iterator[tuple[bool, int]]:
    """Whether a file whose bytes were turned or cut was refused, and rows that were lost where it was not.

    A gzip file knows its sum, so whatever is read of it is right; of others the rows that are read are counted.
    """
    chance, number = Random(seed), 0
    rows = good_rows()["pairs"]["rows"]
    for ending in (".jsonl.gz", ".json", ".parquet"):
        for _ in range(rounds):
            number += 1
            folder = _room(work, number)
            path = damaged(folder, rows, ending, "none")
            stored = bytearray(path.read_bytes())
            if chance.random() < 0.5:
                del stored[chance.randrange(len(stored)) :]
            else:
                stored[chance.randrange(len(stored))] ^= 1 << chance.randrange(8)
            path.write_bytes(bytes(stored))
            verdict = by_check(path)
            lost = 0
            if verdict.refused is None:
                written = gzip.decompress(bytes(stored)).count(b"\n") if ending == ".jsonl.gz" else len(rows)
                lost = abs(written - verdict.used - len(verdict.bad))
            yield verdict.refused is not None or bool(verdict.bad), lost


def inject(seed: int) -> list[Figure]:
    """Damage everything, and count."""
    # One warning a file, of thousands, says nothing.
    logging.getLogger("reward_models").setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    figures = []
    with TemporaryDirectory(prefix="prefopt-rows-") as place:
        work = Path(place)
        for name, found, note in (
            ("bad rows and files of the corpus, with the right reason", of_corpus(work), ""),
            ("rows that cannot be used by construction", by_construction(work), ""),
        ):
            figures.append(_figure(name, found, note))
        for name, found, held in (
            ("rows damaged by chance, beside good ones", by_chance(work, seed, ROUNDS), "none changed another"),
            ("files damaged by chance", list(damaged_files(work, seed, 10 * ROUNDS)), "no row is missing"),
        ):
            caught = sum(one for one, _ in found)
            rest = f"{caught:,} caught, the others are good rows still; held = none crashed, {held}"
            lost = sum(one for _, one in found)
            figures.append(Figure(name, len(found), len(found) - sum(one > 0 for _, one in found), lost, rest))
    return figures


def _figure(name: str, found: Sequence[tuple[bool, int]], note: str) -> Figure:
    return Figure(name, len(found), sum(caught for caught, _ in found), sum(lost for _, lost in found), note)


def _room(work: Path, number: int) -> Path:
    """An empty folder; one case's files make way for the next one's."""
    folder = work / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder
