"""Every format and every kind of source gives the same rows; damaged files are named in the error."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from reward_models.data import load_preferences, load_prompts, validate
from reward_models.data.files import read_rows
from reward_models.errors import DataError

ROWS = [
    {"prompt": "2+2?", "chosen": "4", "rejected": "5"},
    {"prompt": "line\u2028separator\u0085", "chosen": "a\r\nb", "rejected": "é"},
]


def as_jsonl(rows: list) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_parquet(rows: list) -> bytes:
    buffer = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    return buffer.getvalue().to_pybytes()


def as_columns(rows: list) -> bytes:
    return json.dumps({name: [row[name] for row in rows] for name in rows[0]}).encode()


FILES = {
    "pairs.jsonl": as_jsonl(ROWS),
    "pairs.ndjson": as_jsonl(ROWS),
    "pairs.json": json.dumps(ROWS).encode(),
    "columns.json": as_columns(ROWS),
    "wrapped.json": json.dumps({"version": 1, "data": ROWS}).encode(),
    "really_jsonl.json": as_jsonl(ROWS),
    "pairs.parquet": as_parquet(ROWS),
    "mark.jsonl": b"\xef\xbb\xbf" + as_jsonl(ROWS),
    "windows.jsonl": as_jsonl(ROWS).replace(b"}\n", b"}\r\n"),
    "blank_lines.jsonl": b"\n" + as_jsonl(ROWS).replace(b"}\n", b"}\n\n  \n"),
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_every_format(tmp_path: Path, name: str, zipped: bool) -> None:
    """The second row holds U+2028, U+0085 and CR LF inside its strings: none of them ends a line."""
    path = tmp_path / (name + ".gz" if zipped else name)
    path.write_bytes(gzip.compress(FILES[name]) if zipped else FILES[name])
    assert load_preferences(path).to_list() == ROWS
    assert list(load_preferences(path, streaming=True)) == ROWS


def test_line_numbers_count_blank_lines(tmp_path: Path) -> None:
    """Rows stand in lines 2 and 4."""
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(b"\n" + as_jsonl(ROWS[:1]) + b"\n" + as_jsonl(ROWS[1:]))
    assert [number for number, _ in read_rows(path)] == [2, 4]


def test_sources_in_memory() -> None:
    """A list, a `Dataset`, a `DatasetDict` by split."""
    train, test = datasets.Dataset.from_list(ROWS[:1]), datasets.Dataset.from_list(ROWS[1:])
    splits = datasets.DatasetDict({"train": train, "test": test})
    assert load_preferences(ROWS).to_list() == ROWS
    assert load_preferences(train).to_list() == ROWS[:1]
    assert load_preferences(splits).to_list() == ROWS[:1]
    assert load_preferences(splits, split="test").to_list() == ROWS[1:]
    with pytest.raises(DataError, match="there is no split 'validation'; splits are train, test"):
        load_preferences(splits, split="validation")


def test_a_folder_in_the_layout_of_the_hub(tmp_path: Path) -> None:
    """`datasets.load_dataset` reads the folder: its file names are the splits."""
    (tmp_path / "train.jsonl").write_bytes(as_jsonl(ROWS[:1]))
    (tmp_path / "test.jsonl").write_bytes(as_jsonl(ROWS[1:]))
    assert load_preferences(tmp_path).to_list() == ROWS[:1]
    assert load_preferences(str(tmp_path), split="test").to_list() == ROWS[1:]
    assert list(load_preferences(tmp_path, split="test", streaming=True)) == ROWS[1:]


def test_a_folder_saved_to_disk(tmp_path: Path) -> None:
    """What `load_preferences` gave can be saved and loaded again."""
    load_preferences(ROWS).save_to_disk(tmp_path / "saved")
    assert load_preferences(tmp_path / "saved").to_list() == ROWS


def test_several_files_become_subsets(tmp_path: Path) -> None:
    """By pattern in the order of names, by list in the order given; `subset` is the file's name."""
    (tmp_path / "easy.jsonl").write_bytes(as_jsonl(ROWS[:1]))
    (tmp_path / "hard.jsonl").write_bytes(as_jsonl(ROWS[1:]))
    assert load_preferences(tmp_path / "*.jsonl")["subset"][:] == ["easy", "hard"]
    assert load_preferences([tmp_path / "hard.jsonl", tmp_path / "easy.jsonl"])["subset"][:] == ["hard", "easy"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cut.jsonl.gz", gzip.compress(as_jsonl(ROWS), mtime=0)[:-12], "damaged or cut off"),
        ("no.jsonl.gz", as_jsonl(ROWS), "damaged or cut off"),
        ("no.json", b"{'a': 1}", "no JSON: .* at line 1, column 2"),
        ("latin.json", '["é"]'.encode("latin-1"), "is no UTF-8"),
        ("no.parquet", b"PAR1 but no more", "no Parquet file"),
        ("empty.jsonl", b"", "there are no rows"),
        ("empty.json", b"[]", "there are no rows"),
        ("pairs.csv", b"prompt,chosen,rejected", "neither a file|unknown format"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """The error names the file and what is wrong with it."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_preferences(path)
    assert name in str(caught.value)


def test_a_missing_file_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    """The nearest name in the folder is offered."""
    (tmp_path / "train.jsonl").write_bytes(as_jsonl(ROWS))
    with pytest.raises(DataError, match=r"no such file. Did you mean .*train\.jsonl"):
        load_preferences(tmp_path / "trian.jsonl")
    with pytest.raises(DataError, match="no file matches"):
        load_preferences(tmp_path / "*.parquet")
    with pytest.raises(DataError, match="a file has no split 'test'"):
        load_preferences(tmp_path / "train.jsonl", split="test")


def test_numbers_and_text_in_one_column_become_text() -> None:
    """Ids 7 and "a": the column is text; 1 and 0.5 are floats; a column of nulls is left out."""
    rows = [{**ROWS[0], "id": 7, "x": 1, "none": None}, {**ROWS[1], "id": "a", "x": 0.5, "none": None}]
    dataset = load_preferences(rows)
    assert dataset["id"][:] == ["7", "a"]
    assert dataset["x"][:] == [1.0, 0.5]
    assert "none" not in dataset.column_names


def test_columns_that_change_after_thousands_of_rows() -> None:
    """Rows are tabled in chunks of 5,000: a column that is null, then an integer, then a float is one float column."""
    values = [None] * 5000 + [1] * 5000 + [0.5]
    rows = [{"prompt": f"{i}", "chosen": "a", "rejected": "b", "x": value} for i, value in enumerate(values)]
    rows[10_000]["margin"] = 2
    dataset = load_preferences(rows)
    assert dataset["x"][:] == [None if value is None else float(value) for value in values]
    assert dataset["margin"][:] == [None] * 10_000 + [2.0]


def test_prompts_with_answers() -> None:
    """The short answer after ####, thousands separators out; other conventions keep their ground truth."""
    gsm8k = {"question": "How much?", "answer": "500 * 3 = 1500\n#### 1,500"}
    row = load_prompts([gsm8k])[0]
    assert (row["prompt"], row["answer"], row["solution"]) == ("How much?", "1500", gsm8k["answer"])
    chat = [{"role": "user", "content": "2+2?"}]
    verl = {"data_source": "x", "prompt": chat, "ability": "maths", "extra_info": {"split": "train"}}
    row = load_prompts([{**verl, "reward_model": {"style": "rule", "ground_truth": "4"}}])[0]
    assert (row["prompt"], row["answer"], row["data_source"]) == (chat, "4", "x")
    row = load_prompts([{"messages": chat, "ground_truth": "4", "dataset": "gsm8k"}])[0]
    assert (row["prompt"], row["answer"], row["dataset"]) == (chat, "4", "gsm8k")
    assert load_prompts([{"prompt": "2+2?", "answer": "4"}]).to_list() == [{"prompt": "2+2?", "answer": "4"}]


def test_a_preference_file_without_its_rejected_is_not_taken_for_prompts() -> None:
    """`prompt` and `chosen` are no list of prompts: the kind stays open and every row is reported."""
    report = validate([{"prompt": "a", "chosen": "b"}])
    assert (report.shape, report.bad) == (None, {"unrecognised_columns": 1})
