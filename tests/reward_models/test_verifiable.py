"""Verifiers: exact scores on texts that a reader can judge."""

from __future__ import annotations

from fractions import Fraction

import pytest

from reward_models.errors import ModelError
from reward_models.verifiable import ExactAnswer, Format, Length, build_verifier
from reward_models.verifiable.exact_answer import exact_number


@pytest.mark.parametrize(
    ("completion", "answer", "score"),
    [
        ("The sum is 46.", "46", 1.0),
        ("The sum is 46.", "47", 0.0),
        ("First 12, then 46", "46", 1.0),
        ("46 is not 12", "46", 0.0),
        ("It costs 1,200.50 dollars", "1200.5", 1.0),
        ("So x = -3", "-3", 1.0),
        ("So x = 3", "-3", 0.0),
        ("2400/2", "1200", 1.0),
        ("one half, 1/2", "0.5", 1.0),
        ("It is 46.0", 46, 1.0),
        ("", "46", 0.0),
        ("no number here", "46", 0.0),
        ("room 46b", "46", 0.0),
        ("#### 42", "3 + 39 = 42 #### 42", 1.0),
        ("The colour is blue.", "Blue", 1.0),
        ("The colour is red", "blue", 0.0),
        ("skyblue", "blue", 0.0),
        ("anything", None, None),
        ("anything", "", None),
    ],
)
def test_exact_answer(completion: str, answer: object, score: float | None) -> None:
    """The last number counts, compared exactly; words must end the text; no reference gives no score."""
    assert ExactAnswer()(["?"], [completion], answer=[answer]) == [score]


def test_exact_answer_reads_messages() -> None:
    """Of messages the last one counts."""
    messages = [{"role": "assistant", "content": "It is 7"}]
    assert ExactAnswer()([messages], [messages], answer=["7"]) == [1.0]


def test_exact_number() -> None:
    """Numbers are fractions, so 0.1 + 0.2 is 0.3; what is no number, or endless, is None."""
    assert exact_number("0.1") + exact_number("0.2") == exact_number("0.3") == Fraction(3, 10)
    assert exact_number("1,234,567") == 1234567
    assert exact_number("1/0") is None
    assert exact_number("12 apples") is None
    assert exact_number("9" * 1000) is None


@pytest.mark.parametrize(
    ("settings", "completion", "score"),
    [
        ({"target": 4}, "one two three four", 1.0),
        ({"target": 4}, "one two three", 0.75),
        ({"target": 4}, "", 0.0),
        ({"target": 4}, "w " * 20, 0.0),
        ({"target": 4, "width": 2}, "one two three", 0.5),
        ({"target": 5, "unit": "characters"}, "four", 0.8),
        ({"target": 2, "unit": "tokens"}, "ignored", 1.0),
    ],
)
def test_length(settings: dict, completion: str, score: float) -> None:
    """1 - |L - target| / width, at least 0."""
    assert Length(**settings)(["?"], [completion], completion_ids=[[5, 6]]) == [pytest.approx(score)]


def test_format() -> None:
    """The whole text must match, or the pattern be found anywhere."""
    sentence = Format(r"(?s)[A-Z].*[.!?]")
    assert sentence(["?"] * 3, ["A sentence.", " Two\nlines! ", "no capital."]) == [1.0, 1.0, 0.0]
    assert Format(r"\d", whole=False)(["?"] * 2, ["room 4", "room"]) == [1.0, 0.0]


def test_what_they_refuse() -> None:
    """Settings without sense are refused when built."""
    with pytest.raises(ModelError, match="width > 0"):
        Length(0)
    with pytest.raises(ModelError, match="unit 'lines' is unknown"):
        Length(3, unit="lines")
    with pytest.raises(ModelError, match="is no regular expression"):
        Format("(")
    with pytest.raises(ModelError, match="unknown verifier 'maths'"):
        build_verifier("maths", {})
    with pytest.raises(ModelError, match="only a trainer gives"):
        Length(3, unit="tokens")(["?"], ["x"])
