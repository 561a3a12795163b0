"""Inputs from columns and functions, and steps of completions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from prefopt.errors import UserError
from prefopt.trainers.rewards.scores import Completions, RewardSourceError
from prefopt.trainers.supply.input_settings import read_inputs
from prefopt.trainers.supply.inputs import identity
from prefopt.trainers.supply.steps import Splitter, step_ids, token_places
from reward_models import RewardModel
from reward_models.process import StepReading
from reward_models.step_source import StepSource
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer
from tests.trainers.online.support import trainer

NAN = math.nan
TWO = Completions(["p", "p"], ["one", "three"], {"shade": [3, None], "lists": [[1.5], None], "prompt": ["p", "p"]})


def one(name: str, entry: Any, batch: Completions = TWO, lengths: tuple[int, ...] = (3, 5)) -> torch.Tensor:
    """The input that an entry gives."""
    (found,) = read_inputs({name: entry}, frozenset({name}))
    return found(batch, lengths)


def test_shapes_and_types() -> None:
    """A number, a list, a list of lists, a number a token; None is NaN; integers, truths and identities stay such."""
    assert one("predictions", "shade").tolist()[0] == 3.0
    assert math.isnan(one("predictions", "shade")[1])
    ragged = one("step_rewards", "lists")
    assert ragged.shape == (2, 1)
    assert ragged[0].tolist() == [1.5]
    assert ragged[1].isnan().all()
    cube = one("turn_test_results", lambda completions, **_: [[[1, None]], [[0], [1, 1, 1]]])
    torch.testing.assert_close(
        cube, torch.tensor([[[1, NAN, NAN], [NAN] * 3], [[0, NAN, NAN], [1, 1, 1]]]), equal_nan=True
    )
    tokens = one("values", lambda completions, **_: [[1, 2, 3], [1, 2, 3, 4, 5]])
    assert tokens.tolist() == [[1, 2, 3, 0, 0], [1, 2, 3, 4, 5]]
    assert one("levels", lambda completions, **_: [1, 2]).dtype == torch.int64
    assert one("truncated", lambda completions, **_: [True, 0]).tolist() == [True, False]
    states = one("turn_states", lambda completions, **_: [["hall", "door"], ["hall", None]])
    assert states[0, 0] == states[1, 0] != states[0, 1]
    assert states[1, 1] == 0


def test_identities() -> None:
    """The same on every process, as they come from the text alone: first eight bytes of BLAKE2b."""
    assert identity("hall") == identity("hall") != identity("Hall")
    assert (identity(None), identity(7)) == (0, 7)
    assert -(2**63) <= identity("hall") < 2**63


@pytest.mark.parametrize(
    ("name", "rows", "words"),
    [
        ("levels", [1], r"'levels' got 1, expected 2 values, one a completion"),
        ("levels", [1, None], r"'levels' is an integer and got None\n  prompt: 'p'\n  completion: 'three'"),
        ("levels", [1, 2.5], r"'levels' is an integer and got 2.5"),
        ("predictions", [1, "two"], r"'predictions' is a number and got 'two'"),
        ("truncated", [None, 1], r"'truncated' is true or false and got None"),
        ("step_rewards", [1, 2], r"'step_rewards' is a list for each completion, \(B, S\), and got 1"),
        ("values", [[1, 2, 3], [1]], r"'values' got 1 values for a completion of 5 tokens; give one a token"),
    ],
)
def test_what_is_no_input(name: str, rows: Any, words: str) -> None:
    """A sentence with the name, the value and the example."""
    with pytest.raises(RewardSourceError, match=words):
        one(name, lambda completions, **_: rows)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"predictons": "shade"}, "'predictons' is nothing that can be supplied so. Did you mean 'predictions'"),
        ({"policy.hidden": "shade"}, "'policy.hidden' is nothing that can be supplied so"),
        ({"levels": "shade"}, "no part of the recipe needs 'levels'; leave it out"),
        ({"predictions": 3}, r"inputs\.predictions is a column of the data, or file.py:function, not 3"),
        ({"predictions": "missing.py:f"}, r"missing\.py: no such file"),
        ({"predictions": {"columns": {}}}, r"inputs\.predictions has no 'source'"),
    ],
)
def test_bad_entries(given: dict[str, Any], words: str) -> None:
    """Refused when they are read."""
    with pytest.raises(UserError, match=words):
        read_inputs(given, frozenset({"predictions"}))


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    """Named with the setting that wants it, before the model, which does not exist, is looked for."""
    words = r"inputs\.predictions reads the column 'shade', which the training data does not have\. It has prompt"
    with pytest.raises(UserError, match=words):
        trainer(
            tmp_path, model="no/such/model", recipe="q_hawkeye", inputs={"predictions": "shade"},
            degraded_prompt="prompt",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "text", "steps"),
    [
        ("lines", "a\nb\n\nc\n", ["a", "b", "c"]),
        ("paragraphs", "a\nb\n\n\nc", ["a\nb", "c"]),
        ("sentences", "It is 3.5. Is it? Yes!", ["It is 3.5.", "Is it?", "Yes!"]),
        (r"regex:Step \d:", "Step 1: a Step 2: b", ["Step 1:", "a Step 2:", "b"]),
        ("lines", "\n\nonly", ["only"]),
        ("lines", "", [""]),
    ],
)
def test_steps(rule: str, text: str, steps: list[str]) -> None:
    """What separates stays with the step before it; nothing is blank."""
    assert Splitter.of(rule).texts(text) == steps


def test_tokens_of_steps() -> None:
    """A byte a token: "é." is three tokens, of which the first two begin at 0; the end token goes with the last step.

    Steps of "é.\\nb": "é.\\n" and "b", so tokens 0 0 0 0 1 and 1 for the end.
    """
    tokenizer = tiny_tokenizer()
    ids = [*tokenizer("é.\nb", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    places, text = token_places(tokenizer, ids)
    assert (places, text) == ([0, 0, 1, 2, 3, 4], "é.\nb")
    numbers, texts = step_ids(Splitter.of("lines"), tokenizer, [ids, ids[:1]])
    assert numbers.tolist() == [[0, 0, 0, 0, 1, 1], [0] * 6]
    assert texts[0] == ["é.", "b"]


def test_an_unknown_rule() -> None:
    """With the nearest name."""
    with pytest.raises(UserError, match=r"steps: unknown rule 'line'\. Did you mean 'lines'"):
        Splitter.of("line")
    with pytest.raises(UserError, match="is no regular expression"):
        Splitter.of("regex:(")


def test_steps_reach_functions_and_tokens(tmp_path: Path) -> None:
    """A function that takes ``steps`` gets their texts; its numbers and the tokens' step numbers meet in the batch."""
    seen: list[list[str]] = []

    def lengths(completions: list[str], steps: list[list[str]], **_: Any) -> list[list[float]]:
        seen.extend(steps)
        return [[float(len(step)) for step in some] for some in steps]

    run = trainer(tmp_path, recipe="process_grpo", max_steps=1, steps="regex:[^ -~]+", inputs={"step_rewards": lengths})
    run.train()
    batch = run.buffer[0]
    assert len(seen) == 8
    assert batch["extra.step_ids"].shape == batch["completion_ids"].shape
    counts = (~batch["extra.step_rewards"].isnan()).sum(1)
    assert torch.equal(counts, (batch["extra.step_ids"] * batch["completion_mask"]).amax(1) + 1)


