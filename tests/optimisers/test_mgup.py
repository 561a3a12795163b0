"""Worked numbers of MGUP in its three forms."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from prefopt import recipes
from prefopt.optimisers import LIFT, MGUPAdamW, MGUPLion, MGUPMuon, parameter_groups
from prefopt.optimisers.alignment import step_factors
from prefopt.optimisers.orthogonal import orthogonalised

G = torch.tensor([1.0, -2.0, 0.5, 0.1])
M = torch.tensor([0.5, 0.5, 0.5, -0.5])
V = torch.full((4,), 0.25)
U = [1.0984, 0.4963, 1.0, -0.8804]


def warmed_up(**settings) -> tuple[MGUPAdamW, torch.Tensor, int]:
    """An optimiser after three steps, whose moments are M and V, and a gradient G."""
    parameter = nn.Parameter(torch.zeros(4))
    optimiser = MGUPAdamW([parameter], lr=0.1, **settings)
    optimiser.state[parameter].update(step=torch.tensor(3.0), exp_avg=M.clone(), exp_avg_sq=V.clone())
    parameter.grad = G.clone()
    return optimiser, parameter, 4


@pytest.mark.parametrize(
    ("settings", "moved"),
    [
        ({"large": 2.0, "small": 0.5}, (2.1967, 0.2481, 2.0, -0.4402)),
        ({}, (2.1967, 0.2481, 2.0, -0.4402)),
        ({"small": 0.1}, (2.1967, 0.0496, 2.0, -0.0880)),
        ({"share": 0.25}, (4.3934, 0.1241, 0.25, -0.2201)),
        ({"cautious": True}, (2.1967, 0.2481, 2.0, -0.4402)),
    ],
)
def test_adamw(settings, moved):
    """m = .9 M + .1 G = (.55, .25, .5, -.44), v = .999 * .25 + .001 G^2: u = (1.0984, .4963, 1.0, -.8804).

    Products u g = (1.0984, -.9926, .5, -.0880): the two largest are the first and the third, and they are also the
    two that are not negative. The step is lr sqrt(1 - .999^4) / (1 - .9^4) phi u. share .25: the first alone, by 4.
    """
    optimiser, parameter, step = warmed_up(**settings)
    optimiser.step()
    scale = 0.1 * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    assert (-parameter.detach() / scale).tolist() == pytest.approx(moved, abs=1e-4)


def test_weight_decay_is_decoupled():
    """p = 1, no gradient and no momentum: p (1 - lr wd) = 1 - .1 * .5."""
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.zeros(2)
    for kind in (MGUPAdamW, MGUPLion, MGUPMuon, LIFT):
        parameter.data.fill_(1)
        kind([parameter], lr=0.1, weight_decay=0.5).step()
        assert parameter.tolist() == pytest.approx([0.95, 0.95]), kind


@pytest.mark.parametrize(("kind", "base"), [(MGUPAdamW, torch.optim.AdamW), (MGUPMuon, torch.optim.AdamW)])
def test_factors_of_one_are_adamw(kind, base):
    """share 1 gives every coordinate 1 / 1. AdamW adds eps to the corrected root, so eps = 0 here. Five steps."""
    torch.manual_seed(0)
    gradients = torch.randn(5, 7)
    found = []
    for one in (kind, base):
        parameter = nn.Parameter(torch.ones(7))
        optimiser = one(
            [parameter], lr=0.1, betas=(0.9, 0.99), eps=0.0, weight_decay=0.1, **({"share": 1.0} if one is kind else {})
        )
        for gradient in gradients:
            parameter.grad = gradient.clone()
            optimiser.step()
        found.append(parameter.detach())
    torch.testing.assert_close(*found)


def test_lion():
    """m = 0: u = sign(.1 g) = (1, -1, 1, 1), u g = |g| = (1, 2, .5, .1): 2 for the first two, .5 for the rest.

    p = -.1 (2, -2, .5, .5); m = .01 g. Second step, g = (-.05, 0, 0, 0): .9 m + .1 g = (.009 - .005, -.018, .0045,
    .0009): signs (1, -1, 1, 1), products (-.05, 0, 0, 0).
    """
    parameter = nn.Parameter(torch.zeros(4))
    optimiser = MGUPLion([parameter], lr=0.1)
    parameter.grad = G.clone()
    optimiser.step()
    assert parameter.tolist() == pytest.approx([-0.2, 0.2, -0.05, -0.05])
    assert optimiser.state[parameter]["exp_avg"].tolist() == pytest.approx((0.01 * G).tolist())
    parameter.grad = torch.tensor([-0.05, 0, 0, 0])
    optimiser.step()
    assert parameter[0].item() == pytest.approx(-0.2 - 0.05)  # the smallest product: factor .5


def test_muon():
    """g = diag(3, 1), m = g after the first step, n = 1.95 g. Factors: the larger two of n g = (17.6, 0, 0, 1.95): the
    diagonal, 2. Newton-Schulz takes diag(3, 1) to about 1 on the diagonal; lr .1, scale .2 sqrt(2).
    """
    parameter = nn.Parameter(torch.zeros(2, 2))
    optimiser = MGUPMuon([{"params": [parameter], "matrices": True}], lr=0.1)
    parameter.grad = torch.diag(torch.tensor([3.0, 1.0]))
    optimiser.step()
    expected = -0.1 * 0.2 * math.sqrt(2) * 2 * orthogonalised(1.95 * parameter.grad)
    torch.testing.assert_close(parameter.detach(), expected)
    assert (parameter.diagonal() < 0).all()


def test_orthogonalised():
    """Singular values 5, 2 and 1 in a 3 x 4 matrix of known directions all become 1 within a fifth; a zero stays."""
    torch.manual_seed(0)
    left, right = torch.linalg.qr(torch.randn(3, 3)).Q, torch.linalg.qr(torch.randn(4, 4)).Q[:3]
    found = orthogonalised(left @ torch.diag(torch.tensor([5.0, 2.0, 1.0])) @ right)
    values = torch.linalg.svdvals(found)
    assert ((values > 0.65) & (values < 1.25)).all()
    core = left.T @ found @ right.T
    assert (core - torch.diag(core.diagonal())).abs().max() < 1e-5
    torch.testing.assert_close(orthogonalised(found.T), orthogonalised(found).T)
    assert (orthogonalised(torch.zeros(2, 3)) == 0).all()


def test_mean_step():
    """Factors 1 / tau on a share tau and tau on the rest: mean 1 + tau (1 - tau) = 1 + tau - tau^2; tau = .5: 1.25."""
    for share in (0.25, 0.5):
        factors = step_factors(torch.randn(1000), torch.randn(1000), share, 1 / share, share)
        assert factors.mean().item() == pytest.approx(1 + share - share**2)


def test_a_scalar_has_no_half():
    """int(.5 * 1) = 0: the small factor."""
    assert step_factors(torch.ones(1), torch.ones(1), 0.5, 2.0, 0.5).tolist() == [0.5]


@pytest.mark.parametrize("form", ["adamw", "lion", "muon"])
def test_state_survives_a_round_trip(form):
    """Three steps, then a fresh optimiser with the loaded state: the next two steps are bit for bit the same."""
    torch.manual_seed(0)
    choice = recipes.build("mgup", form=form)
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    gradients = [[torch.randn_like(p) for p in model.parameters()] for _ in range(5)]

    def advance(model, optimiser, steps):
        for step in steps:
            for parameter, gradient in zip(model.parameters(), gradients[step], strict=True):
                parameter.grad = gradient.clone()
            optimiser.step()

    optimiser = choice(model, lr=0.01, weight_decay=0.1)
    advance(model, optimiser, range(3))
    other = copy.deepcopy(model)
    restored = choice(other, lr=0.01, weight_decay=0.1)
    restored.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    advance(model, optimiser, range(3, 5))
    advance(other, restored, range(3, 5))
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_groups_of_a_model():
    """Linear weights are matrices; the embedding, which is also the head, and vectors are not; vectors don't decay."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.inner, self.head = nn.Embedding(5, 3), nn.Linear(3, 3), nn.Linear(3, 5, bias=False)
            self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)

        def get_output_embeddings(self) -> nn.Module:
            return self.head

    groups = parameter_groups(Model(), weight_decay=0.1)
    found = {(group["matrices"], group["weight_decay"]): [tuple(p.shape) for p in group["params"]] for group in groups}
    assert found == {(False, 0.1): [(5, 3), (5, 3)], (True, 0.1): [(3, 3)], (False, 0.0): [(3,)]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": 0.0}, "share lies above 0"),
        ({"small": 0.0}, "factors must be positive"),
        ({"form": "sgd"}, "form must be one of adamw, lion, muon"),
        ({"betas": (0.9, 1.0)}, "betas lie in"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        recipes.build("mgup", **settings)


def test_only_matrices_are_orthogonalised():
    with pytest.raises(ValueError, match="parameter of shape"):
        MGUPMuon([{"params": [nn.Parameter(torch.ones(3))], "matrices": True}])
