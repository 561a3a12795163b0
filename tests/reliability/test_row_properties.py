"""What holds of the validator for any rows: nothing crashes, nothing is lost, no row speaks for another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reward_models.data import load_preferences, load_with_report, read_quarantine, validate
from reward_models.data.faults import BadRow
from reward_models.data.quarantine import Quarantine
from reward_models.data.reading import KINDS
from reward_models.data.sources import NumberedRow, Source
from reward_models.errors import DataError
from scripts.faults.rows.corpus import Case, corpus, good_rows

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["\ud800", "\u2028", "\0", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1).filter(str.strip)
CHANGED = ("empty_prompt", "wrong_type", "not_finite")
BAD = [case for case in corpus() if case.like == "pairs" and case.change and case.expect in CHANGED]
ROWS = st.builds(
    lambda number, prompt, kind: {
        "prompt": f"{number} {prompt}",
        "chosen": "yes",
        "rejected": "no",
        **(BAD[kind % len(BAD)].change or {} if kind % 3 == 0 else {}),
    },
    st.integers(0, 10**9),
    st.text(max_size=5).filter(lambda text: "\0" not in text and text.isascii()),
    st.integers(0, 100),
)


def in_memory(rows: list[Any]) -> Source:
    """Rows as they are; a bare list of strings would be taken for file names."""
    return Source("rows", lambda: (NumberedRow("rows", i, row) for i, row in enumerate(rows, start=1)))


def read(load: Callable[[], Any]) -> tuple[Any, str]:
    """What is loaded, or None with the sentence of the refusal."""
    try:
        return load(), ""
    except DataError as error:
        return None, str(error)


def verdicts(rows: list[Any]) -> list[tuple[str, str, str] | None]:
    """What is wrong with each row; None where nothing is."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bad.jsonl"
        report = validate(in_memory(rows), kind="preferences", quarantine_path=path)
        bad = (
            {row.row_number: (row.field, row.reason, row.detail) for row in read_quarantine(path)} if report.bad else {}
        )
    assert report.rows == report.used + report.bad_count == len(rows)
    return [bad.get(number) for number in range(1, len(rows) + 1)]


@st.composite
def nearly_rows(draw: st.DrawFn) -> Any:
    """A good row of some kind with one column replaced, or any JSON."""
    if draw(st.booleans()):
        return draw(JSON)
    row = dict(draw(st.sampled_from([row for kind in good_rows().values() for row in kind["rows"]])))
    row[draw(st.sampled_from(sorted(row)))] = draw(JSON)
    return row


@settings(max_examples=150, deadline=None)
@given(st.lists(nearly_rows(), min_size=1, max_size=5), st.sampled_from(sorted(KINDS)))
def test_any_rows_of_any_kind(rows: list[Any], kind: str) -> None:
    """Loaded, or refused with a sentence that names a row or columns; and whatever is set apart can be read again."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bad.jsonl"
        settings = {"on_bad_row": "quarantine", "quarantine_path": path, "max_bad_fraction": 1.0}
        report, sentence = read(lambda: load_with_report(in_memory(rows), kind, **settings)[1])
        if report is None:
            assert "rows" in sentence
            return
        assert report.rows == report.used + report.bad_count == len(rows)
        assert len(read_quarantine(path) if report.quarantine else []) == report.bad_count


@settings(max_examples=60, deadline=None)
@given(nearly_rows())
def test_a_run_stops_with_the_row_named(row: Any) -> None:
    """Behind two good rows, a row of any kind is used or named: never anything but a `DataError`."""
    good = good_rows()["pairs"]["rows"][:2]
    found, sentence = read(lambda: load_preferences(in_memory([*good, row])))
    assert found is not None or "row 3" in sentence


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=6))
def test_good_rows_survive(texts: list[tuple[str, str, str]]) -> None:
    """Written, read, written and read again, valid pairs are what they were, to the letter."""
    rows = [{"prompt": p, "chosen": "+" + c, "rejected": "-" + r} for p, c, r in texts]
    with TemporaryDirectory() as folder:
        path, again = Path(folder) / "rows.jsonl", Path(folder) / "again.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        first = load_preferences(path).to_list()
        again.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in first), encoding="utf-8")
        assert first == rows
        assert load_preferences(again).to_list() == rows


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(JSON, st.text()), min_size=1, max_size=4))
def test_bad_rows_survive(found: list[tuple[Any, str]]) -> None:
    """What is set apart is read again as it was, with surrogates, NaN and all."""
    rows = [BadRow("rows", i, "field", "wrong_type", detail, row) for i, (row, detail) in enumerate(found, start=1)]
    with TemporaryDirectory() as folder:
        with Quarantine(Path(folder) / "bad.jsonl") as quarantine:
            for row in rows:
                quarantine.add(row)
        read = read_quarantine(Path(folder) / "bad.jsonl")
    assert [row.to_json() for row in read] == [row.to_json() for row in rows]


@settings(max_examples=60, deadline=None)
@given(st.lists(ROWS, min_size=2, max_size=8), st.integers(0, 10**6))
def test_another_order_is_another_order_of_verdicts(rows: list[Any], seed: int) -> None:
    """A row is judged by what it holds, not by where it stands."""
    order = list(range(len(rows)))
    Random(seed).shuffle(order)
    here = verdicts(rows)
    assert verdicts([rows[i] for i in order]) == [here[i] for i in order]


@settings(max_examples=60, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=6), st.sampled_from(BAD), st.integers(0, 6))
def test_a_bad_row_changes_nothing_for_others(rows: list[Any], case: Case, place: int) -> None:
    """One bad row more, anywhere: it is bad, and all others are what they were."""
    good = {"prompt": "another", "chosen": "yes", "rejected": "no"}
    bad = {**good, **(case.change or {})}
    place = min(place, len(rows))
    before = verdicts([*rows, good, good])
    after = verdicts([*rows[:place], bad, *rows[place:], good, good])
    assert after[place] is not None
    assert [*after[:place], *after[place + 1 :]] == before


def test_quarantine_has_a_ceiling(tmp_path: Path) -> None:
    """Eleven bad rows of a hundred are more than a tenth; ten are not. Both times all of them are in the file."""
    for bad, fits in ((10, True), (11, False)):
        rows = [{"prompt": f"{i}?", "chosen": "yes", "rejected": "no" if i >= bad else ""} for i in range(100)]
        path = tmp_path / f"{bad}.jsonl"
        if fits:
            data, report = load_with_report(rows, "preferences", on_bad_row="quarantine", quarantine_path=path)
            assert (len(data), report.used, report.bad_count) == (90, 90, 10)
        else:
            with pytest.raises(
                DataError, match=r"11 of 100 rows cannot be used .*, more than the 10 that max_bad_fraction"
            ):
                load_with_report(rows, "preferences", on_bad_row="quarantine", quarantine_path=path)
        assert len(read_quarantine(path)) == bad
