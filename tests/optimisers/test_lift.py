"""Worked numbers of LIFT: which entries learn, what they keep, and what is saved."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from prefopt import recipes
from prefopt.optimisers import LIFT
from prefopt.optimisers.principal import principal_entries

W = torch.tensor([[2.0, -1.0, 0.2], [0.4, 0.9, 1.5]])


def test_principal_entries():
    """Singular values 2.2498 and 1.7884; rank 1: ((2.0196, -.8917, .3587), (.2193, -.0968, .0389)).

    Its largest two are places 0 and 1; of W itself (rank 2) they would be 0 and 5.
    """
    left, values, right = torch.linalg.svd(W, full_matrices=False)
    assert values.tolist() == pytest.approx([2.2498, 1.7884], abs=5e-5)
    part = values[0] * torch.outer(left[:, 0], right[0])
    expected = [2.0196, -0.8917, 0.3587, 0.2193, -0.0968, 0.0389]
    assert part.flatten().tolist() == pytest.approx(expected, abs=5e-5)
    assert principal_entries(W, rank=1, count=2).tolist() == [0, 1]
    assert principal_entries(W, rank=2, count=2).tolist() == [0, 5]


def optimiser_of(weights: torch.Tensor, **settings) -> tuple[nn.Parameter, LIFT]:
    parameter = nn.Parameter(weights.clone())
    groups = [{"params": [parameter], "matrices": True}]
    return parameter, LIFT(groups, **{"lr": 0.1, "budget_rank": 1, "filter_rank": 1, "eps": 0.0, **settings})


def test_only_learned_entries_move():
    """A 6 x 6 matrix, (6 + 6) * 1 = 12 of 36 entries. First step of Adam: every learned entry moves by lr sign(g)."""
    torch.manual_seed(0)
    start = torch.randn(6, 6)
    parameter, optimiser = optimiser_of(start)
    parameter.grad = torch.randn(6, 6)
    optimiser.step()
    learned = principal_entries(start, 1, 12)
    moved = (parameter.detach() - start).flatten()
    assert moved.nonzero().flatten().tolist() == learned.tolist()
    torch.testing.assert_close(moved[learned], -0.1 * parameter.grad.flatten()[learned].sign())
    assert {name: value.numel() for name, value in optimiser.state[parameter].items()} == {
        "step": 1, "exp_avg": 12, "exp_avg_sq": 12, "learned": 12,
    }  # fmt: skip


def test_a_small_matrix_learns_whole():
    """(2 + 3) * 2 = 10 > 6 entries: all learn, as with AdamW; eps is added before the correction, so it is 0 here."""
    torch.manual_seed(0)
    parameter, optimiser = optimiser_of(W, budget_rank=2, betas=(0.9, 0.95), weight_decay=0.1)
    twin = nn.Parameter(W.clone())
    plain = torch.optim.AdamW([twin], lr=0.1, betas=(0.9, 0.95), eps=0.0, weight_decay=0.1)
    for _ in range(4):
        parameter.grad = torch.randn(2, 3)
        twin.grad = parameter.grad.clone()
        optimiser.step()
        plain.step()
    torch.testing.assert_close(parameter, twin)


def test_entries_are_chosen_anew():
    """interval 3: the choice of the start holds for steps 1 and 2; after step 2 (2 + 1 = 3) it is made again.

    lr 0 and the weights replaced in between, so that the second choice is known: it is that of the new weights. Moments
    of entries in both choices are kept, others are 0, and the step counter runs on.
    """
    torch.manual_seed(1)
    first, second = torch.randn(5, 5), torch.randn(5, 5)
    parameter, optimiser = optimiser_of(first, lr=0.0, interval=3)
    state = optimiser.state[parameter]
    parameter.grad = torch.randn(5, 5)
    optimiser.step()
    old = principal_entries(first, 1, 10)
    assert state["learned"].tolist() == old.tolist()
    parameter.data.copy_(second)
    optimiser.step()
    new = principal_entries(second, 1, 10)
    assert old.tolist() != new.tolist()
    assert state["learned"].tolist() == new.tolist()
    moment = (1 - 0.9**2) * parameter.grad.flatten()[new]  # the same gradient twice: m = (1 - .9^2) g
    expected = torch.where(torch.isin(new, old), moment, 0.0)
    torch.testing.assert_close(state["exp_avg"], expected)
    assert state["step"] == 2
    third = principal_entries(second, 1, 10)
    optimiser.step()
    assert state["learned"].tolist() == third.tolist()


def test_vectors_and_tables_learn_with_adamw():
    """A group that doesn't say ``matrices``: every entry moves by lr in the first step."""
    parameter = nn.Parameter(torch.ones(3, 2))
    optimiser = LIFT([parameter], lr=0.1, eps=0.0)
    parameter.grad = torch.full((3, 2), -2.0)
    optimiser.step()
    torch.testing.assert_close(parameter.detach(), torch.full((3, 2), 1.1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_state_survives_a_round_trip(dtype):
    """Places are whole numbers of up to 64 bits: loading keeps them, where a float of the weights' type would not.

    Three steps with interval 3, a fresh optimiser with the loaded state, two more: bit for bit the same.
    """
    torch.manual_seed(0)
    choice = recipes.build("lift", budget_rank=2, filter_rank=2, interval=3)
    model = nn.Sequential(nn.Linear(40, 30), nn.Linear(30, 2)).to(dtype)
    gradients = [[torch.randn_like(p) for p in model.parameters()] for _ in range(5)]

    def advance(model, optimiser, steps):
        for step in steps:
            for parameter, gradient in zip(model.parameters(), gradients[step], strict=True):
                parameter.grad = gradient.clone()
            optimiser.step()

    optimiser = choice(model, lr=0.01)
    advance(model, optimiser, range(3))
    other = copy.deepcopy(model)
    restored = choice(other, lr=0.01)
    restored.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    learned = [state["learned"] for state in optimiser.state.values() if "learned" in state]
    loaded = [state["learned"] for state in restored.state.values() if "learned" in state]
    assert all(torch.equal(a, b) and b.dtype == torch.int64 for a, b in zip(learned, loaded, strict=True))
    assert max(int(places.max()) for places in learned) > 256  # beyond what bfloat16 counts exactly
    advance(model, optimiser, range(3, 5))
    advance(other, restored, range(3, 5))
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_settings():
    with pytest.raises(ValueError, match="at least 1"):
        recipes.build("lift", interval=0)
    with pytest.raises(ValueError, match="not a matrix"):
        LIFT([{"params": [nn.Parameter(torch.ones(3))], "matrices": True}])
    with pytest.raises(TypeError, match="no setting 'rank'"):
        recipes.build("lift", rank=3)
