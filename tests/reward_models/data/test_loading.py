"""Options of the loaders: bad rows, ceilings, ties, streaming, answers with labels."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from reward_models.data import (
    load_preferences,
    load_preferences_with_report,
    load_prompts,
    load_unpaired,
    read_quarantine,
)
from reward_models.errors import DataError


def pairs(count: int) -> list[dict]:
    return [{"prompt": f"{i}+1?", "chosen": str(i + 1), "rejected": str(i)} for i in range(count)]


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


BAD = {"prompt": "a", "chosen": "", "rejected": "b"}


def test_a_bad_row_raises_by_default(tmp_path: Path) -> None:
    """The message names file, row, field, reason and the fix."""
    path = write(tmp_path / "pairs.jsonl", [*pairs(2), BAD])
    with pytest.raises(DataError) as caught:
        load_preferences(path)
    message = str(caught.value)
    assert f"{path}, row 3, field 'chosen'" in message
    assert "1 of 3 rows cannot be used (empty_answer 1)" in message
    assert "give one or remove the row" in message
    assert "on_bad_row='quarantine'" in message


def test_quarantine_keeps_the_bad_row(tmp_path: Path) -> None:
    """Three rows in, two out, one in the file with all that it held."""
    path, bad = write(tmp_path / "pairs.jsonl", [*pairs(2), BAD]), tmp_path / "folder" / "bad.jsonl"
    assert len(load_preferences(path, on_bad_row="quarantine", quarantine_path=bad)) == 2
    (row,) = read_quarantine(bad)
    assert (row.source, row.row_number, row.field, row.reason, row.row) == (
        str(path),
        3,
        "chosen",
        "empty_answer",
        BAD,
    )


def test_two_sources_have_two_quarantine_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default in the working directory, under the name of the source."""
    monkeypatch.chdir(tmp_path)
    for name in ("train.v2.jsonl", "test.jsonl"):
        load_preferences(write(tmp_path / name, [*pairs(2), BAD]), on_bad_row="quarantine")
    assert len(read_quarantine("train_v2.quarantine.jsonl")) == len(read_quarantine("test.quarantine.jsonl")) == 1


