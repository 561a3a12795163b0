"""Every shape is recognised by its columns and gives the pairs that its definition says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reward_models.data import load_preferences, load_preferences_with_report, validate
from reward_models.data.policy import BadRowPolicy
from reward_models.data.reading import read_as
from reward_models.data.recognise import recognise
from reward_models.data.shapes import PREFERENCES
from reward_models.data.sources import open_source
from reward_models.data.tally import Tally
from reward_models.data.validation import examine
from reward_models.errors import DataError

from .shape_examples import EXAMPLES, assistant, user


def test_every_shape_has_an_example() -> None:
    """A shape without an example is untested; an example without a shape is misspelt."""
    assert {name for name, _, _ in EXAMPLES} == {shape.name for shape in PREFERENCES}


@pytest.mark.parametrize(("name", "rows", "expected"), EXAMPLES, ids=[f"{i} {e[0]}" for i, e in enumerate(EXAMPLES)])
def test_pairs_of_each_shape(name: str, rows: list, expected: list) -> None:
    """Soft ties: a tie carries 0.5, an uncertain pair its probability, and any other pair 1."""
    shape = recognise(rows, PREFERENCES)
    assert shape is not None
    assert shape.name == name
    reading = replace(read_as(open_source(rows), "preferences"), ties="soft")
    pairs = list(reading.examples(BadRowPolicy("raise"), Tally()))
    found = [(p.prompt, p.chosen, p.rejected, p.margin, p.label_chosen_preferred) for p in pairs]
    want = [(*rest, 1.0 if label is None else label) for *rest, label in expected]
    assert [f[:3] for f in found] == [w[:3] for w in want]
    for (*_, margin, label), (*_, wanted_margin, wanted_label) in zip(found, want, strict=True):
        assert margin == pytest.approx(wanted_margin)
        assert label == pytest.approx(wanted_label)


@pytest.mark.parametrize(("name", "rows", "expected"), EXAMPLES, ids=[f"{i} {e[0]}" for i, e in enumerate(EXAMPLES)])
def test_ties_are_dropped_by_default(name: str, rows: list, expected: list) -> None:
    """What is left are the expected pairs whose label is not 0.5; where none is left, that is an error."""
    wanted = [(prompt, chosen, rejected) for prompt, chosen, rejected, _, label in expected if label != 0.5]
    if not wanted:
        with pytest.raises(DataError, match="1 ties"):
            load_preferences(rows)
        return
    dataset = load_preferences(rows)
    assert [(row["prompt"], row["chosen"], row["rejected"]) for row in dataset] == wanted


def test_a_damaged_first_row_does_not_decide_the_shape() -> None:
    """Three of four rows are transcripts, in the first `chosen` is a number: still transcripts, one bad row."""
    good = next(rows[0] for name, rows, _ in EXAMPLES if name == "HH-RLHF transcripts")
    report = validate([{"chosen": 5}, good, good, good])
    assert (report.shape, report.rows, report.examples) == ("HH-RLHF transcripts", 4, 3)
    assert report.bad == {"wrong_type": 1}


@pytest.mark.parametrize("columns", [{"prompt", "chosen"}, {"chosen_ids", "rejected_ids"}, {"text"}])
def test_unknown_columns_are_an_error_that_lists_them(columns: set[str]) -> None:
    """The message names every column that was found, and the nearest shapes or the reason."""
    with pytest.raises(DataError) as caught:
        load_preferences([dict.fromkeys(columns, "x")])
    assert all(column in str(caught.value) for column in columns)
    assert "lacks" in str(caught.value) or "token ids" in str(caught.value)


def test_a_misnamed_column_is_pointed_out() -> None:
    """`question` beside chosen and rejected is not taken for a shared prompt; `columns` mends it."""
    rows = [{"question": "2+2?", "chosen": "It is 4", "rejected": "It is 5"}]
    with pytest.raises(DataError, match=r"preference pairs: lacks prompt \(is 'question' it\?\)"):
        load_preferences(rows)
    assert load_preferences(rows, columns={"prompt": "question"})[0]["prompt"] == "2+2?"
    with pytest.raises(DataError, match="there is no column query"):
        load_preferences(rows, columns={"prompt": "query"})


def test_attributes_keep_their_names() -> None:
    """Ratings of an answer begin with chosen_ or rejected_, `domain` becomes subset, nested values become JSON."""
    rows = next(rows for name, rows, _ in EXAMPLES if name == "HelpSteer ratings")
    assert load_preferences(rows)[0]["chosen_helpfulness"] == 4.0
    assert load_preferences(rows)[0]["rejected_rating"] == 1.0
    helpsteer3 = next(rows for name, rows, _ in EXAMPLES if name == "HelpSteer3 preference")
    assert load_preferences(helpsteer3)[0]["subset"] == "stem"
    row = {"prompt": "a", "chosen": "b", "rejected": "c", "meta": {"x": 1}, "id": 7, "tags": ["t"], "label": "x"}
    loaded = load_preferences([row])[0]
    assert (loaded["meta"], loaded["id"], loaded["tags"], loaded["label"]) == ('{"x": 1}', 7, ["t"], "x")


def test_rm_bench_difficulty() -> None:
    """chosen style i against rejected style j: i < j hard, i = j normal, i > j easy; three of each."""
    rows = next(rows for name, rows, _ in EXAMPLES if name == "RM-Bench")
    dataset = load_preferences(rows)
    levels = {(row["chosen_style"], row["rejected_style"]): row["difficulty"] for row in dataset}
    assert levels[0, 2] == "hard"
    assert levels[1, 1] == "normal"
    assert levels[2, 0] == "easy"
    assert sorted(levels.values()) == ["easy"] * 3 + ["hard"] * 3 + ["normal"] * 3


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("all", {("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d")}),
        ("best_vs_lower", {("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")}),
        ("best_vs_worst", {("a", "d")}),
    ],
)
def test_pair_rules(rule: str, expected: set) -> None:
    """Ratings a 3, b 3, c 2, d 1. a and b are the tie that is dropped."""
    answers = [("a", 3), ("b", 3), ("c", 2), ("d", 1)]
    rows = [{"prompt": "p", "response": text, "helpfulness": rating, **REST} for text, rating in answers]
    dataset, report = load_preferences_with_report(rows, pair_rule=rule)
    assert {(row["chosen"], row["rejected"]) for row in dataset} == expected
    assert report.ties == (0 if rule == "best_vs_worst" else 1)


REST = {"correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 1}


def test_the_same_answer_twice_is_no_pair() -> None:
    """`x` is rated 2 twice and `y` 1: one pair, not two."""
    rows = [{"prompt": "p", "response": r, "helpfulness": h, **REST} for r, h in [("x", 2), ("x", 2), ("y", 1)]]
    assert len(load_preferences(rows)) == 1


def test_rows_join_only_next_to_each_other() -> None:
    """The prompts p, q, p: no two neighbours agree, so no pair and three prompts without one."""
    rows = [{"prompt": p, "response": p + "!", "helpfulness": i, **REST} for i, p in enumerate("pqp")]
    report = validate(rows)
    assert (report.examples, report.without_pairs, report.bad_count) == (0, 3, 0)


def test_conversations_split_before_the_assistant_turn_where_they_part() -> None:
    """They part in the second assistant turn; what follows belongs to the answers."""
    chosen = [user("a"), assistant("b"), user("c"), assistant("d"), user("e"), assistant("f")]
    rejected = [user("a"), assistant("b"), user("c"), assistant("x")]
    row = load_preferences([{"chosen": chosen, "rejected": rejected}])[0]
    assert (row["prompt"], row["chosen"], row["rejected"]) == (chosen[:3], chosen[3:], rejected[3:])


def test_a_row_is_good_or_bad_as_a_whole() -> None:
    """Of six comparisons one has an unknown verdict: the row is bad, once."""
    rows = next(rows for name, rows, _ in EXAMPLES if name == "fine-grained feedback")
    broken = {**rows[0], "preference": [1, 2, 0, 2, 2, 7]}
    shape = recognise(rows, PREFERENCES)
    results = list(examine(open_source([broken]).read(), shape))
    assert [(r.reason, r.field) for r in results] == [("unknown_label", "preference")]
