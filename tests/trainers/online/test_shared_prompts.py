"""Completions of one prompt in one row: nothing but the cost changes."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from torch import Tensor

from prefopt import recipes
from prefopt.errors import UserError
from prefopt.trainers import trl_hooks, trl_passes
from prefopt.trainers.online import OnlineTrainer
from prefopt.trainers.shared_prompts import cheapest, order_of_groups, reorder, why_separate
from reward_models.prefix_tree import Tree
from tests.tiny import tiny_gpt2, tiny_llama
from tests.trainers.online.support import GROUP, config, fixed_rollouts, furthest, losses, prompts, trainer, weights
from tests.trainers.online.test_logs import EntropyBonus

RECIPE: dict[str, Any] = {"recipe": "dapo", "sampling": (), "regularise": {"recipe": "grpo", "beta": 0.2}}


def filled(run: OnlineTrainer) -> list[dict[str, Any]]:
    """The micro-batches of one generation batch, behaviour log-probabilities moved so that clips act."""
    run.model.train()
    run.current_gradient_accumulation_steps = run.args.gradient_accumulation_steps
    rows = run.args.per_device_train_batch_size * run.args.steps_per_generation
    run._prepare_inputs([dict(prompts()[i // GROUP]) for i in range(rows)])
    buffer = run.buffer
    assert buffer is not None
    for batch in buffer:
        now = run.fixed_outputs(run.model, batch)[0]
        batch["old_per_token_logps"] = now + 0.3 * torch.randn(now.shape, generator=torch.Generator().manual_seed(1))
    return buffer


def outcome(run: OnlineTrainer, batch: dict[str, Any], sharing: str) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Loss, gradients and entropies of a micro-batch."""
    run.args.prefix_sharing = sharing
    run.model.zero_grad()
    loss = run.micro_batch_loss(run.model, batch)
    loss.backward()
    found = {name: p.grad.clone() for name, p in run.model.named_parameters() if p.grad is not None}
    entropies = run.token_outputs(run.model, batch)[1]
    assert entropies is not None
    return loss.detach(), found, entropies.detach()


