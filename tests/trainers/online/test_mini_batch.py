"""Before each optimiser step the objective sees the current policy on the whole mini-batch, once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from prefopt import recipes
from prefopt.batch import PolicyOutputs, Prepared, Rollouts
from prefopt.composition import State, StatefulPart
from prefopt.errors import UserError
from prefopt.online.objective import OnlineObjective
from prefopt.online.slots import PolicyWeight, Regulariser, Scope
from tests.trainers.online.support import furthest, losses, prompts, trainer, weights

SGD: dict[str, Any] = {"optim": "sgd", "learning_rate": 0.1}
TIGHT = {"recipe": "m2po", "threshold": 1e-9}


@pytest.mark.parametrize("recipe", [TIGHT, {**TIGHT, "released": True}], ids=["mask", "clip"])
def test_accumulation_changes_nothing(recipe: Any, tmp_path: Path) -> None:
    """16 rows in one micro-batch or in four: the same two updates, the second of which masks by the whole mini-batch.

    A threshold of 1e-9 masks most tokens whose log-ratio is not 0, so that the second update differs from GRPO's.
    """
    settings: dict[str, Any] = {"max_steps": 2, "num_iterations": 2, **SGD}
    whole = trainer(tmp_path, recipe=recipe, per_device_train_batch_size=16, **settings)
    parts = trainer(tmp_path, recipe=recipe, per_device_train_batch_size=4, gradient_accumulation_steps=4, **settings)
    plain = trainer(tmp_path, per_device_train_batch_size=16, **settings)
    for run in (whole, parts, plain):
        run.train()
    assert losses(whole) == pytest.approx(losses(parts), abs=1e-5)
    assert furthest(weights(whole.model), weights(parts.model)) < 1e-5
    assert furthest(weights(whole.model), weights(plain.model)) > 1e-4


def watch(run: Any) -> tuple[list[tuple[Rollouts, Prepared, PolicyOutputs]], list[bool]]:
    """Remember what ``refine`` is given, and whether each forward pass had a gradient."""
    seen: list[tuple[Rollouts, Prepared, PolicyOutputs]] = []
    passes: list[bool] = []
    original = run._get_per_token_logps_and_entropies

    def count(*given: Any, **named: Any) -> Any:
        passes.append(torch.is_grad_enabled())
        return original(*given, **named)

    run._get_per_token_logps_and_entropies = count
    refine = OnlineObjective.refine

    def spy(self: Any, rollouts: Rollouts, prepared: Prepared, policy: PolicyOutputs) -> Prepared:
        seen.append((rollouts, prepared, policy))
        return refine(self, rollouts, prepared, policy)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnlineObjective, "refine", spy)
        run.train()
    return seen, passes


def test_what_refine_sees(tmp_path: Path) -> None:
    """Two steps of two micro-batches of 4 rows over 16, two iterations: 8 rows each time, of the policy as it is then.

    TRL computes behaviour log-probabilities in passes of 4 rows (four without gradient). The first step of a generation
    batch needs no other: the policy is the one that sampled. The second, third and fourth take one a micro-batch.
    """
    run = trainer(
        tmp_path, recipe=TIGHT, per_device_train_batch_size=4, gradient_accumulation_steps=2, steps_per_generation=4,
        num_iterations=2, max_steps=4, data=prompts(4), prefix_sharing="never", **SGD,
    )  # fmt: skip
    seen, passes = watch(run)
    assert [len(rollouts) for rollouts, _, _ in seen] == [8, 8, 8, 8]
    gaps = [float(((policy.logps - rollouts.logps) * rollouts.mask).abs().max()) for rollouts, _, policy in seen]
    assert gaps[0] == 0
    assert min(gaps[1:]) > 1e-4
    # Rows of the first and second step make the batch; the second iteration takes them in the same order.
    rows = [rollouts.rewards[:, 0].tolist() for rollouts, _, _ in seen]
    assert rows[0] == rows[2] != rows[1] == rows[3]
    assert passes == [False] + [True] * 2 + ([False] * 2 + [True] * 2) * 3
    # A mean over the 56 tokens of the generation batch: a mini-batch weighs what it holds of them.
    for rollouts, part, _ in seen:
        assert part.weights.sum().item() == pytest.approx(rollouts.mask.sum().item() / 56)


@dataclass(frozen=True)
class Count(PolicyWeight, StatefulPart):
    """Weighs by 1 + the number of steps so far; the statistic is the mini-batch's largest log-probability."""

    scope: ClassVar[Scope] = "batch"

    def init_state(self) -> State:
        return {"steps": torch.zeros(()), "largest": torch.zeros(2)}

    def __call__(self, ratio: Tensor, advantages: Tensor, policy: Any, rollouts: Any, *_: Any, **state: Any) -> Tensor:
        return torch.ones_like(advantages) + state["state"]["steps"]

    def statistics(self, ratio: Tensor, advantages: Tensor, policy: Any, rollouts: Any, *_: Any, **state: Any) -> State:
        return {"largest": policy.logps[rollouts.mask].max()}

    def update(self, state: State, statistics: Any) -> State:
        return {"steps": state["steps"] + 1, "largest": torch.stack([state["largest"][1], statistics["largest"]])}


