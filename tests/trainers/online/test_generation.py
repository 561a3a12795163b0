"""What TRL generates passes through unchanged: messages, environments, masks, the sampling engine's corrections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from trl import GRPOTrainer

from tests.tiny import tiny_tokenizer
from tests.trainers.online.support import fixed_rollouts, prompts, token_mean, trainer

TOOL_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}"
    "{% for call in message.tool_calls or [] %}{{ call.function.name }}{{ call.function.arguments }}{% endfor %}"
    "<eos>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def test_messages(tmp_path: Path) -> None:
    """Prompts as messages go through the chat template; sources get messages, verifiers read the last one's text."""
    seen: list[Any] = []

    def look(prompts: Any, completions: Any, **_: Any) -> list[float]:
        seen.extend([prompts[0], completions[0]])
        return [1.0] * len(prompts)

    data = Dataset.from_dict({"prompt": [[{"role": "user", "content": f"{i}"}] for i in range(8)], "answer": ["1"] * 8})
    sources = [look, "exact_answer", {"source": "length", "settings": {"target": 3, "unit": "characters"}}]
    trainer(tmp_path, sources, data=data, max_steps=1, fixed=False).train()
    assert seen[0][0]["role"] == "user"
    assert seen[1][0]["role"] == "assistant"
    assert isinstance(seen[1][0]["content"], str)


def test_an_environment_brings_its_own_reward(tmp_path: Path) -> None:
    """TRL's environments are reset with the row; their reward is a column beside the sources, under their name."""

    class Counter:
        def reset(self, answer: str = "", **_: Any) -> None:
            self.wanted = answer

        def get_reward(self) -> float:
            return float(self.wanted)

    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TOOL_TEMPLATE
    data = Dataset.from_dict(
        {"prompt": [[{"role": "user", "content": f"{i}"}] for i in range(8)], "answer": [str(2 * i) for i in range(8)]}
    )
    run = trainer(
        tmp_path, [token_mean], data=data, processing_class=tokenizer, max_steps=1, fixed=False,
        environment_factory=Counter,
    )  # fmt: skip
    assert run.scorer.names == ["token_mean", "Counter"]
    run.train()
    batch = run.buffer[0]
    assert len(batch["rewards"][:, 1].unique()) == 2
    assert set(batch["rewards"][:, 1].tolist()) <= {2.0 * i for i in range(8)}


def test_tokens_of_the_environment_are_no_tokens_of_the_policy(tmp_path: Path) -> None:
    """The first token of every completion is masked: no advantage, no weight there; lengths count the rest.

    Completions have 2 to 5 tokens, so 1 to 4 of the policy, 2.5 on average.
    """

    def masked(asked: list[str], run: Any) -> dict[str, Any]:
        answer = fixed_rollouts(asked, run)
        return answer | {"env_mask": [[0] + [1] * (len(ids) - 1) for ids in answer["completion_ids"]]}

    run = trainer(tmp_path, max_steps=1)
    run.rollout_func = masked
    run.train()
    batch = run.buffer[0]
    assert not batch["weights"][:, 0].any()
    assert not batch["advantages"][:, 0].any()
    assert batch["weights"].sum().item() == pytest.approx(1.0)
    assert run.state.log_history[0]["completion_length"] == 2.5


def test_the_sampling_engine_is_corrected_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """TRL's ratio of its own to the engine's probabilities multiplies the policy's weights, not the penalties'."""
    original = GRPOTrainer._generate_and_score_completions

    def with_ratio(self: Any, inputs: Any) -> dict[str, Any]:
        batch = original(self, inputs)
        return batch | {"importance_sampling_ratio": torch.full(batch["completion_mask"].shape, 0.5)}

    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", with_ratio)
    run = trainer(tmp_path, max_steps=1)
    run.train()
    batch = run.buffer[0]
    torch.testing.assert_close(batch["weights"], 0.5 * batch["penalty_weights"])
    assert batch["penalty_weights"].sum().item() == pytest.approx(1.0)


def test_column_names_reach_the_source(tmp_path: Path) -> None:
    """Rows keep their reference: every completion is scored against its own prompt's answer."""

    def own(prompts: list[str], completions: Any, answer: list[str]) -> list[float]:
        return [float(int(p.split("+")[0]) * 2 == int(a)) for p, a in zip(prompts, answer, strict=True)]

    run = trainer(tmp_path, [own], data=prompts(8), max_steps=2)
    run.train()
    assert [line["reward/own"] for line in run.state.log_history if "loss" in line] == [1.0, 1.0]


@pytest.mark.gpu
def test_bfloat16_on_a_gpu(tmp_path: Path) -> None:
    """bfloat16 autocast is on where nothing is said, weights stay float32, and losses are finite."""
    run = trainer(tmp_path, use_cpu=False, max_steps=2)
    assert run.args.bf16
    run.train()
    assert next(run.model.parameters()).dtype == torch.float32
    assert all(torch.isfinite(p).all() for p in run.model.parameters())
    assert torch.isfinite(torch.tensor(run.state.log_history[0]["loss"]))


def test_bfloat16_is_passed_on(tmp_path: Path) -> None:
    """On a CPU it is off by default, and on when asked for: the losses are those of float32, to bfloat16's accuracy."""
    run = trainer(tmp_path, max_steps=1)
    half = trainer(tmp_path, max_steps=1, bf16=True)
    assert (run.args.bf16, half.args.bf16) == (False, True)
    run.train()
    half.train()
    assert next(half.model.parameters()).dtype == torch.float32
    grads = [one.state.log_history[0]["grad_norm"] for one in (run, half)]
    assert grads[0] != grads[1]
    assert grads[0] == pytest.approx(grads[1], rel=0.05)
