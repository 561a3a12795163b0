"""`prefopt check-data` as a user sees it: the table, the quarantine file, the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefopt.cli import main
from tests.tiny import tiny_tokenizer


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


def write(path: Path, *rows: dict) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.name


def pair(prompt: str, chosen: str, rejected: str) -> dict:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def test_a_clean_file(folder: Path, capsys: pytest.CaptureFixture) -> None:
    """Status 0, no quarantine file; prompts of 4 and 6 characters: median 5."""
    name = write(folder / "pairs.jsonl", pair("2+2?", "4", "5"), pair("10+10?", "20", "0"))
    assert main(["check-data", name]) == 0
    output = capsys.readouterr().out
    assert "preference pairs" in output
    assert "2 pairs" in output
    assert "5 / 6 / 6" in output
    assert not (folder / "quarantine.jsonl").exists()


def test_bad_rows(folder: Path, capsys: pytest.CaptureFixture) -> None:
    """Status 1; the table counts the reason, names row and field, and says where the rows went."""
    name = write(folder / "pairs.jsonl", pair("2+2?", "4", "5"), pair("2+2?", "4", ""))
    assert main(["check-data", name, "--quarantine", "bad.jsonl"]) == 1
    output = capsys.readouterr().out
    assert "pairs.jsonl, row 2: rejected: has no words" in output
    assert "empty_answer" in output
    assert "bad.jsonl" in output
    (row,) = [json.loads(line) for line in (folder / "bad.jsonl").read_text().split("\n") if line]
    assert (row["row_number"], row["field"], row["reason"], row["row"]["prompt"]) == (
        2,
        "rejected",
        "empty_answer",
        "2+2?",
    )


def test_json_and_leaks(folder: Path, capsys: pytest.CaptureFixture) -> None:
    """Both files hold the prompt p; --strict makes that a failure. Bad rows of both go to one file."""
    train = write(folder / "train.jsonl", pair("p", "a", "b"), pair("q", "a", "b"), pair("", "a", "b"))
    test = write(folder / "test.jsonl", pair("p", "c", "d"), pair("r", "a", "a"))
    assert main(["check-data", "--data", train, test, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(r["rows"], r["examples"], r["bad"]) for r in found["reports"]] == [
        (3, 2, {"empty_prompt": 1}),
        (2, 1, {"identical_answers": 1}),
    ]
    assert found["leaks"] == [{"first": "train.jsonl", "second": "test.jsonl", "prompts": 1, "examples": 1}]
    assert len((folder / "quarantine.jsonl").read_text().strip().split("\n")) == 2


def test_strict_counts_warnings(folder: Path) -> None:
    """A contradiction alone is status 0, with --strict 1."""
    name = write(folder / "pairs.jsonl", pair("p", "a", "b"), pair("p", "b", "a"))
    assert main(["check-data", name]) == 0
    assert main(["check-data", name, "--strict"]) == 1


def test_tokens(folder: Path, capsys: pytest.CaptureFixture) -> None:
    """One token a byte. "abcd" + "ef" = 6 fits, "abcd" + "efghijk" = 11 does not."""
    tiny_tokenizer().save_pretrained(folder / "tokenizer")
    name = write(folder / "pairs.jsonl", pair("abcd", "ef", "gh"), pair("abcd", "efghijk", "l"))
    assert main(["check-data", name, "--tokenizer", "tokenizer", "--max-length", "8", "--json"]) == 1
    (report,) = json.loads(capsys.readouterr().out)["reports"]
    assert (report["unit"], report["bad"]) == ("tokens", {"over_length": 1})
    assert report["lengths"]["prompt"]["maximum"] == 4
    assert main(["check-data", name, "--tokenizer", "tokenizer", "--max-length", "8", "--allow-truncation"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check-data", "trian.jsonl"], "Did you mean 'train.jsonl'?"),
        (["check-data", "odd.jsonl"], "lacks prompt (is 'question' it?)"),
        (["check-data", "train.jsonl", "--max-length", "5"], "name a --tokenizer too"),
        (["check-data", "train.jsonl", "--quarantine", "train.jsonl"], "this is the data itself"),
        (["check-data", "train.jsonl", "--tokenizer", "./nothing"], "no tokenizer there"),
    ],
)
def test_what_the_user_can_mend(
    folder: Path, capsys: pytest.CaptureFixture, arguments: list[str], message: str
) -> None:
    """Status 2 and one message without a traceback."""
    write(folder / "train.jsonl", pair("p", "a", "b"))
    write(folder / "odd.jsonl", {"question": "p", "chosen": "a", "rejected": "b"})
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert json.loads((folder / "train.jsonl").read_text()) == pair("p", "a", "b")
