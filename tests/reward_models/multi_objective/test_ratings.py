"""Ratings files: scales, missing values, bad rows."""

from __future__ import annotations

import json

import pytest

from reward_models.data.quarantine import read_quarantine
from reward_models.errors import DataError
from reward_models.multi_objective.ratings import load_ratings

ROWS = [
    {"prompt": "a", "completion": "x", "help": 4, "safe": True, "by": "Ann"},
    {"prompt": "b", "completion": "y", "help": None, "safe": False, "by": "Ben"},
    {"prompt": "c", "completion": "z", "help": 1},
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_scale_is_mapped_and_nothing_becomes_a_rating(tmp_path) -> None:
    """1 to 5: 4 is (4 - 1) / 4 = .75, 1 is 0; true is 1; null and absent stay None; names are no ratings."""
    found = load_ratings(write(tmp_path / "r.jsonl", ROWS), scale=(1, 5))
    assert found.column_names == ["prompt", "completion", "help", "safe"]
    assert found["help"] == [0.75, None, 0.0]
    assert found["safe"] == [1.0, 0.0, None]


def test_the_authors_scale(tmp_path) -> None:
    """Grades 0 to 4 as (s + .5) / 5: 4 is .9, 1 is .3."""
    found = load_ratings(write(tmp_path / "r.jsonl", ROWS), attributes=["help"], scale=(-0.5, 4.5))
    assert found["help"] == pytest.approx([0.9, None, 0.3])


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {}, r"row 1, field 'help': 'help' is 4, outside 0 to 1; say what the scale is with rating_scale"),
        ({}, {"scale": (0, 3)}, r"row 1, field 'help': 'help' is 4, outside 0 to 3"),
        ({}, {"scale": (5, 1)}, r"rating_scale must be two numbers, the lower first, got 5 1"),
        ({}, {"attributes": ["kind"], "scale": (1, 5)}, r"no row rates 'kind'; its columns are prompt, completion"),
        ({}, {"attributes": ["by"], "scale": (1, 5)}, r"row 1, field 'by': expected a number or null, found str"),
        ({"help": float("nan")}, {"scale": (1, 5)}, r"row 1, field 'help': found nan"),
        ({"completion": None}, {"scale": (1, 5)}, r"row 1, field 'completion': absent or null"),
    ],
)
def test_what_is_no_rating_is_named(tmp_path, change, options, message) -> None:
    """File, row and column stand in the sentence."""
    path = write(tmp_path / "r.jsonl", [{**ROWS[0], **change}, *ROWS[1:]])
    with pytest.raises(DataError, match=message):
        load_ratings(path, **options)


def test_bad_rows_go_to_quarantine(tmp_path, monkeypatch) -> None:
    """Of four rows one has no completion and one is no JSON: two are read, two are kept with their reasons."""
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "r.jsonl", [*ROWS[:2], {"prompt": "d", "help": 2}])
    path.write_text(path.read_text() + "{\n", encoding="utf-8")
    found = load_ratings(path, scale=(1, 5), on_bad_row="quarantine")
    assert found["help"] == [0.75, None]
    kept = read_quarantine(tmp_path / "r.quarantine.jsonl")
    assert [(row.row_number, row.reason) for row in kept] == [(3, "missing_field"), (4, "unparseable_json")]
