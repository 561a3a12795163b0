"""Test results on their way to the objective: from sources, for completions and turns, on one process and on two."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import trl.trainer.grpo_trainer as grpo_trainer
from datasets import Dataset
from torch import Tensor

from prefopt.errors import UserError
from prefopt.trainers.rewards.reading import read_sources
from prefopt.trainers.rewards.scores import Completions, RewardSourceError
from prefopt.trainers.rewards.verdicts import turn_ids, verdicts
from reward_models.verifiable import VeRPO
from tests.tiny import tiny_tokenizer
from tests.trainers.online.support import LengthSuite, fixed_rollouts, token_mean, trainer
from tests.trainers.online.test_generation import TOOL_TEMPLATE

NAN = math.nan
SINGLE, TURNS = frozenset({"test_results"}), frozenset({"turn_test_results", "turn_ids"})


class Suite:
    """A source that gives what it was built with."""

    def __init__(self, rows: Any, name: str = "suite") -> None:
        self.rows, self.names = rows, [name]

    def __call__(self, prompts: Any, completions: Any, **_: Any) -> list[float]:
        return [1.0] * len(prompts)

    def results(self, prompts: Any, completions: Any, **_: Any) -> Any:
        if isinstance(self.rows, Exception):
            raise self.rows
        return self.rows


class Contains(Suite):
    """Verdicts by the text: does a completion contain each of the row's words?"""

    def __init__(self) -> None:
        super().__init__(None, "contains")

    def results(self, prompts: Any, completions: Any, words: list[list[str]], **_: Any) -> list[list[bool]]:
        texts = [completion[-1]["content"] for completion in completions]
        return [[word in text for word in row] for text, row in zip(texts, words, strict=True)]


def ask(needs: frozenset[str], *sources: Any, completions: Any = ("a", "b"), **columns: Any) -> dict[str, Tensor]:
    return verdicts(needs, read_sources(list(sources)), Completions(["p", "q"], list(completions), columns))


def same(found: Tensor, expected: Any) -> None:
    torch.testing.assert_close(found, torch.tensor(expected), equal_nan=True)


def test_ragged_rows_and_several_sources() -> None:
    """Shorter suites and programs that were not judged are NaN; suites stand side by side; others are not asked."""
    found = ask(SINGLE, Suite([[True, False], [True]]), token_mean, Suite([None, [False]], "other"))
    same(found["test_results"], [[1, 0, NAN], [1, NAN, 0]])
    assert ask(frozenset(), Suite(ValueError("never asked"))) == {}


def test_turns_are_the_assistant_messages() -> None:
    """Each of them is judged alone against the row's own tests; a missing turn is NaN."""

    def said(*texts: str) -> list[dict[str, str]]:
        turns = [[{"role": "assistant", "content": text}, {"role": "tool", "content": "x y"}] for text in texts]
        return [message for turn in turns for message in turn][:-1]

    found = ask(TURNS, Contains(), completions=[said("x", "x y"), said("y")], words=[["x", "y"], ["y"]])
    same(found["turn_test_results"], [[[1, 0], [1, 1]], [[1, NAN], [NAN, NAN]]])


def test_a_source_may_give_turns_itself() -> None:
    """``turn_results`` goes before ``results``; None = no turn was judged."""
    source = Suite(ValueError("not asked"))
    source.turn_results = lambda prompts, completions, **_: [[[True], [False]], None]  # type: ignore[attr-defined]
    same(ask(TURNS, source)["turn_test_results"], [[[1.0], [0.0]], [[NAN], [NAN]]])


@pytest.mark.parametrize(
    ("needs", "rows", "words"),
    [
        (SINGLE, [[True]], "`results` of reward source 'suite' gave 1 rows, expected 2 rows"),
        (SINGLE, 0.5, "gave a float, expected 2 rows"),
        (SINGLE, [[True], [0.5]], "test results of reward source 'suite': row 2, test 1: the verdict 0.5 is neither"),
        (SINGLE, [1.0, 0.0], "test results of reward source 'suite'"),
        (SINGLE, OSError("no sandbox"), "'suite' raised OSError: no sandbox"),
        (TURNS, [[True], [True]], "text does not say where its turns end; give prompts as messages"),
    ],
)
def test_what_is_no_verdict(needs: frozenset[str], rows: Any, words: str) -> None:
    with pytest.raises(RewardSourceError, match=words):
        ask(needs, Suite(rows))


