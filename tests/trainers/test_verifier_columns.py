"""What verifiers read is looked for, and looked through, before a model is loaded."""

from __future__ import annotations

import json

import pytest
from datasets import Dataset

from prefopt.errors import UserError
from prefopt.trainers.prompts import check_columns
from prefopt.trainers.rewards.reading import read_sources
from reward_models.errors import DataError, ModelError
from reward_models.verifiable import UnitTests


@pytest.mark.parametrize(
    ("entry", "columns"),
    [
        ({"source": "cosine"}, {"correct": "correct"}),
        ({"source": "cosine", "columns": {"correct": "is_right"}}, {"correct": "is_right"}),
        ({"source": "cosine", "settings": {"correct": "exact_answer"}}, {"answer": "answer"}),
        (
            {"source": "kimi_length", "settings": {"correct": "exact_answer"}, "columns": {"answer": "solution"}},
            {"answer": "solution"},
        ),
        ({"source": "kimi_length", "settings": {"correct": "format"}}, None),
    ],
)
def test_columns_of_a_verifier_within_a_verifier(entry: dict, columns: dict[str, str] | None) -> None:
    """A length that asks another verifier what is right needs that one's columns; a bad one is refused at once."""
    if columns is None:
        with pytest.raises(ModelError, match="verifier 'format': missing 1 required positional argument: 'pattern'"):
            read_sources([entry])
        return
    sources = read_sources([entry])
    assert sources[0].required_columns() == columns
    with pytest.raises(UserError, match=f"reads the column '{next(iter(columns.values()))}'"):
        check_columns(Dataset.from_list([{"prompt": "2+2?"}]), sources, "the training data")


def test_tests_are_read_before_the_run() -> None:
    """The second row's test has a key of no kind; a row without tests is none of its business."""
    try:
        sources = read_sources([{"source": "unit_tests"}])
    except ModelError as error:
        pytest.skip(f"no sandbox works here: {error}")
    assert isinstance(sources[0].call, UnitTests)
    assert sources[0].names == ("unit_tests",)
    good, bad = json.dumps([{"input": "1", "output": "2"}]), json.dumps([{"inputs": "1", "output": "2"}])
    check_columns(Dataset.from_dict({"prompt": ["a", "b"], "tests": [good, None]}), sources, "the training data")
    with pytest.raises(DataError, match="tests, row 2, test 1: unknown key 'inputs'"):
        check_columns(Dataset.from_dict({"prompt": ["a", "b"], "tests": [good, bad]}), sources, "the training data")
