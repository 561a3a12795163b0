"""What is logged, figure by figure, and ``history.jsonl``."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from prefopt import recipes
from prefopt.online.slots import Advantage, Regulariser
from prefopt.trainers.display import brief
from prefopt.trainers.history import read_history
from prefopt.trainers.online import align_online
from tests.tiny import tiny_llama, tiny_tokenizer
from tests.trainers.online.support import config, fixed_rollouts, prompts, short, token_mean, trainer


def ids_of(prompts: Any, completions: Any, completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Number of tokens."""
    return [float(len(ids)) for ids in completion_ids]


def test_figures_of_one_batch(tmp_path: Path) -> None:
    """Two groups of four completions with 2, 3, 4 and 5 tokens in some order; rewards are their lengths, weight 0.5.

    Mean reward 3.5; standard deviation in a group sqrt(5/3) = 1.2910; the signal is half the reward, so its deviation
    is 0.64550 and a unit of reward counts 0.5 / (0.6455 + 1e-4) = 0.77448 in the advantage; reward and advantage have
    correlation 1. ``short`` is 1 for two of four: mean 0.5; with weight 0 it counts nothing.
    """
    rewards = [{"source": ids_of, "weight": 0.5, "name": "length"}, {"source": short, "weight": 0.0}]
    run = trainer(tmp_path, rewards, max_steps=1)
    run.train()
    line = run.state.log_history[0]
    assert line["reward/length"] == 3.5
    assert line["reward_std/length"] == pytest.approx(math.sqrt(5 / 3))
    assert line["reward/short"] == 0.5
    assert line["reward_std"] == pytest.approx((math.sqrt(5 / 3) + math.sqrt(1 / 3)) / 2)
    assert line["weight/length"] == pytest.approx(0.5 / (0.5 * math.sqrt(5 / 3) + 1e-4), rel=1e-5)
    assert line["weight/short"] == 0
    assert line["influence/length"] == pytest.approx(1.0)
    assert (line["completion_length"], line["groups_without_signal"], line["unscored"]) == (3.5, 0.0, 0.0)
    assert line["clip_fraction"] == 0.0
    assert line["entropy"] == pytest.approx(math.log(263), abs=0.05)
    assert not [key for key in line if key.startswith("rewards/")]


def test_groups_without_signal(tmp_path: Path) -> None:
    """Equal rewards in every group: all groups are silent, and the loss has no gradient."""
    run = trainer(tmp_path, [lambda prompts, completions, **_: [1.0] * len(prompts)], max_steps=1)
    run.train()
    line = run.state.log_history[0]
    assert (line["groups_without_signal"], line["grad_norm"]) == (1.0, 0.0)


def test_lines_average_over_their_steps(tmp_path: Path) -> None:
    """A line every second step holds the mean over both batches; counts are sums."""
    settings: dict[str, Any] = {"max_steps": 2, "learning_rate": 0.0, "rewards": [token_mean]}
    each = trainer(tmp_path / "each", **settings)
    both = trainer(tmp_path / "both", logging_steps=2, **settings)
    each.train()
    both.train()
    one, two = each.state.log_history[:2]
    (line,) = [line for line in both.state.log_history if "loss" in line]
    for name in ("reward/token_mean", "advantage_std", "completion_length", "influence/token_mean"):
        assert line[name] == pytest.approx((one[name] + two[name]) / 2, rel=1e-6), name


def test_history_file(tmp_path: Path) -> None:
    """One JSON object a logged step, the same figures as the trainer's log; a new run moves the old file aside."""
    done = align_online(
        tiny_llama(), prompts(), [token_mean, short], config(tmp_path, max_steps=3), tokenizer=tiny_tokenizer(),
        rollout_func=fixed_rollouts,
    )  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert done.log == lines
    assert {"reward/token_mean", "weight/short", "entropy", "loss", "clip_fraction"} <= set(lines[0])
    trainer(tmp_path, max_steps=1).train()
    assert [line["step"] for line in read_history(tmp_path / "history.jsonl")] == [1]
    assert [line["step"] for line in read_history(tmp_path / "history.previous.jsonl")] == [1, 2, 3]


