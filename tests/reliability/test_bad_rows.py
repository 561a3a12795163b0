"""Bad rows: a corpus with verdicts, the same from the data check, the loaders and the trainers; and properties."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random
from time import perf_counter

import pytest
from datasets import Dataset

from prefopt.cli import main
from prefopt.trainers.data_record import read_record
from reward_models.data import REASONS, read_quarantine, sift, validate_splits
from reward_models.data.files import read_rows
from reward_models.errors import DataError
from scripts.faults.bad_rows import damaged_files, read_with
from scripts.faults.rows.corpus import PLACE, Case, corpus, good_rows
from scripts.faults.rows.damage import BY_CHANCE, hopeless
from scripts.faults.rows.verdicts import TRAINERS, by_check, by_loader, by_trainer

CASES = corpus()
OF_FILES = ("refused", "used", "counted", "leak")
BAD = [case for case in CASES if case.expect not in OF_FILES]


def of(expect: str) -> list[Case]:
    return [case for case in CASES if case.expect == expect]


def name(case: Case) -> str:
    return f"{case.like}: {case.case}"


def test_the_corpus_is_large_and_its_table_is_right() -> None:
    """At least forty bad rows and files, every kind of data, every reason that one row can have."""
    assert len(BAD) + len(of("refused")) >= 40
    assert {case.expect for case in BAD} == set(REASONS) - {"unscorable", "refused_by_template", "unrecognised_columns"}
    assert {case.kind for case in CASES} == set(TRAINERS)
    assert max(Counter(case.case for case in CASES).values()) == 1
    assert {case.like for case in CASES} == set(good_rows())


@pytest.mark.parametrize("like", good_rows())
def test_good_rows_are_good(like: str, tmp_path: Path) -> None:
    """What the cases are made of has no fault, and is recognised as its kind."""
    case = Case("good", like, "used", file={"damage": "none"})
    path = case.write(tmp_path)
    verdict = by_check(path)
    assert (verdict.refused, verdict.bad, verdict.used) == (None, (), len(case.good))
    assert by_loader(path, case.kind).used == len(case.good)


@pytest.mark.parametrize("case", BAD, ids=name)
def test_bad_rows(case: Case, tmp_path: Path) -> None:
    """One row is bad, for this reason, in this field and these words; all others are used, and none is lost.

    The check, the loader and the trainer say the same: number, field, reason and words; the trainer the fix, too.
    """
    path = case.write(tmp_path)
    checked = by_check(path, case.options)
    assert checked.refused is None
    assert [(row, field, reason) for row, field, reason, _ in checked.bad] == [(PLACE, case.field, case.expect)]
    assert case.words in checked.bad[0][3]
    assert checked.used == len(case.good)
    loaded = by_loader(path, case.kind, case.options)
    assert loaded.bad == checked.bad
    assert loaded.used == checked.used
    if not case.options:
        sentence = by_trainer(path, case.kind)
        assert sentence is not None
        for part in (str(path), f"row {PLACE}", case.field, case.expect, case.words, REASONS[case.expect]):
            assert part in sentence


@pytest.mark.parametrize("case", of("refused"), ids=name)
def test_bad_files(case: Case, tmp_path: Path) -> None:
    """A file that cannot be read at all is refused with a sentence that names it, in all three places."""
    path = case.write(tmp_path)
    for sentence in (by_check(path).refused, by_loader(path, case.kind).refused, by_trainer(path, case.kind)):
        assert sentence is not None
        assert case.words in sentence
        assert path.name in sentence


@pytest.mark.parametrize("case", of("used"), ids=name)
def test_what_only_looks_bad(case: Case, tmp_path: Path) -> None:
    """Every row is used; where the case is a row, that is one more than the good ones."""
    verdict = by_check(case.write(tmp_path))
    assert (verdict.refused, verdict.bad) == (None, ())
    assert verdict.used == len(case.good) + (not case.file)


@pytest.mark.parametrize("case", of("counted"), ids=name)
def test_what_only_several_rows_show(case: Case, tmp_path: Path) -> None:
    """Counted and said, with the row that it repeats or contradicts; no row is lost."""
    verdict = by_check(case.write(tmp_path))
    assert (verdict.bad, verdict.used) == ((), len(case.good) + 1)
    assert {key: verdict.counts[key] for key in case.counts} == case.counts if verdict.counts else False
    assert any(case.words in warning for warning in verdict.warnings)


@pytest.mark.parametrize("case", of("leak"), ids=name)
def test_leaks(case: Case, tmp_path: Path) -> None:
    """A prompt of the training data in the evaluation data, with another answer."""
    (tmp_path / "train").mkdir()
    train = Case("good", case.like, "used", file={"damage": "none"}).write(tmp_path / "train")
    held_out = tmp_path / "held_out.jsonl"
    held_out.write_bytes(case.bad_line() + b"\n")
    _, leaks = validate_splits([train, held_out])
    assert [(leak.prompts, leak.examples) for leak in leaks] == [(case.counts["prompts"], 1)]


@pytest.mark.parametrize("case", BAD[::9] + of("refused")[::4], ids=name)
def test_the_command_says_the_same(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`prefopt check-data`: exit status 1 with row, field, words and fix for bad rows, 2 for a file that is none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    path = case.write(tmp_path)
    if case.options:
        return
    status = main(["check-data", str(path)])
    printed = capsys.readouterr()
    if case.expect == "refused":
        assert status == 2
        assert case.words in printed.err
        return
    assert status == 1
    for part in (f"row {PLACE}", case.field, case.words, REASONS[case.expect], "quarantine.jsonl"):
        assert part in printed.out
    (line,) = (tmp_path / "quarantine.jsonl").read_text(encoding="ascii").strip().split("\n")
    assert json.loads(line)["reason"] == case.expect


@pytest.mark.parametrize("like", good_rows())
def test_rows_that_cannot_be_used_by_construction(like: str, tmp_path: Path) -> None:
    """A column of each kind in turn is what it must not be: caught each time, and no other row is touched."""
    for number, line in enumerate(hopeless(like, good_rows()[like]["rows"][0])):
        (tmp_path / str(number)).mkdir()
        reading = read_with(like, line, tmp_path / str(number))
        assert [row for row, *_ in reading.verdict.bad] == [PLACE], line
        assert reading.lost == 0, line


@pytest.mark.parametrize("like", good_rows())
def test_damage_by_chance(like: str, tmp_path: Path) -> None:
    """Bits turned, lines cut, values and names changed: nothing crashes, no row is lost, no other row is changed."""
    chance = Random(like)
    lines = [Case("", like, "", row=row).bad_line() for row in good_rows()[like]["rows"]]
    for number, damage in enumerate([*BY_CHANCE.values()] * 2):
        (tmp_path / str(number)).mkdir()
        line = damage(chance.choice(lines), chance)
        assert read_with(like, line, tmp_path / str(number)).lost == 0, line


def test_files_damaged_by_chance(tmp_path: Path) -> None:
    """Compressed, JSON and Parquet files with a turned bit or without their end: refused, or read without loss."""
    found = list(damaged_files(tmp_path, 0, 20))
    assert sum(lost for _, lost in found) == 0
    assert sum(caught for caught, _ in found) > len(found) / 2


@pytest.mark.parametrize("like", ["pairs", "chat", "unpaired", "prompts", "logged", "scored texts"])
def test_the_record_of_a_run_adds_up(like: str, tmp_path: Path) -> None:
    """Three good rows and one without words: rows 4, used 3, bad 1, and the file that holds it has one line."""
    rows, kind = good_rows()[like]["rows"], good_rows()[like]["kind"]
    text = next(column for column in ("completion", "rejected", "text", "prompt") if column in rows[0])
    path = Case("", like, "", change={text: ""}).write(tmp_path)
    TRAINERS[kind](path, "quarantine", tmp_path / "run")
    (record,) = read_record(tmp_path / "run").values()
    assert (record["rows"], record["used"], record["bad"]) == (len(rows) + 1, len(rows), 1)
    assert sum(record["reasons"].values()) == 1
    assert [row.row_number for row in read_quarantine(record["quarantine"])] == [PLACE]


def test_tables_in_memory_pass_the_same_validator(tmp_path: Path) -> None:
    """A table of prompts and one of pairs: the bad row is named, or set apart with all columns of the others kept."""
    prompts = Dataset.from_list([{"prompt": "a", "own": {"x": 1}}, {"prompt": " ", "own": {"x": 2}}])
    with pytest.raises(DataError, match=r"training data, row 2, field 'prompt': has no words"):
        sift(prompts, "prompts", "training data")
    kept, report = sift(
        prompts, "prompts", "training data", on_bad_row="quarantine", quarantine_path=tmp_path / "bad.jsonl"
    )
    assert kept.to_list() == [{"prompt": "a", "own": {"x": 1}}]
    assert (report.rows, report.used, report.bad_count) == (2, 1, 1)
    pairs = Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}])
    assert sift(pairs, "preferences", "training data")[0] is pairs


def test_long_lines_take_no_time(tmp_path: Path) -> None:
    """A line of code that breaks off behind 40,000 quotes, and an object of 40,000 names with one of them twice.

    Looked through once each, they take milliseconds; once a quote or name, minutes.
    """
    torn = b'{"prompt": "' + b"[" * 101 + b'x = \\"a\\"; ' * 20_000
    names = b"{" + b", ".join(b'"%d": 0' % number for number in [*range(40_000), 39_999]) + b"}"
    path, begin = tmp_path / "rows.jsonl", perf_counter()
    path.write_bytes(torn + b"\n" + names + b"\n")
    found = [row for _, row in read_rows(path)]
    assert [row.reason for row in found] == ["unparseable_json", "duplicate_keys"]
    assert found[1].field == "39999"
    assert perf_counter() - begin < 5
