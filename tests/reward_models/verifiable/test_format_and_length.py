"""Shaping of form and length: the formulas at numbers that can be worked out by hand."""

from __future__ import annotations

import pytest

from reward_models.errors import ModelError
from reward_models.verifiable import CosineLength, KimiLength, SoftOverlong, build_verifier

WHOLE = "<think>\nwhy\n</think>\n<answer>\n4\n</answer>"


def tokens(*lengths: int) -> list[list[int]]:
    """Completions' ids: only their number matters."""
    return [[0] * length for length in lengths]


@pytest.mark.parametrize(
    ("text", "whole", "count"),
    [
        (WHOLE, 1.0, 1.0),
        (WHOLE.replace("why", "why\nnot"), 1.0, 1.0),
        (f"{WHOLE} and more", 0.0, 1.0),
        (f" {WHOLE}", 0.0, 1.0),
        (WHOLE.replace("</think>\n", "</think>"), 0.0, 0.5),
        (WHOLE + "\n</answer>", 1.0, 0.75),
        ("<think>\nwhy", 0.0, 0.25),
        ("4", 0.0, 0.0),
    ],
)
def test_thought_and_answer(text: str, whole: float, count: float) -> None:
    r"""The whole text must match; of the four tags, with their line ends, each that occurs exactly once is a quarter.

    Without the line end after ``</think>`` both it and ``\n<answer>\n`` are missing. A second ``\n</answer>`` spoils
    the count of that tag, and the form still matches, as an answer may hold any line.
    """
    assert build_verifier("think_format", {})(["?"], [text]) == [whole]
    assert build_verifier("tag_count", {})(["?"], [text]) == [count]


def test_reasoning_steps() -> None:
    """min(1, n / 3) for n = 0, 1, 2, 3 and 5 marks."""
    texts = [
        "So it is 4.",
        "First, add.",
        "Step 1: add.\nStep 2: done.",
        "1. add\n2) add\n- done",
        "First, a. Second, b. Third, c. Next, d. Finally, e.",
    ]
    scores = build_verifier("reasoning_steps", {})(["?"] * 5, texts)
    assert scores == pytest.approx([0, 1 / 3, 2 / 3, 1, 1])


def test_cosine() -> None:
    """At L = 0, 250, 1000 of 1000: cos is 1, cos(pi/4) = 0.70711, -1.

    Right: 0.5 + 0.25 (1 + cos) = 1, 0.92678, 0.5; wrong: the same with the sign turned. Beyond 1000 as at 1000.
    """
    ids = tokens(0, 250, 1000, 1500)
    right = CosineLength()(["?"] * 4, [""] * 4, completion_ids=ids, correct=[1.0, True, 1, 1.0])
    assert right == pytest.approx([1, 0.926777, 0.5, 0.5], abs=1e-6)
    wrong = CosineLength()(["?"] * 4, [""] * 4, completion_ids=ids, correct=[0.0, False, 0.9, 0])
    assert wrong == pytest.approx([-1, -0.926777, -0.5, -0.5], abs=1e-6)
    nobody_knows = [None, float("nan"), 1.0, 0.0]
    assert CosineLength()(["?"] * 4, [""] * 4, completion_ids=tokens(0, 0, 0, 0), correct=nobody_knows) == [
        None,
        None,
        1.0,
        -1.0,
    ]


def test_kimi_length() -> None:
    """L = 100, 200, 300: lambda = 0.5 - (L - 100) / 200 = 0.5, 0, -0.5; wrong answers get no more than 0.

    The second prompt's completions, all equally long, get 0 whatever they are; rows of a group need not be neighbours.
    """
    prompts = ["a", "b", "a", "b", "a"]
    ids = tokens(100, 70, 200, 70, 300)
    assert KimiLength()(prompts, [""] * 5, completion_ids=ids, correct=[1, 1, 1, 0, 1]) == [0.5, 0, 0, 0, -0.5]
    assert KimiLength()(prompts, [""] * 5, completion_ids=ids, correct=[0, 0, 0, 0, 0]) == [0, 0, 0, 0, -0.5]
    assert KimiLength()(prompts, [""] * 5, completion_ids=ids, correct=[None, 1, 1, 0, 1]) == [None, 0, 0, 0, -0.5]


def test_chat_prompts_are_groups_too() -> None:
    """Messages with the same words are one prompt."""
    chats = [[{"role": "user", "content": text}] for text in ("a", "b", "a")]
    assert KimiLength(unit="words")(chats, ["w", "w w", "w w w"], correct=[1, 1, 1]) == [0.5, 0, -0.5]


def test_soft_overlong() -> None:
    """max_length 100, cache 20: 0 up to 80, then (80 - L) / 20: -0.25 at 85, -1 at 100, and -1 beyond."""
    scores = SoftOverlong(100, 20)(["?"] * 4, [""] * 4, completion_ids=tokens(80, 85, 100, 101))
    assert scores == [0, -0.25, -1, -1]


def test_repetition() -> None:
    """Bigrams of "a b a b a": ab, ba, ab, ba, 2 of 4 distinct, so -(1 - 2/4) * 0.5; one word has no bigram."""
    repetition = build_verifier("repetition_penalty", {"ngram": 2, "penalty": -0.5})
    assert repetition(["?"] * 3, ["A b a B a", "a b c", "a"]) == [-0.25, 0, 0]


@pytest.mark.parametrize(
    "correct", ["exact_answer", {"source": "exact_answer"}, {"source": "exact_answer", "settings": {}}]
)
def test_correctness_from_another_verifier(correct: object) -> None:
    """The first is right and the shortest of its group, the second right and half-way, the third wrong and longest."""
    verifier = build_verifier("kimi_length", {"correct": correct, "unit": "words"})
    completions = ["is 4", "it is 4", "well it is 5"]
    assert verifier(["2+2?"] * 3, completions, answer=["4"] * 3, other=[0] * 3) == [0.5, 0, -0.5]
    assert verifier(["2+2?"] * 3, completions, answer=["5", "5", None]) == [0, 0, None]


def test_what_they_refuse() -> None:
    """Settings without sense when built; what only a call can show, then."""
    with pytest.raises(ModelError, match="unknown verifier 'exact'"):
        build_verifier("cosine", {"correct": "exact"})
    with pytest.raises(ModelError, match="correct is a verifier's name"):
        build_verifier("kimi_length", {"correct": 3})
    with pytest.raises(ModelError, match="needs 0 < cache <= max_length"):
        build_verifier("soft_overlong", {"max_length": 10, "cache": 11})
    with pytest.raises(ModelError, match="missing 2 required positional arguments: 'ngram' and 'penalty'"):
        build_verifier("repetition_penalty", {})
    with pytest.raises(ModelError, match="unit 'lines' is unknown"):
        KimiLength(unit="lines")
    with pytest.raises(ModelError, match="name a verifier with `settings"):
        CosineLength(unit="words")(["?"], ["x"])
    with pytest.raises(ModelError, match="needs the column 'answer'"):
        CosineLength(unit="words", correct="exact_answer")(["?"], ["x"])
    with pytest.raises(ModelError, match="only a trainer gives"):
        CosineLength()(["?"], ["x"], correct=[1])