def test_a_model_scores_the_steps(tmp_path: Path) -> None:
    """A folder that scores steps gives a number a step of each completion, of the steps that tokens are numbered by.

    With a prover they are its advantages, differences of 1 - (1 - q)^K from the bare prompt on; another model, key or
    prover is refused before anything is loaded.
    """
    folder = tmp_path / "steps"
    model = RewardModel.from_backbone(save_tiny(tmp_path / "backbone", tiny_llama(), tiny_tokenizer()))
    model.save_pretrained(tmp_path / "plain")
    model.steps = StepReading(link="sigmoid", summary="last")
    model.save_pretrained(folder)
    settings = {"max_steps": 1, "steps": "regex:[^ -~]+"}
    run = trainer(
        tmp_path / "run",
        recipe="progress_bonus",
        inputs={"step_rewards": {"model": str(folder), "prover": 4}},
        **settings,
    )
    run.train()
    batch = run.buffer[0]
    counts = (~batch["extra.step_rewards"].isnan()).sum(1)
    assert torch.equal(counts, (batch["extra.step_ids"] * batch["completion_mask"]).amax(1) + 1)
    (steps,) = StepSource(str(folder))(["p"], ["ab\nc"], [["ab", "c"]])
    (start,) = StepSource(str(folder))(["p"], [""], [[""]])
    values = [1 - (1 - q) ** 4 for q in (*start, *steps)]
    (progress,) = StepSource(str(folder), 4)(["p"], ["ab\nc"], [["ab", "c"]])
    assert progress == pytest.approx([values[1] - values[0], values[2] - values[1]], abs=1e-6)
    needs = frozenset({"step_rewards"})
    with pytest.raises(UserError, match="plain is no model that scores steps; train one with train-reward"):
        read_inputs({"step_rewards": {"model": str(tmp_path / "plain")}}, needs)
    with pytest.raises(UserError, match=r"unknown key 'provr'\. Did you mean 'prover'"):
        read_inputs({"step_rewards": {"model": str(folder), "provr": 4}}, needs)
    with pytest.raises(UserError, match="prover is how many solutions a best-of-K prover draws, not 0"):
        read_inputs({"step_rewards": {"model": str(folder), "prover": 0}}, needs)