def test_statistics_advance_the_state(tmp_path: Path) -> None:
    """Each of two steps on one generation batch advances the state by its own mini-batch, and the second step reads it.

    So weights of the first step are times 1, of the second times 2: the same sum is 1/2 and 1 of a generation batch.
    """
    objective = recipes.build("grpo", policy_weight=Count())
    run = trainer(tmp_path, objective=objective, per_device_train_batch_size=4, steps_per_generation=2, max_steps=2)
    sums = []
    original = OnlineObjective.loss

    def spy(self: Any, rollouts: Rollouts, prepared: Prepared, policy: PolicyOutputs) -> Tensor:
        sums.append(prepared.weights.sum().item())
        return original(self, rollouts, prepared, policy)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnlineObjective, "loss", spy)
        run.train()
    assert sums == pytest.approx([0.5, 1.0])
    assert run.objective_state["policy_weight.0/steps"].item() == 2
    first, second = run.objective_state["policy_weight.0/largest"].tolist()
    assert first != second
    assert first < 0 > second


SEEN: list[dict[str, Any]] = []


@dataclass(frozen=True)
class Carries(Regulariser):
    """Carries the row's rewards, in shapes and types of several kinds; no penalty."""

    kind: str = "number"

    def carry(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        lengths = rollouts.mask.sum(-1)
        return {
            "number": lengths,
            "cube": lengths[:, None, None].expand(-1, 3, 2).double(),
            "truth": lengths[:, None] > torch.arange(1, 5),
        }[self.kind]

    def __call__(
        self, policy: Any, rollouts: Any, ratio: Tensor, advantages: Tensor, *_: Any, carried: Tensor
    ) -> Tensor:
        SEEN.append({"kind": self.kind, "carried": carried, "lengths": rollouts.mask.sum(-1)})
        return torch.zeros_like(advantages)


def test_what_is_carried_stays_with_its_row(tmp_path: Path) -> None:
    """Integers ``(B,)``, float64 ``(B, 3, 2)`` and bool ``(B, 4)`` made of a row's length still say it in the loss."""
    SEEN.clear()
    parts = tuple(Carries(kind) for kind in ("number", "cube", "truth"))
    objective = recipes.build("grpo", regularise=parts)
    run = trainer(tmp_path, objective=objective, per_device_train_batch_size=4, steps_per_generation=4, max_steps=4)
    run.train()
    assert len(SEEN) == 12
    for one in SEEN:
        lengths, carried = one["lengths"], one["carried"]
        if one["kind"] == "number":
            assert carried.dtype == torch.int64
            assert torch.equal(carried, lengths)
        elif one["kind"] == "cube":
            assert torch.equal(carried, lengths[:, None, None].expand(-1, 3, 2).double())
        else:
            assert torch.equal(carried.sum(-1), (lengths - 1).clamp(max=4))


def test_micro_batches_hold_whole_groups(tmp_path: Path) -> None:
    """Without shared prompts, too; and under a budget of one token every pass is a group."""
    run = trainer(
        tmp_path, recipe="gvpo", per_device_train_batch_size=8, steps_per_generation=2, max_steps=1,
        prefix_sharing="never", token_budget=1,
    )  # fmt: skip
    groups: list[list[int]] = []
    original = run.micro_batch_loss

    def spy(model: Any, batch: Any) -> Tensor:
        groups.append(batch["group"].tolist())
        return original(model, batch)

    run.micro_batch_loss = spy
    run.train()
    assert len(groups) == 2
    assert all(len(group) == 4 and len(set(group)) == 1 for group in groups)


def test_groups_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Before the model, which does not exist, is looked for."""
    words = (
        r"gvpo compares the completions.*per_device_train_batch_size=6 does not hold whole groups of num_generations=4"
    )
    with pytest.raises(UserError, match=words):
        trainer(tmp_path, model="no/such/model", recipe="gvpo", per_device_train_batch_size=6, steps_per_generation=2)


@pytest.mark.parametrize("released", [False, True])
def test_evaluation_is_a_step_of_its_own(released: bool, tmp_path: Path) -> None:
    """Nothing has moved between sampling and evaluation, so that the tightest bound and none at all lose the same."""
    found = []
    for threshold in (1e-9, 1e9):
        recipe = {"recipe": "m2po", "threshold": threshold, "released": released}
        run = trainer(tmp_path, recipe=recipe, eval_dataset=prompts(2), per_device_eval_batch_size=8, max_steps=1)
        found.append(run.evaluate()["eval_loss"])
        assert run.objective_state == {}
    assert found[0] == pytest.approx(found[1], abs=1e-6)
    assert abs(found[0]) > 1e-3
