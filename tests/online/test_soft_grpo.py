"""Worked numbers of GRPO for soft thought tokens."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs
from prefopt.online.gumbel import gumbel_log_density, mixture, perturbed
from tests.online.samples import rollouts

P = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64).log()
NEW = torch.tensor([0.5, 0.4, 0.1], dtype=torch.float64).log()
VALUES = perturbed(P, torch.tensor([0.5, -0.2, 2.0], dtype=torch.float64))
NAN = float("nan")


def test_sampling():
    """log p + e = (-.0108, -1.4040, -.3026); softmax of ten times that: (.9487, 0, .0513)."""
    assert VALUES.tolist() == pytest.approx([-0.0108, -1.4040, -0.3026], abs=5e-5)
    assert mixture(VALUES).tolist() == pytest.approx([0.9487, 0, 0.0513], abs=5e-5)


def test_density():
    """Mean of -e - exp(-e): (-1.1065 - 1.0214 - 2.1353) / 3 = -1.4211; under (.5, .4, .1) -1.4880.

    Ratio exp(-.0669) = .9353; of the joint densities exp(3 * -.0669) = .8182.
    """
    old, new = gumbel_log_density(P, VALUES), gumbel_log_density(NEW, VALUES)
    assert old.item() == pytest.approx(-1.4211, abs=5e-5)
    assert new.item() == pytest.approx(-1.4880, abs=5e-5)
    assert (new - old).exp().item() == pytest.approx(0.9353, abs=5e-5)
    joint = gumbel_log_density(NEW, VALUES, True) - gumbel_log_density(P, VALUES, True)
    assert joint.exp().item() == pytest.approx(0.8182, abs=5e-5)


def test_unlikely_tokens_do_not_count():
    """A token with log p < -3 leaves the mean: (.5, .48, .02) averages over two."""
    logps = torch.tensor([0.5, 0.48, 0.02]).log()
    values = torch.tensor([0.5, 0.48, 0.0]).log()
    assert gumbel_log_density(logps, values).item() == pytest.approx(-1, abs=1e-4)
    assert gumbel_log_density(logps, values, True).item() == pytest.approx(-2, abs=1e-4)


def test_no_gradient_outside_the_clamp():
    """Noise of 5 under the current policy is cut at 3: its token moves nothing of its own."""
    logits = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    values = torch.log(torch.tensor([0.5, 0.5], dtype=torch.float64)) + 5
    gradient = torch.autograd.grad(gumbel_log_density(logits, values), logits)[0]
    assert gradient.abs().max() == 0


def both(**settings):
    """One soft and one ordinary token; the ordinary one at log-ratio log 1.1."""
    extras = {
        "soft_values": torch.stack([VALUES, torch.full((3,), NAN).double()])[None],
        "soft_logps": torch.stack([P, P])[None],
        "ref_soft_logps": torch.stack([P, P])[None],
        "ref_logps": torch.zeros(1, 2).double(),
    }
    batch = rollouts([1.0], lengths=[2], logps=torch.zeros(1, 2).double(), **extras)
    logps = torch.tensor([[-9.0, 0.09531]], dtype=torch.float64)
    outputs = PolicyOutputs(logps, {"soft_logps": torch.stack([NEW, NEW])[None]})
    return recipes.build("soft_grpo", **settings), batch, outputs


def test_ratio_of_soft_and_ordinary_tokens():
    """What stands in the log-probability of a soft token is never read."""
    objective, batch, outputs = both()
    ratio = objective.ratio(outputs.logps, batch.logps, batch.mask, policy=outputs, rollouts=batch)
    assert ratio[0].tolist() == pytest.approx([0.9353, 1.1], abs=1e-4)
    assert recipes.build("soft_grpo", joint=True).ratio(
        outputs.logps, batch.logps, batch.mask, policy=outputs, rollouts=batch
    )[0, 0].item() == pytest.approx(0.8182, abs=5e-5)


def test_divergence_of_soft_and_ordinary_tokens():
    """d = .0669 at the soft token and -.0953 at the other: e^d - d - 1 = .00229 and .00440."""
    objective, batch, outputs = both(beta=1.0)
    found = objective.regularise[0](outputs, batch, outputs.logps, outputs.logps)[0].tolist()
    assert found == pytest.approx([0.00229, 0.00440], abs=1e-5)