def test_turn_ids() -> None:
    """Runs of the policy's tokens: 1 1 0 0 1 0 1 are turns 0, 1, 2; a row that starts with a tool's token as well."""
    mask = torch.tensor([[1, 1, 0, 0, 1, 0, 1], [0, 1, 1, 0, 1, 1, 0]]).bool()
    found = turn_ids(mask)
    assert [row[keep].tolist() for row, keep in zip(found, mask, strict=True)] == [[0, 0, 1, 2], [0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"recipe": "verpo"}, r"advantage=SuiteAdvantage needs 'test_results': .*a method `results`.*add unit_tests"),
        ({"recipe": "verpo", "recipe_settings": {"multi_turn": True}, "fixed": False, "rewards": [LengthSuite()]},
         r"advantage=TurnSuiteAdvantage needs 'turn_ids': which exist only with `tools`, an `environment_factory`"),
        ({"recipe": "verpo", "recipe_settings": {"multi_turn": True}},
         r"TurnSuiteAdvantage needs 'turn_test_results': which only a reward source .* `turn_results` gives"),
    ],
)  # fmt: skip
def test_what_cannot_be_supplied_is_refused(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    """Before the model, which does not exist, is looked for."""
    with pytest.raises(UserError, match=words):
        trainer(tmp_path, model="no/such/model", **settings)


def test_verpo_learns_from_the_results(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Completions of 2, 3, 4, 5 tokens pass 4, 3, 2, 1 of the tests "at most 2, 3, 4, 5 tokens": the known stairs.

    Their advantages are 1.2948, -.2042, -.4659, -.6247; the other reward is logged, and said to be no more than that.
    """
    run = trainer(tmp_path, [LengthSuite(), token_mean], recipe="verpo", max_steps=1)
    assert "verpo learns from test results alone: token_mean is logged" in caplog.text
    run.train()
    batch = run.buffer[0]
    by_length = {2: 1.2948, 3: -0.2042, 4: -0.4659, 5: -0.6247}
    lengths = batch["completion_mask"].sum(1).tolist()
    assert sorted(lengths) == sorted([2, 3, 4, 5] * 2)
    for length, row in zip(lengths, batch["advantages"], strict=True):
        assert row[:length].tolist() == pytest.approx([by_length[length]] * length, abs=5e-5)
    assert run.state.log_history[0]["reward/token_mean"] > 0


def test_a_lost_verdict_takes_the_row_out(tmp_path: Path) -> None:
    """Completions of 2 tokens were not judged: the rows have no weight, and the others are judged without them."""
    run = trainer(tmp_path, [LengthSuite(lost=2)], recipe="verpo", max_steps=1)
    run.train()
    batch = run.buffer[0]
    lengths = batch["completion_mask"].sum(1)
    assert not batch["weights"][lengths == 2].any()
    stairs = VeRPO()(torch.tensor([[0.0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]])).advantages
    found = [batch["advantages"][lengths == length][0, 0].item() for length in (3, 4, 5)]
    assert found == pytest.approx(stairs.tolist(), abs=1e-5)
    assert run.state.log_history[0]["rows_unscored"] == 2


def test_turns_of_a_rollout_function(tmp_path: Path) -> None:
    """The third token of every completion is the environment's: completions of 4 and 5 tokens have two turns.

    A turn passes "at least one token" always and "has a second turn" in the second turn. Turns: two of 1 turn, two of
    2 turns a group; q = (1, 2/6). The advantage is constant within a turn and as `VeRPO` says.
    """

    def with_environment(asked: list[str], run: Any) -> dict[str, Any]:
        answer = fixed_rollouts(asked, run)
        masks = [[int(place != 2) for place in range(len(ids))] for ids in answer["completion_ids"]]
        return answer | {"env_mask": masks}

    class Turns(Suite):
        def turn_results(self, prompts: Any, completions: Any, completion_ids: Any, **_: Any) -> Any:
            return [[[True, False], [True, True]][: 1 + (len(ids) > 3)] for ids in completion_ids]

    run = trainer(tmp_path, [Turns(None)], recipe="verpo", recipe_settings={"multi_turn": True}, max_steps=1)
    run.rollout_func = with_environment
    run.train()
    batch = run.buffer[0]
    one, two = [[1.0, 0], [NAN, NAN]], [[1.0, 0], [1, 1]]
    expected = VeRPO()(torch.tensor([one, one, two, two])).advantages
    for row, length in zip(batch["advantages"], batch["completion_mask"].sum(1).tolist(), strict=True):
        short, long = expected[0].tolist(), expected[2].tolist()
        wanted = [short[0]] * 2 if length <= 3 else [long[0]] * 2 + [0] + [long[1]] * (length - 3)
        assert row[: len(wanted)].tolist() == pytest.approx(wanted, abs=1e-5)


def test_turns_of_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL's own loop of tool calls, with what the policy writes fixed: even completions call the tool, then answer.

    A call is a turn, its result is not the policy's. The source sees one assistant message a turn, the tokens one run a
    turn, and the words "seven" and "done" are the tests: a call passes none, an answer both.
    """
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TOOL_TEMPLATE
    tokenizer.response_schema = {"type": "object"}  # not read, as `parsed` stands in for its reader

    def look(number: int) -> str:
        """Look it up.

        Args:
            number: which one.
        """
        return f"<{number}>"

    def parsed(tokenizer: Any, ids: list[int], **_: Any) -> dict[str, Any]:
        text = tokenizer.decode(ids, skip_special_tokens=True)
        if not text.startswith("call"):
            return {"role": "assistant", "content": text}
        call = {"type": "function", "function": {"name": "look", "arguments": {"number": 7}}}
        return {"role": "assistant", "content": "", "tool_calls": [call]}

    def fixed(self: Any, prompt_ids: list[list[int]], *_: Any, **__: Any) -> tuple[list[list[int]], None]:
        answered = ["<7>" in tokenizer.decode(ids) for ids in prompt_ids]
        texts = ["seven done" if seen or row % 2 else "call" for row, seen in enumerate(answered)]
        return [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts], None

    monkeypatch.setattr(grpo_trainer, "parse_response", parsed)
    monkeypatch.setattr(grpo_trainer.GRPOTrainer, "_generate_single_turn", fixed)
    messages = [[{"role": "user", "content": f"{i}"}] for i in range(8)]
    data = Dataset.from_dict({"prompt": messages, "words": [["seven", "done"]] * 8})
    run = trainer(
        tmp_path, [Contains()], data=data, processing_class=tokenizer, tools=[look], fixed=False, max_steps=1,
        max_completion_length=100, recipe="verpo", recipe_settings={"multi_turn": True},
    )  # fmt: skip
    run.train()
    batch = run.buffer[0]
    one, two = [[1.0, 1], [NAN, NAN]], [[0.0, 0], [1, 1]]
    expected = VeRPO()(torch.tensor([two, one, two, one])).advantages
    own = (batch["completion_mask"] * batch["tool_mask"]).bool()
    call, answer = len("call") + 1, len("seven done") + 1
    seen = set()
    for row, mask in zip(batch["advantages"], own, strict=True):
        turns = 1 if mask.sum() == answer else 2
        seen.add(turns)
        single, (first, second) = expected[1, 0].item(), expected[0].tolist()
        wanted = [single] * answer if turns == 1 else [first] * call + [second] * answer
        assert row[mask].tolist() == pytest.approx(wanted, abs=1e-5)
        assert not row[~mask].any()
    assert seen == {1, 2}


def test_programs_and_their_tests(tmp_path: Path) -> None:
    """The verifier ``unit_tests`` on programs that square all numbers below 9, 4, 3, 2: the stairs once more.

    Its score (all tests) is a column of rewards: one program in four earns 1.
    """

    def programs(asked: list[str], run: Any) -> dict[str, Any]:
        tokenizer = run.processing_class
        texts = [f"f=lambda x:x*x*(x<{(9, 4, 3, 2)[place % 4]})" for place in range(len(asked))]
        ids = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts]
        return {
            "prompt_ids": [tokenizer(text)["input_ids"] for text in asked],
            "completion_ids": ids,
            "logprobs": None,
        }

    tests = [{"function": "f", "args": [number], "expected": number**2} for number in (1, 2, 3, 4)]
    data = Dataset.from_dict({"prompt": [f"square {i}" for i in range(8)], "tests": [tests] * 8})
    # The programs are ours, so that the test may run where no sandbox does.
    source = {"source": "unit_tests", "settings": {"allow_unsafe": True}}
    run = trainer(tmp_path, [source], data=data, recipe="verpo", max_completion_length=40, max_steps=1)
    run.rollout_func = programs
    run.train()
    assert run.state.log_history[0]["reward/unit_tests"] == 0.25
    found = sorted(run.buffer[0]["advantages"][:, 0].tolist())
    assert found == pytest.approx(sorted([1.2948, -0.2042, -0.4659, -0.6247] * 2), abs=5e-5)
