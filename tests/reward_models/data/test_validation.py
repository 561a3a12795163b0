"""The validator: a corpus of corrupt rows, arbitrary JSON, warnings that are no fault of a row, limits in tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reward_models.data import REASONS, load_preferences_with_report, read_quarantine, validate, validate_splits
from reward_models.data.faults import BadRow
from reward_models.data.recognise import recognise
from reward_models.data.shapes import LABELLED, PREFERENCES, TASKS
from reward_models.data.sources import NumberedRow, Source, open_source
from reward_models.data.tokens import TokenLimit
from reward_models.data.validation import GoodRow, examine

from .corrupt_rows import GOOD, LINES, ROWS
from .shape_examples import EXAMPLES


def test_the_corpus_is_large_and_covers_every_reason() -> None:
    """All reasons but those that need a tokenizer, several kinds of data or files; they have tests of their own."""
    assert len(LINES) + len(ROWS) >= 40
    covered = {reason for _, reason, _ in LINES} | {reason for *_, reason, _ in ROWS}
    elsewhere = {"over_length", "zero_trainable_tokens", "identical_after_truncation", "unrecognised_columns"}
    elsewhere |= {"unsupported_tests", "refused_by_template", "unscorable", "roles_out_of_order", "duplicate_keys"}
    assert covered | elsewhere == set(REASONS)


@pytest.mark.parametrize(("line", "reason", "field"), LINES, ids=[f"{i} {line[1]}" for i, line in enumerate(LINES)])
def test_corrupt_lines(tmp_path: Path, line: bytes, reason: str, field: str) -> None:
    """Lines 1 to 3 and 5 are good. Line 4 is bad for this reason, and its number is 4. No line is lost.

    A line that holds a line break is two bad lines.
    """
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(b"\n".join([GOOD, GOOD, GOOD, line, GOOD, b""]))
    report = validate(path, quarantine_path=tmp_path / "bad.jsonl")
    assert report.examples == 4
    assert report.bad == {reason: 1 + line.count(b"\n")}
    first = read_quarantine(tmp_path / "bad.jsonl")[0]
    assert (first.row_number, first.field, first.reason) == (4, field, reason)
    assert report.rows == 4 + report.bad_count


@pytest.mark.parametrize(("good", "change", "reason", "field"), ROWS, ids=[f"{i} {r[2]}" for i, r in enumerate(ROWS)])
def test_corrupt_rows(good: dict, change: dict, reason: str, field: str) -> None:
    """Row 3 of three is the good row with one field changed."""
    report = validate([good, good, {**good, **change}], kind="preferences")
    assert report.rows == 3
    assert [(row.row_number, row.reason, row.field) for row in report.bad_rows] == [(3, reason, field)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\ud800", "\u2028", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
SHAPES = (*PREFERENCES, *LABELLED, *TASKS)


@st.composite
def nearly_rows(draw: st.DrawFn) -> Any:
    """A row with the columns of some shape and arbitrary values, a good row with one value replaced, or any JSON."""
    kind = draw(st.integers(0, 2))
    if kind == 0:
        return draw(JSON)
    if kind == 1:
        return {column: draw(JSON) for column in draw(st.sampled_from(SHAPES)).columns}
    row = dict(draw(st.sampled_from([row for _, rows, _ in EXAMPLES for row in rows])))
    row[draw(st.sampled_from(sorted(row)))] = draw(JSON)
    return row


def in_memory(rows: list[Any]) -> Source:
    """Rows as they are; a bare list of strings would be taken for file names."""
    return Source("rows", lambda: (NumberedRow("rows", i, row) for i, row in enumerate(rows, start=1)))


@settings(max_examples=300, deadline=None)
@given(st.lists(nearly_rows(), max_size=6), st.sampled_from(SHAPES))
def test_nothing_raises_and_nothing_is_lost(rows: list[Any], shape: Any) -> None:
    """Whatever the rows and whatever the shape: one result a row, in order, good or bad with a reason."""
    results = list(examine(in_memory(rows or [None]).read(), shape))
    assert [result.row_number for result in results] == list(range(1, len(rows or [None]) + 1))
    for result in results:
        assert isinstance(result, (GoodRow, BadRow))
        if isinstance(result, BadRow):
            assert result.reason in REASONS
            assert json.loads(result.to_json())["row_number"] == result.row_number


@settings(max_examples=100, deadline=None)
@given(st.lists(nearly_rows(), min_size=1, max_size=8))
def test_validate_accounts_for_every_row(rows: list[Any]) -> None:
    """Rows = good + bad, with the recognised shape or with none."""
    report = validate(in_memory(rows))
    assert report.rows == len(rows)
    assert 0 <= report.bad_count <= report.rows
    if recognise(rows, SHAPES) is None:
        assert report.bad_count == report.rows


@settings(max_examples=60, deadline=None)
@given(st.lists(nearly_rows(), min_size=1, max_size=5))
def test_what_is_good_loads(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    """Beside four good rows, arbitrary rows either load as well or lie in the quarantine file; the sum is right."""
    folder = tmp_path_factory.mktemp("quarantine")
    good = [{"prompt": f"{i}+1?", "chosen": str(i + 1), "rejected": str(i)} for i in range(20)]
    dataset, report = load_preferences_with_report(
        in_memory([*good, *rows]), on_bad_row="quarantine", quarantine_path=folder / "bad.jsonl"
    )
    bad = read_quarantine(folder / "bad.jsonl") if report.bad_count else []
    assert len(bad) == report.bad_count
    assert len(dataset) + len(bad) + report.without_pairs == 20 + len(rows)
    assert dataset[:20]["chosen"] == [row["chosen"] for row in good]


def pair(prompt: str, chosen: str, rejected: str) -> dict[str, str]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def test_duplicates_and_contradictions_are_counted_and_kept() -> None:
    """Row 3 repeats row 1 but for space; row 4 reverses row 2. Four pairs, none bad."""
    rows = [pair("p", "a", "b"), pair("q", "a", "b"), pair("p", "a ", " b"), pair("q", "b", "a")]
    report = validate(rows)
    assert (report.examples, report.bad_count, report.duplicates, report.contradictions) == (4, 0, 1, 1)
    assert report.warnings == ("row 3 repeats row 1", "row 4 prefers the answer that row 2 rejects")


def test_contradictory_labels() -> None:
    """The same completion with both verdicts."""
    rows = [{"prompt": "p", "completion": "a", "label": label} for label in (True, False)]
    report = validate(rows)
    assert (report.kind, report.contradictions, report.duplicates) == ("unpaired", 1, 0)


def test_leaks_between_splits() -> None:
    """Prompt q is in both; the second set holds it twice."""
    train, test = (
        [pair("p", "a", "b"), pair("q", "a", "b")],
        [pair("q", "c", "d"), pair("q", "e", "f"), pair("r", "a", "b")],
    )
    _, leaks = validate_splits([train, test])
    assert [(leak.prompts, leak.examples) for leak in leaks] == [(1, 2)]
    assert validate_splits([train, [pair("s", "a", "b")]])[1] == []


def test_lengths() -> None:
    """Prompts of 1, 2, 3 characters: median 2, 95% 1 + 0.95 * 2 = 2.9, maximum 3."""
    report = validate([pair("a" * n, "x", "y") for n in (1, 2, 3)])
    assert report.lengths["prompt"].median == 2
    assert report.lengths["prompt"].p95 == pytest.approx(2.9)
    assert report.lengths["prompt"].maximum == 3


class Letters:
    """A tokenizer with one token a character and a separator at the end."""

    chat_template = None

    def __call__(self, texts: list[str], **options: Any) -> dict[str, list[list[int]]]:
        return {"input_ids": [[*map(ord, text), 0] for text in texts]}


def reasons(rows: list[dict], **limit: Any) -> list[str | None]:
    shape = recognise(rows, PREFERENCES)
    results = examine(open_source(rows).read(), shape, TokenLimit(Letters(), **limit))
    return [result.reason if isinstance(result, BadRow) else None for result in results]


def test_token_limits() -> None:
    """One token a letter and one separator, eight allowed.

    "abc" + "de" + end = 6: fine. "abc" + "defgh" + end = 9: too long, but with truncation "defgh" is left of it.
    A prompt of 8 letters leaves nothing. "abcdeXY" and "abcdeXZ" differ in letter 7; with 6 allowed they are the same.
    """
    rows = [pair("abc", "de", "fg"), pair("abc", "defgh", "x"), pair("abcdefgh", "x", "y")]
    assert reasons(rows, max_length=8) == [None, "over_length", "zero_trainable_tokens"]
    assert reasons(rows, max_length=8, allow_truncation=True) == [None, None, "zero_trainable_tokens"]
    assert reasons([pair("abc", "deXY", "deXZ")], max_length=6, allow_truncation=True) == ["identical_after_truncation"]
    assert reasons(rows) == [None, None, None]


def test_silent_turns_of_transcripts_are_kept() -> None:
    """People judged the silence, so the pair stays; it is counted. In other shapes an empty answer is a fault."""
    rows = [{"chosen": "\n\nHuman: a\n\nAssistant:", "rejected": "\n\nHuman: a\n\nAssistant: b"}]
    report = validate(rows)
    assert (report.examples, report.silent, report.bad_count) == (1, 1, 0)
    assert reasons(rows, max_length=30) == [None]