def test_the_line_that_people_see(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rewards and a few figures, one line a step; no dictionary of forty."""
    trainer(tmp_path, [ids_of], max_steps=2).train()
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert [line.split("  ")[:2] for line in lines] == [
        ["step 1", "reward/ids_of 3.5"],
        ["step 2", "reward/ids_of 3.5"],
    ]
    assert brief(3, {"loss": 0.25, "unscored": 0.0, "num_tokens": 9}) == "step 3  loss 0.25"


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    """A crash may cut the last line."""
    path = tmp_path / "history.jsonl"
    path.write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "lo')
    assert read_history(path) == [{"step": 1, "loss": 0.5}]


def test_completions_are_logged_with_our_advantages(tmp_path: Path) -> None:
    """TRL's table of completions, where asked for, shows the advantages that act: of dr_grpo, reward minus mean."""
    import pandas

    run = trainer(tmp_path, [ids_of], recipe="dr_grpo", max_steps=1, log_completions=True)
    run.train()
    table = pandas.read_parquet(next((tmp_path / "completions").glob("*.parquet")))
    assert sorted(table["advantage"]) == [-1.5, -1.5, -0.5, -0.5, 0.5, 0.5, 1.5, 1.5]
    assert (table["ids_of"] - 3.5).tolist() == pytest.approx(table["advantage"].tolist())


@dataclass(frozen=True)
class Surprise(Advantage):
    """Advantage = reward times entropy at sampling time minus truncation: a part with two optional inputs."""

    needs: ClassVar[frozenset[str]] = frozenset({"entropies", "truncated"})
    token_level: ClassVar[bool] = True

    def __call__(self, signal: Tensor, rollouts: Any) -> Tensor:
        """Return ``(B, T)``."""
        return signal[:, None] * rollouts.extras["entropies"] - rollouts.extras["truncated"][:, None].float()


@dataclass(frozen=True)
class EntropyBonus(Regulariser):
    """Minus the entropy of the policy."""

    needs: ClassVar[frozenset[str]] = frozenset({"policy.entropies"})

    def __call__(self, policy: Any, rollouts: Any, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return ``(B, T)``."""
        return -policy.extras["entropies"]


@dataclass(frozen=True)
class Confidence(Advantage):
    """Advantage = probability of each token at sampling time: reads the behaviour log-probabilities in ``prepare``."""

    token_level: ClassVar[bool] = True

    def __call__(self, signal: Tensor, rollouts: Any) -> Tensor:
        """Return ``(B, T)``."""
        return rollouts.logps.exp()


def test_optional_inputs(tmp_path: Path) -> None:
    """What parts need arrives: entropies at sampling time, truncation, and the policy's entropies with gradient."""
    objective = recipes.build("grpo", advantage=Surprise(), regularise=EntropyBonus())
    run = trainer(tmp_path, objective=objective, max_steps=1, fixed=False, temperature=1.3)
    run.train()
    batch = run.buffer[0]
    ended = (batch["completion_ids"] == 2).any(-1)
    assert torch.equal(batch["extra.truncated"], ~ended)
    expected = batch["rewards"].sum(-1)[:, None] * batch["extra.entropies"] - (~ended)[:, None].float()
    torch.testing.assert_close(batch["advantages"], expected * batch["completion_mask"], atol=1e-5, rtol=0)
    assert run.state.log_history[0]["grad_norm"] > 0


def test_a_part_that_reads_logps_in_prepare_gets_them(tmp_path: Path) -> None:
    """A single update would save that pass; it is made once the objective is seen to read them."""
    run = trainer(tmp_path, objective=recipes.build("grpo", advantage=Confidence()), max_steps=2, learning_rate=0.0)
    run.train()
    batch = run.buffer[0]
    logps = run.fixed_outputs(run.model, batch)[0]
    expected = logps.exp() * batch["completion_mask"]
    torch.testing.assert_close(batch["advantages"], expected, atol=1e-6, rtol=0)
