"""The record as JSON: it comes back equal, and a mistake in it is named by its path."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from prefopt.errors import UserError
from prefopt.report import Estimate, Policy, RunRecord, Sample, Stage
from tests.report.record import literal
from tests.report.sample import sample


@pytest.mark.parametrize("record", [literal(), sample(), RunRecord("only a title")], ids=["literal", "sample", "title"])
def test_round_trip(record):
    assert RunRecord.from_json(record.to_json()) == record


def test_figures_that_json_has_no_word_for_become_null():
    """NaN and infinity are null; a null where a figure must stand reads as NaN, an optional one as None."""
    policy = Policy("p", accuracy=Estimate(float("nan"), None, float("inf")), samples=(Sample({"r": None}, 3),))
    text = RunRecord("t", policies=(policy,), history=({"loss": float("-inf")},)).to_json()
    assert json.loads(text)["policies"][0]["accuracy"] == {"value": None, "low": None, "high": None}
    back = RunRecord.from_json(text)
    assert back.policies[0].accuracy is not None
    assert math.isnan(back.policies[0].accuracy.value)
    assert back.policies[0].samples[0].rewards == {"r": None}
    assert back.history == ({"loss": None},)


def test_numpy_figures_are_written_as_numbers():
    text = RunRecord("t", stages=(Stage("s", np.float32(1.5)),), settings={"seed": np.int64(3)}).to_json()
    assert json.loads(text)["stages"] == [{"name": "s", "seconds": 1.5}]
    assert json.loads(text)["settings"] == {"seed": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the record is not JSON"),
        ("[]", r"record: expected a mapping, found \[\]"),
        ("{}", "record: the key 'title' is missing"),
        ('{"title": "t", "stage": []}', "unknown key 'stage'. Did you mean 'stages'?"),
        ('{"title": 3}', "record.title: expected a text, found 3"),
        ('{"title": "t", "stages": {}}', "record.stages: expected a list"),
        (
            '{"title": "t", "stages": [{"name": "a", "seconds": "9"}]}',
            r"stages\[0\].seconds: expected a number, found '9'",
        ),
        ('{"title": "t", "history": [{"loss": true}]}', r"history\[0\].loss: expected a number, found True"),
        ('{"title": "t", "policies": [{"name": "p", "samples": [{"rewards": {}, "length": 1.5}]}]}', "whole number"),
        (
            '{"title": "t", "policies": [{"name": "p", "samples": [{"rewards": {}, "length": null}]}]}',
            "expected a number",
        ),
    ],
)
def test_a_mistake_is_named_by_its_path(text, message):
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        RunRecord.from_json(text)
