"""However a generation batch is split into steps, micro-batches and passes, an optimiser step is one mean-type loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from prefopt.batch import PolicyOutputs, Prepared, Rollouts
from prefopt.online.objective import OnlineObjective
from tests.trainers.online.support import furthest, losses, trainer, weights

RECIPES = ["grpo", "dr_grpo", "dapo", "gspo", "cispo", "sapo", "delta_l", "gdpo", "mo_grpo", "rloo"]


@pytest.mark.parametrize("recipe", [*RECIPES, {"recipe": "ngrpo", "reward_max": 3.0}], ids=str)
def test_accumulation_changes_nothing(recipe: Any, tmp_path: Path) -> None:
    """One micro-batch of 16 rows, four of 4 rows: the same losses and parameters after two steps, to 1e-5.

    Plain SGD, as Adam's division would magnify differences of rounding.
    """
    settings: dict[str, Any] = {"recipe": recipe, "max_steps": 2, "optim": "sgd", "learning_rate": 0.1}
    whole = trainer(tmp_path, per_device_train_batch_size=16, **settings)
    parts = trainer(tmp_path, per_device_train_batch_size=4, gradient_accumulation_steps=4, **settings)
    before = weights(whole.model)
    whole.train()
    parts.train()
    assert losses(whole) == pytest.approx(losses(parts), abs=1e-5)
    assert furthest(before, weights(whole.model)) > 1e-3
    assert furthest(weights(whole.model), weights(parts.model)) < 1e-5


def micro_losses(run: Any) -> list[float]:
    """Train, and return every micro-batch's loss."""
    seen: list[float] = []
    original = run.micro_batch_loss

    def spy(model: Any, batch: Any) -> torch.Tensor:
        loss = original(model, batch)
        seen.append(float(loss))
        return loss

    run.micro_batch_loss = spy
    run.train()
    return seen


def test_steps_per_generation(tmp_path: Path) -> None:
    """Four steps on a quarter each, without learning: their mean is the loss of the whole, and each is of its size.

    With learning rate 0 the policy stays, so the four losses, each weighted to a whole one, average to the loss of one
    step on all 16 rows.
    """
    settings: dict[str, Any] = {"recipe": "dapo", "learning_rate": 0.0, "rewards": [first_token]}
    whole = micro_losses(trainer(tmp_path, per_device_train_batch_size=16, max_steps=1, **settings))
    parts = micro_losses(
        trainer(tmp_path, per_device_train_batch_size=4, steps_per_generation=4, max_steps=4, **settings)
    )
    assert len(parts) == 4
    assert sum(parts) / 4 == pytest.approx(whole[0], abs=1e-6)
    assert max(abs(part) for part in parts) > abs(whole[0])


def first_token(prompts: Any, completions: Any, completion_ids: list[list[int]], **_: Any) -> list[float]:
    """A reward that differs within groups."""
    return [float(ids[0]) for ids in completion_ids]


def test_several_generations_in_one_step(tmp_path: Path) -> None:
    """Two generation batches of 8 rows accumulated in one step: each counts half, and both advance the state.

    Rewards are 1 everywhere: b = 0 -> 0.5 -> 0.75 with momentum 0.5 after one optimiser step that consumed two batches.
    The losses of the two micro-batches are half of those of two runs on one batch each, as ``reinforce`` has no group.
    """
    ones = [lambda prompts, completions, **_: [1.0] * len(prompts)]
    recipe = {"recipe": "reinforce", "baseline_momentum": 0.5}
    both = trainer(
        tmp_path, ones, recipe=recipe, max_steps=1, gradient_accumulation_steps=2, steps_per_generation=1,
        learning_rate=0.0,
    )  # fmt: skip
    halves = micro_losses(both)
    assert both.objective_state["advantage/mean"].item() == 0.75
    single = micro_losses(trainer(tmp_path, ones, recipe=recipe, max_steps=1, learning_rate=0.0))
    assert halves[0] == pytest.approx(single[0] / 2, rel=1e-6)


def test_two_passes_have_ratios(tmp_path: Path) -> None:
    """In the second pass over a batch the ratio is exp(log pi_now - log pi_sampling), and not 1.

    The behaviour log-probabilities of both passes are the same tensors, those of the policy before the first step.
    """
    run = trainer(tmp_path, num_iterations=2, max_steps=2)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    original = OnlineObjective.loss

    def spy(self: Any, rollouts: Rollouts, prepared: Prepared, policy: PolicyOutputs) -> torch.Tensor:
        seen.append((rollouts.logps.clone(), policy.logps.detach().clone()))
        return original(self, rollouts, prepared, policy)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnlineObjective, "loss", spy)
        run.train()
    (old_first, new_first), (old_second, new_second) = seen
    torch.testing.assert_close(old_first, new_first, atol=1e-6, rtol=0)
    assert torch.equal(old_first, old_second)
    assert (new_second - old_second).abs().max() > 1e-2
    figures = [line["behaviour_kl"] for line in run.state.log_history if "behaviour_kl" in line]
    assert figures[0] < 1e-6 < figures[1]


def test_a_single_update_saves_the_pass(tmp_path: Path) -> None:
    """Where a batch gives one update, no pass is spent on behaviour log-probabilities: one forward a micro-batch."""
    run = trainer(tmp_path, max_steps=2)
    calls: list[bool] = []
    original = run._get_per_token_logps_and_entropies

    def spy(*given: Any, **named: Any) -> Any:
        calls.append(torch.is_grad_enabled())
        return original(*given, **named)

    run._get_per_token_logps_and_entropies = spy
    run.train()
    assert calls == [True, True]


def test_one_completion_a_prompt(tmp_path: Path) -> None:
    """REINFORCE without a group baseline trains with num_generations 1: a group a row."""
    run = trainer(tmp_path, recipe="reinforce", num_generations=1, max_steps=1)
    run.train()
    assert run.buffer is not None
    assert sorted(run.buffer[0]["group"].tolist()) == list(range(8))
    assert abs(losses(run)[0]) > 1e-3


def test_evaluation(tmp_path: Path) -> None:
    """Evaluation logs rewards and loss under ``eval_`` and leaves the objective's state alone."""
    from tests.trainers.online.support import prompts

    run = trainer(
        tmp_path,
        recipe={"recipe": "reinforce", "baseline_momentum": 0.5},
        eval_dataset=prompts(2),
        per_device_eval_batch_size=8,
    )
    metrics = run.evaluate()
    assert run.objective_state["advantage/steps"].item() == 0
    # Prompts 0 and 1, places 0 to 3: completions of 2 + (i + k) % 4 tokens; 2 of 4 have at most three tokens.
    assert metrics["eval_reward/short"] == 0.5
    assert metrics["eval_completion_length"] == 3.5
