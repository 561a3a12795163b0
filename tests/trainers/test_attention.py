"""Trainers under another attention, and on trees packed into rows, take the steps that they take on plain rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from prefopt.trainers import offline_trainer, reward_trainer, shared_prompts
from prefopt.trainers.offline import OfflineConfig
from prefopt.trainers.online import OnlineConfig
from prefopt.trainers.reward import RewardConfig, RewardTrainer
from reward_models.errors import ModelError
from reward_models.heads import RewardHead
from reward_models.model import RewardModel
from reward_models.tree_attention import ONE_ROW
from tests.tiny import tiny_llama, tiny_tokenizer
from tests.trainers.online.support import trainer
from tests.trainers.online.test_shared_prompts import RECIPE, filled, outcome
from tests.trainers.pairs import pairs
from tests.trainers.test_offline_trees import trained


def pack_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lay trees out as for FlexAttention, which has no backward pass on a CPU; the dense mask stays."""
    for module in (offline_trainer, reward_trainer, shared_prompts):
        monkeypatch.setattr(module, "row_width", lambda config: ONE_ROW)


def reward_steps(folder: Path, seen: list[tuple[int, ...]], **settings: Any) -> dict[str, torch.Tensor]:
    """Weights after two steps of plain gradient descent; ``seen`` gets the shape of each batch of trees."""
    torch.manual_seed(0)
    backbone = tiny_llama(head=False)
    model = RewardModel(backbone, tiny_tokenizer(), RewardHead(32), "last")
    args = RewardConfig(
        output_dir=str(folder),
        use_cpu=True,
        max_steps=2,
        per_device_train_batch_size=4,
        optim="sgd",
        learning_rate=1.0,
        save_strategy="no",
        disable_tqdm=True,
        **settings,
    )
    forward = model._score_trees
    model._score_trees = lambda batch: seen.append(tuple(batch.input_ids.shape)) or forward(batch)  # type: ignore
    run = RewardTrainer(model, args, pairs(8))
    run.train()
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@pytest.mark.parametrize("settings", [{}, {"gradient_checkpointing": True}, {"token_budget": 200}], ids=str)
def test_reward_training_on_packed_rows(tmp_path, monkeypatch, settings):
    """All trees of a pass in one row, without padding, and one row a tree: the same weights to 1e-5."""
    plain = reward_steps(tmp_path / "plain", [])
    pack_everything(monkeypatch)
    shapes: list[tuple[int, ...]] = []
    packed = reward_steps(tmp_path / "packed", shapes, **settings)
    assert {rows for rows, _ in shapes} == {1}
    if settings.get("token_budget"):
        assert max(tokens for _, tokens in shapes) <= 200
    for name, value in packed.items():
        assert_close(value, plain[name], rtol=0, atol=1e-5)


def test_reward_training_with_eager_attention(tmp_path):
    one, other = (reward_steps(tmp_path / name, [], attention=name) for name in ("eager", "auto"))
    for name, value in one.items():
        assert_close(value, other[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", [{}, {"token_budget": 300}, {"recipe": "simpo"}], ids=str)
def test_offline_training_on_packed_rows(tmp_path, monkeypatch, case):
    """Losses, gradient norms and weights of three steps, to 1e-5."""
    pack_everything(monkeypatch)
    packed, packed_weights = trained(tmp_path, tiny_llama(), "auto", **case)
    plain, plain_weights = trained(tmp_path, tiny_llama(), "never", **case)
    for one, other in zip(packed, plain, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)
    for name, value in packed_weights.items():
        assert_close(value, plain_weights[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"token_budget": 120}], ids=str)
def test_online_update_on_packed_rows(tmp_path, monkeypatch, settings):
    """Loss, gradients and entropies of every micro-batch, to 1e-5."""
    pack_everything(monkeypatch)
    run = trainer(tmp_path, recipe=RECIPE, model=tiny_llama(), steps_per_generation=2, **settings)
    for batch in filled(run):
        one, other = (outcome(run, batch, sharing) for sharing in ("auto", "never"))
        assert_close(one[0], other[0], rtol=0, atol=1e-5)
        assert_close(one[2], other[2], rtol=0, atol=1e-5)
        for name, gradient in one[1].items():
            assert_close(gradient, other[1][name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [RewardConfig, OfflineConfig, OnlineConfig])
def test_an_unknown_attention_is_refused_before_anything_is_loaded(kind, tmp_path):
    with pytest.raises(ModelError, match="attention must be one of auto, sdpa, flex_attention, eager, got 'flash'"):
        kind(output_dir=str(tmp_path), attention="flash", use_cpu=True, per_device_train_batch_size=8)


def test_flex_attention_is_refused_on_a_cpu(tmp_path):
    with pytest.raises(ModelError, match="no backward pass on a CPU; choose sdpa or auto"):
        reward_steps(tmp_path, [], attention="flex_attention")
    with pytest.raises(ModelError, match="no backward pass on a CPU; choose sdpa or auto"):
        trained(tmp_path, tiny_llama(), "auto", attention="flex_attention")
    with pytest.raises(ModelError, match="no backward pass on a CPU; choose sdpa or auto"):
        trainer(tmp_path, recipe=RECIPE, model=tiny_llama(), attention="flex_attention")
