"""One contract for every online recipe; ``test_every_recipe_is_classified`` finds a recipe that is in no table."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from safetensors.torch import load, save

from prefopt import recipes
from prefopt.batch import MissingInput, PolicyOutputs, Rollouts, UndeclaredInput
from prefopt.composition import IncompatibleParts, Objective
from prefopt.online.objective import OnlineObjective
from prefopt.online.slots import Regulariser
from tests.contract.online_samples import policy, rollouts

ONLINE = [name for kind in ("online", "weighting") for name in recipes.names(kind)]

# A group whose rewards are all equal gives no advantage at all, or still gives one.
SILENT_ON_EQUAL_REWARDS = {"rloo", "grpo", "dr_grpo", "dapo", "gspo", "cispo", "sapo", "delta_l", "mo_grpo", "gdpo"}
SPEAKING_ON_EQUAL_REWARDS = {"reinforce", "ngrpo"}

# Adding a constant to every reward of a source changes nothing, or does.
SHIFT_INVARIANT = {"rloo", "grpo", "dr_grpo", "dapo", "gspo", "cispo", "sapo", "delta_l", "mo_grpo", "gdpo"}
SHIFT_SENSITIVE = {"reinforce", "ngrpo"}

# The gradient is that of the loss's value, or the formula has a stop-gradient.
DIFFERENTIABLE = {"reinforce", "rloo", "grpo", "dr_grpo", "dapo", "gspo", "sapo", "delta_l", "ngrpo", "mo_grpo", "gdpo"}
STOPPED_GRADIENT = {"cispo"}

PARTITIONS = [
    (SILENT_ON_EQUAL_REWARDS, SPEAKING_ON_EQUAL_REWARDS),
    (SHIFT_INVARIANT, SHIFT_SENSITIVE),
    (DIFFERENTIABLE, STOPPED_GRADIENT),
]

SLOTS = OnlineObjective.slot_names()


@pytest.fixture(params=ONLINE)
def name(request) -> str:
    return request.param


@pytest.fixture
def objective(name) -> OnlineObjective:
    return recipes.build(name)


def gradient(objective, batch, prepared, outputs) -> torch.Tensor:
    return torch.autograd.grad(objective.loss(batch, prepared, outputs), outputs.logps)[0]


def test_every_recipe_is_classified():
    for partition in PARTITIONS:
        members = [name for table in partition for name in table]
        assert sorted(members) == sorted(ONLINE), "each online recipe stands in exactly one table of each partition"


def test_micro_batches_add_up(objective):
    """Weights are fixed in ``prepare``, so losses and gradients of any split add up to those of the whole."""
    batch = rollouts(objective)
    prepared, outputs = objective.prepare(batch), policy(objective, batch)
    whole, whole_gradient = objective.loss(batch, prepared, outputs), gradient(objective, batch, prepared, outputs)
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(2))
    for sizes in ([3, 9], [1] * 12, [5, 5, 2]):
        parts = [objective.loss(batch[rows], prepared[rows], outputs[rows]) for rows in order.split(sizes)]
        torch.testing.assert_close(sum(parts), whole, rtol=1e-10, atol=1e-12)
        split = torch.autograd.grad(sum(parts), outputs.logps)[0]
        torch.testing.assert_close(split, whole_gradient, rtol=1e-10, atol=1e-12)


def test_padding_changes_nothing(objective):
    """Three more columns outside the mask, full of NaN, leave loss and gradient as they are."""
    batch = rollouts(objective)
    outputs = policy(objective, batch)
    expected = gradient(objective, batch, objective.prepare(batch), outputs)
    value = objective.loss(batch, objective.prepare(batch), outputs)

    def pad(x: torch.Tensor, fill: float) -> torch.Tensor:
        return torch.nn.functional.pad(x, (0, 3), value=fill)

    def pad_extras(extras):
        return {k: pad(v, float("nan")) if v.ndim == 2 else v for k, v in extras.items()}

    wide = Rollouts(
        batch.group, pad(batch.mask, False), batch.rewards, pad(batch.logps, float("nan")), pad_extras(batch.extras)
    )
    logps = pad(outputs.logps.detach(), float("nan")).requires_grad_()
    wide_outputs = PolicyOutputs(logps, pad_extras(outputs.extras))
    prepared = objective.prepare(wide)
    torch.testing.assert_close(objective.loss(wide, prepared, wide_outputs), value)
    found = gradient(objective, wide, prepared, wide_outputs)
    torch.testing.assert_close(found[:, :5], expected)
    assert (found[:, 5:] == 0).all()


def test_order_of_rows_does_not_matter(objective):
    """Permuted rows give permuted advantages and weights, and the same loss."""
    batch = rollouts(objective)
    outputs = policy(objective, batch)
    prepared = objective.prepare(batch)
    rows = torch.randperm(len(batch), generator=torch.Generator().manual_seed(3))
    permuted = objective.prepare(batch[rows])
    torch.testing.assert_close(permuted.advantages, prepared.advantages[rows])
    torch.testing.assert_close(permuted.weights, prepared.weights[rows])
    torch.testing.assert_close(
        objective.loss(batch[rows], permuted, outputs[rows]), objective.loss(batch, prepared, outputs)
    )


def test_needs_are_exact(name):
    """With exactly what is declared it runs; without any one of them it says which is missing."""
    for objective in (recipes.build(name), recipes.build(name, regularise={"recipe": "grpo", "beta": 0.1})):
        batch = rollouts(objective)
        objective.loss(batch, objective.prepare(batch), policy(objective, batch))
        for need in objective.needs:
            lacking = dataclasses.replace(batch, extras={k: v for k, v in batch.extras.items() if k != need})
            with pytest.raises(MissingInput, match=need):
                objective.loss(lacking, objective.prepare(lacking), policy(objective, batch))


def test_undeclared_input_is_refused():
    """A part that reads what it did not declare is stopped, with both names."""

    @dataclasses.dataclass(frozen=True)
    class Careless(Regulariser):
        def __call__(self, policy, rollouts, ratio):
            return rollouts.extras["ref_logps"]

    objective = recipes.build("grpo", regularise=Careless())
    batch = dataclasses.replace(rollouts(objective), extras={"ref_logps": torch.zeros(12, 5, dtype=torch.float64)})
    with pytest.raises(UndeclaredInput, match="Careless reads 'ref_logps'"):
        objective.loss(batch, objective.prepare(batch), policy(objective, batch))


def test_equal_rewards(name, objective):
    """All rewards 0.1 in every group: r - mean = 0, so that silent recipes give exactly 0, with no rounding left."""
    batch = rollouts(objective)
    batch = dataclasses.replace(batch, rewards=torch.full_like(batch.rewards, 0.1))
    advantages = objective.prepare(batch).advantages
    if name in SILENT_ON_EQUAL_REWARDS:
        assert (advantages == 0).all()
    else:
        assert (advantages[batch.mask] != 0).all()


def test_shift_of_a_reward(name, objective):
    """r -> r + 0.2 for the second source."""
    batch = rollouts(objective)
    batch = dataclasses.replace(batch, rewards=batch.rewards / 2)
    shifted = dataclasses.replace(batch, rewards=batch.rewards + torch.tensor([0.0, 0.2]))
    before, after = objective.prepare(batch).advantages, objective.prepare(shifted).advantages
    if name in SHIFT_INVARIANT:
        torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)
    else:
        assert (before - after).abs().max() > 1e-3


def test_fully_masked_row(objective):
    """A completion without a token gets no weight and no gradient, and leaves everything finite."""
    batch = rollouts(objective)
    mask = batch.mask.clone()
    mask[5] = False
    batch = dataclasses.replace(batch, mask=mask)
    prepared, outputs = objective.prepare(batch), policy(objective, batch)
    assert (prepared.weights[5] == 0).all()
    assert torch.isfinite(objective.loss(batch, prepared, outputs))
    found = gradient(objective, batch, prepared, outputs)
    assert torch.isfinite(found).all()
    assert (found[5] == 0).all()


def test_everything_masked(objective):
    """No token at all: the loss is 0 and still has a (zero) gradient, so that no process waits for another."""
    batch = rollouts(objective)
    batch = dataclasses.replace(batch, mask=torch.zeros_like(batch.mask))
    outputs = policy(objective, batch)
    prepared = objective.prepare(batch)
    assert objective.loss(batch, prepared, outputs) == 0
    assert (gradient(objective, batch, prepared, outputs) == 0).all()


def test_unscored_row_is_as_if_it_were_not_there(objective):
    """A row that no source scored counts in no baseline, no mean and no loss: dropping it gives the same loss."""
    batch = rollouts(objective)
    rewards = batch.rewards.clone()
    rewards[6] = torch.nan
    unscored = dataclasses.replace(batch, rewards=rewards)
    rest = torch.tensor([i for i in range(len(batch)) if i != 6])
    outputs = policy(objective, batch)
    prepared, without = objective.prepare(unscored), objective.prepare(batch[rest])
    torch.testing.assert_close(prepared.advantages[rest], without.advantages)
    torch.testing.assert_close(prepared.weights[rest], without.weights)
    assert (prepared.weights[6] == 0).all()
    torch.testing.assert_close(
        objective.loss(unscored, prepared, outputs), objective.loss(batch[rest], without, outputs[rest])
    )


def test_group_with_one_scored_row_is_left_out(objective):
    """Relative to a group of one there is nothing to say; where nothing is relative to the group the row stays."""
    batch = rollouts(objective)
    rewards = batch.rewards.clone()
    rewards[5:8] = torch.nan  # group 1 is rows 4 to 7: row 4 alone has scores
    prepared = objective.prepare(dataclasses.replace(batch, rewards=rewards))
    dropped = (prepared.weights[4] == 0).all().item()
    assert dropped == objective.advantage.group_relative
    assert (prepared.weights[5:8] == 0).all()
    assert prepared.metrics["rows_unscored"][0] == (4 if dropped else 3)


def test_gradient(name, objective):
    """Autograd against finite differences in float64, at random points off the kinks."""
    batch = rollouts(objective)
    prepared = objective.prepare(batch)
    outputs = policy(objective, batch)

    def loss(logps: torch.Tensor) -> torch.Tensor:
        return objective.loss(batch, prepared, PolicyOutputs(logps, outputs.extras))

    if name in DIFFERENTIABLE:
        assert torch.autograd.gradcheck(loss, outputs.logps, eps=1e-6, atol=1e-6)
    else:
        with pytest.raises(RuntimeError, match="Jacobian mismatch"):
            torch.autograd.gradcheck(loss, outputs.logps, eps=1e-6, atol=1e-6)


def test_on_policy_gradient_is_reinforce(objective):
    """At ratio 1 every gate passes weight * advantage: dLoss/dlog pi = -w A, shared evenly by a sequence-level ratio.

    A sequence-level surrogate is summed once a token, each token's log-probability enters it with 1/T, so that row
    i gives
    -(1/T_i) sum_t w_{i,t} A_{i,t} at each of its tokens.
    """
    batch = rollouts(objective)
    prepared = objective.prepare(batch)
    outputs = policy(objective, batch, drift=0.0)
    expected = -(prepared.weights * prepared.advantages)
    if objective.ratio.sequence_level:
        mean = expected.sum(-1, keepdim=True) / batch.mask.sum(-1, keepdim=True)
        expected = torch.where(batch.mask, mean, 0.0)
    torch.testing.assert_close(gradient(objective, batch, prepared, outputs), expected.double())


@pytest.mark.parametrize("drift", [-50.0, 50.0])
@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_hard_ground(name, drift, scale, size, dtype):
    """Log-ratios of +-50, rewards of 1e-6 and 1e6, one token, groups of one and two, half precision: always finite."""
    objective = recipes.build(name, **({"reward_max": scale} if name == "ngrpo" else {}))
    batch = rollouts(objective, size=size, tokens=1, dtype=dtype)
    batch = dataclasses.replace(batch, rewards=batch.rewards * scale)
    prepared = objective.prepare(batch)
    outputs = PolicyOutputs((batch.logps + drift).requires_grad_())
    assert torch.isfinite(prepared.advantages).all()
    assert torch.isfinite(objective.loss(batch, prepared, outputs))
    assert torch.isfinite(gradient(objective, batch, prepared, outputs)).all()


def test_settings_round_trip(name, objective):
    """Building with the defaults written out is the same value; objectives are values, equal when their parts are."""
    assert recipes.build(name, **recipes.info(name).settings) == objective
    assert hash(objective) == hash(recipes.build(name))


def test_state_round_trip(name):
    """State is a dict of tensors: through safetensors and back, ``prepare`` gives the same."""
    objective = recipes.build("reinforce", baseline_momentum=0.9) if name == "reinforce" else recipes.build(name)
    batch = rollouts(objective)
    state = objective.init_state()
    for _ in range(3):
        state = objective.update(state, objective.prepare(batch, state).statistics)
    restored = load(save(state))
    assert restored.keys() == state.keys()
    torch.testing.assert_close(
        objective.prepare(batch, restored).advantages, objective.prepare(batch, state).advantages
    )


def test_citation(name, objective):
    """``cite`` names the recipe's paper, and each paper once."""
    entries = objective.cite().split("\n\n")
    assert len(entries) == len(set(entries))
    if recipes.info(name).arxiv:
        assert recipes.info(name).arxiv in entries[0]


@pytest.mark.parametrize("slot", SLOTS)
def test_any_slot_from_any_other_recipe(name, slot):
    """Every pairing builds and gives a finite loss, or is refused with a sentence."""
    for other in ONLINE:
        try:
            objective = recipes.build(name, **{slot: other})
        except IncompatibleParts:
            continue
        assert getattr(objective, slot) == getattr(recipes.build(other), slot)
        batch = rollouts(objective)
        assert torch.isfinite(objective.loss(batch, objective.prepare(batch), policy(objective, batch)))


def test_objectives_hold_only_parts(objective):
    """Slots are typed: an offline link in an online gate is refused."""
    assert isinstance(objective, Objective)
    with pytest.raises(IncompatibleParts, match="gate takes a Gate"):
        dataclasses.replace(objective, gate=objective.aggregate)
