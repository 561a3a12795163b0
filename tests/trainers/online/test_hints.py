"""Hinted completions: how long a hint is, what is continued, what the loss is told, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from prefopt.errors import UserError
from prefopt.trainers.compose import choose_objective
from prefopt.trainers.trl_passes import GRPOPasses
from tests.trainers.online.support import config, prompts, trainer

ANSWER = "abcdefghij"


def by_prompt(prompts: list[str], completions: list[str], **_: Any) -> list[float | None]:
    """Prompt 0: right if it begins with B; prompt 1: never right; prompt 2: no score."""
    scores = {"0": lambda text: float(text.startswith("B")), "1": lambda _: 0.0, "2": lambda _: None}
    return [scores[prompt[0]](text) for prompt, text in zip(prompts, completions, strict=True)]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """In place of sampling: "A" and "B" in turns, with an end token. Returns what was asked for, prefix by prefix."""
    asked: list[list[int]] = []

    def instead(self: Any, ids: Any, *_: Any, **__: Any) -> tuple[list[list[int]], None]:
        asked.extend(ids)
        end = self.tokenizer.eos_token_id
        letters = [self.tokenizer(letter)["input_ids"][0] for letter in "AB"]
        return [[letters[i % 2], end] for i in range(len(ids))], None

    monkeypatch.setattr(GRPOPasses, "_generate_single_turn", instead)
    return asked


def hinting(folder: Path, **settings: Any) -> Any:
    """Three prompts, four completions each, two of them hinted; no noise."""
    data = prompts(3).map(lambda _: {"solution": ANSWER})
    own: dict[str, Any] = {
        "recipe": "adhint",
        "rewards": [by_prompt],
        "reference_answer": "solution",
        "hint_noise": 0.0,
        "data": data,
        "eval_dataset": data,
        "per_device_train_batch_size": 12,
        "per_device_eval_batch_size": 12,
        "max_completion_length": 12,
        "max_unscored": 1.0,
        "max_steps": 1,
        "learning_rate": 0.0,
        "fixed": False,
    }
    return trainer(folder, **{**own, **settings})


def texts_of(run: Any, batch: Any) -> dict[str, list[tuple[str, int]]]:
    """Prompt -> its completions with the lengths of their hints."""
    found: dict[str, list[tuple[str, int]]] = {}
    for row in range(len(batch["completion_ids"])):
        prompt = run.tokenizer.decode(batch["prompt_ids"][row][batch["prompt_mask"][row].bool()])
        text = run.tokenizer.decode(
            batch["completion_ids"][row][batch["completion_mask"][row].bool()], skip_special_tokens=True
        )
        found.setdefault(prompt, []).append((text, int(batch["extra.hint_length"][row])))
    return {prompt: sorted(rows, key=lambda one: one[1]) for prompt, rows in found.items()}


def test_hints_by_difficulty(tmp_path: Path, drawn: list[list[int]]) -> None:
    """Ten tokens of answer. Prompt 0: rewards (0, 1), .5 * .5 + .1 = .35, round(3.5) = 4; prompt 1: .6, 6; prompt 2
    has no score and gets none.

    Four completions of a prompt: two unaided, and two that go on behind the hint, in the order of drawing.
    """
    run = hinting(tmp_path)
    run.train()
    batch = run.buffer[0]
    found = texts_of(run, batch)
    assert {text for text, _ in found["0+0="]} == {"A", "B", "abcdA", "abcdB"}
    assert [length for _, length in found["0+0="]] == [0, 0, 4, 4]
    assert {text for text, _ in found["1+1="]} == {"A", "B", "abcdefA", "abcdefB"}
    assert [length for _, length in found["1+1="]] == [0, 0, 6, 6]
    assert sorted(found["2+2="]) == [("A", 0), ("A", 0), ("B", 0), ("B", 0)]
    # Two unaided completions a prompt, then the others; nothing else was drawn.
    behind = [run.tokenizer.decode(ids).partition("=")[2] for ids in drawn]
    assert behind[:6] == [""] * 6
    assert sorted(behind[6:]) == ["", "", "abcd", "abcd", "abcdef", "abcdef"]


def test_what_the_loss_is_told(tmp_path: Path, drawn: list[list[int]]) -> None:
    """Hint tokens stand in the mask; their weight is exp(-|H - Hbar| / (Hbar + 1e-6)) of plain entropies, or 0 where
    the completion failed."""
    run = hinting(tmp_path, rewards=[lambda prompts, completions, **_: [float("B" in text) for text in completions]])
    run.train()
    batch = run.buffer[0]
    mask, width = batch["completion_mask"].bool(), batch["completion_ids"].shape[1]
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    there = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    with torch.no_grad():
        logits = torch.nn.Module.__call__(run.model, input_ids=ids, attention_mask=there).logits[:, -width - 1 : -1]
    log_p = logits.log_softmax(-1)
    entropies = -(log_p.exp() * log_p).sum(-1)
    lengths = batch["extra.hint_length"]
    assert sorted(lengths.tolist()) == [0] * 6 + [4] * 6
    assert mask.sum(1).tolist() == (lengths + 2).tolist()
    # Sequence means over 12 rows: a token counts 1 / (12 * tokens), times the weight of the hint.
    for row in (lengths > 0).nonzero()[:, 0].tolist():
        own = float(entropies[row, 4:6].mean())
        right = int(batch["completion_ids"][row, 4]) == run.tokenizer("B")["input_ids"][0]
        damped = [float((-(h - own).abs() / (own + 1e-6)).exp()) * right for h in entropies[row, :4]]
        expected = torch.tensor([*damped, 1.0, 1.0]) / (12 * 6)
        torch.testing.assert_close(batch["weights"][row, :6], expected, atol=1e-6, rtol=1e-4)


def test_evaluation_gives_no_hint(tmp_path: Path, drawn: list[list[int]]) -> None:
    """Every prefix is a prompt alone."""
    run = hinting(tmp_path)
    run.model.eval()
    run.evaluate()
    assert {run.tokenizer.decode(ids) for ids in drawn} == {"0+0=", "1+1=", "2+2="}
    assert not run.hints.lengths.any()


@pytest.mark.parametrize(
    ("settings", "other", "words"),
    [
        ({"reference_answer": None}, {}, r"needs 'hint_length': which come with completions that continue a part"),
        ({"hinted": 3}, {}, "hinted=3 of num_generations=4: at least two completions with a hint"),
        ({"per_device_train_batch_size": 2, "steps_per_generation": 4, "num_generations": 8, "hinted": 4}, {}, ""),
        ({"use_transformers_continuous_batching": True}, {}, "which use_transformers_continuous_batching replaces"),
        ({}, {"rollout_func": print}, "which rollout_func replaces"),
        ({"hint_least": 0.7}, {}, "hint_least and hint_most are shares"),
        ({"recipe": "grpo", "reference_answer": None, "hinted": 2}, {}, "no completion is begun with a hint"),
    ],
)
def test_refused(settings: dict[str, Any], other: dict[str, Any], words: str, tmp_path: Path) -> None:
    """Before a model is loaded; whole groups over several micro-batches of a process are fine."""
    given = {"recipe": "adhint", "reference_answer": "answer", **settings}
    if not words:
        assert choose_objective(config(tmp_path, **given), None, [], other).recipe == "adhint"
        return
    with pytest.raises(UserError, match=words):
        choose_objective(config(tmp_path, **given), None, [], other)