SETTINGS: dict[str, dict[str, Any]] = {
    "llama": {"model": tiny_llama},
    "gpt2": {"model": tiny_gpt2},
    "adapter": {
        "model": tiny_llama,
        "peft_config": LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
    },
    "checkpointing": {"model": tiny_llama, "gradient_checkpointing": True},
    "adapter, checkpointing": {
        "model": tiny_llama,
        "peft_config": LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
        "gradient_checkpointing": True,
    },
    "temperature": {"model": tiny_llama, "temperature": 0.7},
    "less than a group": {"model": tiny_llama, "per_device_train_batch_size": 2},
    "entropies act": {"model": tiny_llama, "objective": recipes.build("grpo", regularise=EntropyBonus())},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_same_loss_gradient_and_entropies(name: str, tmp_path: Path) -> None:
    """Every micro-batch of a buffer of two steps with two micro-batches each, to 1e-5."""
    settings = {"recipe": RECIPE, "steps_per_generation": 4, "gradient_accumulation_steps": 2, **SETTINGS[name]}
    settings["model"] = settings["model"]()
    run = trainer(tmp_path, **settings)
    for parameter in run.model.parameters():
        # Away from the reference, and an adapter away from zero.
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    for batch in filled(run):
        one, other = (outcome(run, batch, sharing) for sharing in ("auto", "never"))
        torch.testing.assert_close(one[0], other[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(one[2], other[2], atol=1e-5, rtol=0)
        assert one[1].keys() == other[1].keys()
        assert max(float(gradient.abs().max()) for gradient in one[1].values()) > 1e-3
        for label, gradient in one[1].items():
            torch.testing.assert_close(gradient, other[1][label], atol=1e-5, rtol=0)


def test_same_fixed_outputs(tmp_path: Path) -> None:
    """Behaviour and reference log-probabilities, whose batches of rows are cut at other places, agree to 1e-5."""
    run = trainer(tmp_path, recipe=RECIPE, per_device_train_batch_size=6, steps_per_generation=2)
    assert run.reference is not None
    batch = run._generate_and_score_completions([dict(prompts()[i // GROUP]) for i in range(12)])
    both = [run.fixed_outputs(run.model, batch)[0], run.reference.logps(batch)]
    run.args.prefix_sharing = "never"
    plain = [run.fixed_outputs(run.model, batch)[0], run.reference.logps(batch)]
    for one, other in zip(both, plain, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("settings", [{"num_iterations": 2}, {"steps_per_generation": 4}], ids=str)
def test_same_run(settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four steps of plain gradient descent with accumulation 2 end at the same parameters, to 1e-5.

    Both take the groups in one order: with several steps a generation it decides which rows a step sees.
    """

    def same_order(batch: dict[str, Any]) -> dict[str, Any]:
        return reorder(batch, order_of_groups(batch["group"]))

    monkeypatch.setattr(trl_hooks, "shuffle_sequence_dict", same_order)
    settings = {"recipe": RECIPE, "gradient_accumulation_steps": 2, "optim": "sgd", "learning_rate": 0.1, **settings}
    before, runs = weights(tiny_llama()), []
    for sharing in ("auto", "never"):
        runs.append(trainer(tmp_path, prefix_sharing=sharing, **settings))
        runs[-1].train()
    assert losses(runs[0]) == pytest.approx(losses(runs[1]), abs=1e-5)
    assert furthest(before, weights(runs[0].model)) > 1e-3
    assert furthest(weights(runs[0].model), weights(runs[1].model)) < 1e-5


def test_tokens_of_tools_and_empty_completions(tmp_path: Path) -> None:
    """Tokens of the environment are read by the model and not trained on; a completion that is masked as a whole has
    no token at all: loss and gradient agree to 1e-5.
    """

    def with_tools(asked: list[str], run: Any) -> dict[str, Any]:
        answer = fixed_rollouts(asked, run)
        return answer | {"env_mask": [[0] + [1] * (len(ids) - 1) for ids in answer["completion_ids"]]}

    run = trainer(tmp_path, recipe=RECIPE)
    run.rollout_func = with_tools
    (batch,) = filled(run)
    assert "tool_mask" in batch
    batch["completion_mask"][3] = 0
    one, other = (outcome(run, batch, sharing) for sharing in ("auto", "never"))
    torch.testing.assert_close(one[0], other[0], atol=1e-5, rtol=0)
    for label, gradient in one[1].items():
        torch.testing.assert_close(gradient, other[1][label], atol=1e-5, rtol=0)


def test_a_prompt_is_computed_once(tmp_path: Path) -> None:
    """Two prompts of 4 bytes with 4 completions of 2, 3, 4, 5 tokens each: rows of 4 + 14 tokens instead of 8 of 9.

    Completion k of prompt i has 2 + (i + k) % 4 tokens. The head sees the 28 states that predict, not 36 or 72.
    """
    run = trainer(tmp_path, recipe="grpo")
    (batch,) = filled(run)
    seen: list[tuple[int, ...]] = []
    run.model.base_model.register_forward_hook(
        lambda module, inputs, kwargs, output: seen.append(tuple(output.last_hidden_state.shape[:2])), with_kwargs=True
    )
    run.micro_batch_loss(run.model, batch)
    run.args.prefix_sharing = "never"
    run.micro_batch_loss(run.model, batch)
    assert seen == [(2, 18), (8, 9)]


@pytest.mark.parametrize(("rows", "groups"), [(8, 2), (4, 1), (2, 1)])
def test_micro_batches_hold_whole_groups(rows: int, groups: int, tmp_path: Path) -> None:
    """16 rows in groups of 4: micro-batches of 8 and 4 rows hold whole groups, of 2 rows halves of one."""
    run = trainer(tmp_path, per_device_train_batch_size=rows, steps_per_generation=16 // rows)
    buffer = filled(run)
    assert [len(batch["group"].unique()) for batch in buffer] == [groups] * (16 // rows)
    assert sorted(name for batch in buffer for name in batch["row_names"]) == sorted(
        f"completion {i + 1} of '{i // 4}+{i // 4}='" for i in range(16)
    )


def test_order_of_groups() -> None:
    """Groups 0, 1, 2 of 2, 4, 4 rows (another process has the rest of group 0): whole groups first, in seeded order."""
    group = torch.tensor([0, 0, 1, 1, 1, 1, 2, 2, 2, 2])
    orders = set()
    for seed in range(20):
        torch.manual_seed(seed)
        order = order_of_groups(group)
        assert sorted(order.tolist()) == list(range(10))
        orders.add(tuple(group[order].tolist()))
    assert orders == {(1, 1, 1, 1, 2, 2, 2, 2, 0, 0), (2, 2, 2, 2, 1, 1, 1, 1, 0, 0)}


@pytest.mark.parametrize(("length", "trees"), [(72, 1), (256, 2), (1024, 8)])
def test_long_completions_get_rows_of_their_own(length: int, trees: int) -> None:
    """Cost n (6 d + n) of rows of n tokens, d = 384, prompt of 256, 8 completions, in 1, 2, 4 or 8 trees, in millions:

    length 72: 2.6, 3.1, 4.3, 6.9; length 256: 10.6, 9.2, 9.4, 11.5; length 1024: 90.8, 57.9, 42.5, 36.7.
    """
    split = cheapest(Tree(range(256), [range(length)] * 8), 384)
    assert [len(tree.responses) for tree in split] == [8 // trees] * trees


def test_where_a_tree_would_be_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Rows are computed one by one, and one sentence says why; ``off`` says nothing."""
    model = tiny_llama()
    model.config.attention_layers = ["local"]
    with caplog.at_level(logging.WARNING, logger=trl_passes.__name__):
        run = trainer(tmp_path, model=model, max_steps=2)
        run.train()
        trainer(tmp_path, prefix_sharing="never", max_steps=1).train()
    said = [line.getMessage() for line in caplog.records if line.name == trl_passes.__name__]
    assert said == [
        "every completion computes its prompt again: LlamaModel has local attention, which counts places in the row "
        "instead of positions"
    ]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"torch_compile": True}, "torch_compile would compile anew"), ({"cast_lm_head_to_fp32": True}, "cast_lm_head")],
    ids=str,
)
def test_settings_without_trees(settings: dict[str, bool], reason: str) -> None:
    """Each says why; without them, a tree is exact for a Llama."""
    plain = {"torch_compile": False, "cast_lm_head_to_fp32": False}
    assert why_separate(SimpleNamespace(**plain), tiny_llama(), 9) is None
    assert reason in str(why_separate(SimpleNamespace(**{**plain, **settings}), tiny_llama(), 9))


def test_a_learned_prompt_has_no_trees() -> None:
    """PEFT puts its virtual tokens before every row, and knows nothing of a row's parts."""
    adapter = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    settings = SimpleNamespace(torch_compile=False, cast_lm_head_to_fp32=False)
    assert "learns a prompt" in str(why_separate(settings, get_peft_model(tiny_llama(), adapter), 9))


def test_bad_setting(tmp_path: Path) -> None:
    """Named with its choices."""
    with pytest.raises(UserError, match="prefix_sharing must be auto or never, not 'on'"):
        config(tmp_path, prefix_sharing="on")


def test_entropies_only_where_they_are_read(tmp_path: Path) -> None:
    """Of three steps only the second is logged, and ``grpo`` reads none: entropies are asked for once."""
    run = trainer(tmp_path, recipe="grpo", max_steps=3, logging_steps=2)
    asked: list[bool] = []
    original = run.token_outputs

    def spy(model: Any, batch: Any, rows_at_once: int | None = None, entropies: bool = True) -> Any:
        asked.append(entropies)
        return original(model, batch, rows_at_once, entropies)

    run.token_outputs = spy
    run.train()
    assert asked == [False, True, False]