def test_duplicates_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Both rows stay."""
    assert len(load_preferences([*pairs(1), *pairs(1)])) == 2
    assert "1 duplicates, 0 contradictions; their rows stay" in caplog.text


def test_a_clean_source_makes_no_quarantine_file(tmp_path: Path) -> None:
    """The file comes into being with its first row."""
    load_preferences(pairs(2), on_bad_row="quarantine", quarantine_path=tmp_path / "bad.jsonl")
    assert not (tmp_path / "bad.jsonl").exists()


def test_the_ceiling(tmp_path: Path) -> None:
    """A tenth of the rows, and always ten: 10 of 11 pass, 11 of 12 do not, 20 of 200 pass, 21 do not. A given ceiling
    is exact: 2 of 10 are more than 0.1. The rows are in the file in any case.
    """
    bad = tmp_path / "bad.jsonl"

    def load(good: int, broken: int, **options: float) -> int:
        rows = [*pairs(good), *[BAD] * broken]
        return len(load_preferences(rows, on_bad_row="quarantine", quarantine_path=bad, **options))

    assert load(1, 10) == 1
    assert load(180, 20) == 180
    for good, broken, options in [(1, 11, {}), (179, 21, {}), (8, 2, {"max_bad_fraction": 0.1})]:
        with pytest.raises(DataError, match="more than the"):
            load(good, broken, **options)
        assert len(read_quarantine(bad)) == broken


def test_nothing_but_bad_rows_is_an_error(tmp_path: Path) -> None:
    """Also below the ceiling: an empty training set is no success."""
    with pytest.raises(DataError, match="gave no preferences: 0 ties, 0 prompts without a pair, 2 bad rows"):
        load_preferences([BAD, BAD], on_bad_row="quarantine", quarantine_path=tmp_path / "bad.jsonl")


def test_ties() -> None:
    """Dropped, or kept as 0.5 beside 1 for the certain pair; the report counts the tie either way."""
    context = [{"role": "user", "content": "Hi"}]
    rows = [
        {"context": context, "response1": "a", "response2": "b", "overall_preference": strength} for strength in (-1, 0)
    ]
    dropped, report = load_preferences_with_report(rows)
    assert (len(dropped), report.ties, report.without_pairs) == (1, 1, 1)
    assert "label_chosen_preferred" not in dropped.column_names
    soft, report = load_preferences_with_report(rows, ties="soft")
    assert (soft["label_chosen_preferred"][:], report.ties, report.without_pairs) == ([1.0, 0.5], 1, 0)
    assert soft["margin"][:] == [1.0, 0.0]


def test_streaming_reads_no_further_than_asked() -> None:
    """Of ten million rows, the loader reads a sample and the first chunk of 5,000 pairs, never the end."""
    from reward_models.data.sources import NumberedRow, Source

    furthest = 0

    def read():
        nonlocal furthest
        for i in range(1, 10_000_001):
            furthest = max(furthest, i)
            yield NumberedRow("rows", i, {"prompt": str(i), "chosen": "a", "rejected": "b"})

    stream = load_preferences(Source("rows", read), streaming=True)
    assert [row["prompt"] for row in itertools.islice(stream, 3)] == ["1", "2", "3"]
    assert furthest <= 10_000


def test_streaming_equals_loading(tmp_path: Path) -> None:
    """The same rows in two passes; a bad row stops a stream at once, or is written in each pass."""
    rows = [*pairs(3), {**pairs(1)[0], "margin": 2.0}]
    path = write(tmp_path / "pairs.jsonl", rows)
    stream = load_preferences(path, streaming=True)
    assert list(stream) == list(stream) == load_preferences(path).to_list()
    broken, bad = write(tmp_path / "broken.jsonl", [*rows, BAD]), tmp_path / "bad.jsonl"
    with pytest.raises(DataError, match="row 5"):
        list(load_preferences(broken, streaming=True))
    stream = load_preferences(broken, streaming=True, on_bad_row="quarantine", quarantine_path=bad)
    assert len(list(stream)) == len(list(stream)) == 4
    assert len(read_quarantine(bad)) == 1


def test_unpaired_conventions() -> None:
    """TRL, both of LLaMA-Factory, several solutions, steps."""
    chat = [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}]
    solved = {"question": "2+2?", "ground_truth": "4", "m": {"solution": "4", "is_correct": True}}
    steps = {"question": "2+2?", "model_output_steps": ["a", "b"], "model_output_solution_correctness": "wrong"}
    expected = {"prompt": "2+2?", "completion": "4", "label": True}
    assert load_unpaired([{"prompt": "2+2?", "completion": "4", "label": True}]).to_list() == [expected]
    assert load_unpaired([{"instruction": "2+2?", "output": "4", "kto_tag": True}]).to_list() == [expected]
    assert load_unpaired([solved]).to_list() == [{**expected, "model": "m"}]
    assert load_unpaired([steps]).to_list() == [{**expected, "completion": "a\nb", "label": False}]
    row = load_unpaired([{"conversations": chat, "kto_tag": False}])[0]
    assert row["prompt"] == [{"role": "user", "content": "2+2?"}]
    assert row["completion"] == [{"role": "assistant", "content": "4"}]
    with pytest.raises(DataError, match="unknown_label"):
        load_unpaired([{"prompt": "2+2?", "completion": "4", "label": 2}])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ties": "keep"}, "ties='keep' is unknown; choose one of drop, soft"),
        ({"pair_rule": "best"}, "pair_rule='best' is unknown; choose one of all, best_vs_lower, best_vs_worst"),
        ({"on_bad_row": "ignore"}, "on_bad_row='ignore' is unknown; choose one of raise, quarantine"),
    ],
)
def test_unknown_choices(options: dict, message: str) -> None:
    """Each error lists the choices."""
    with pytest.raises(DataError, match=message):
        load_preferences(pairs(1), **options)


def test_unknown_options_are_type_errors() -> None:
    """As for any function; the streaming and the plain loader alike."""
    for load in (load_preferences, load_prompts, load_unpaired):
        with pytest.raises(TypeError, match="spilt"):
            load(pairs(1), spilt="train")
    with pytest.raises(TypeError, match="spilt"):
        load_preferences(pairs(1), spilt="train", streaming=True)
