"""Worked numbers of step potential advantage estimation."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.online.adjust.step_shaping import StepShaping, progress, saturation
from prefopt.online.step_potential import probe_accuracy, probe_confidence, step_potential
from tests.online.samples import rollouts

PHI = torch.tensor([[0.05, 0.4, 0.93, 0.95, 0.96]])


@pytest.mark.parametrize(
    ("accuracy", "confidence", "expected"), [(0, 0, 0), (1, 1, 1), (0, 1, -1), (1, 0, 0.5), (0.9, 0.95, 0.7825)]
)
def test_potential(accuracy, confidence, expected):
    """1.5 * .9 * .95 + .45 - .95 = .7825."""
    found = step_potential(torch.tensor(float(accuracy)), torch.tensor(float(confidence)))
    assert found.item() == pytest.approx(expected)


def test_probes():
    """Entropies (0, 2) and (1 | padding): e^-1 twice. Answer probabilities (.5, 1) and (.2, .4): mean of .75 and .3."""
    mask = torch.tensor([[True, True], [True, False]])
    found = probe_confidence(torch.tensor([[0.0, 2.0], [1.0, 9.0]]), mask)
    assert found.item() == pytest.approx(torch.tensor(-1.0).exp().item())
    answers = torch.tensor([[0.5, 1.0], [0.2, 0.4]]).log()
    assert probe_accuracy(answers, torch.ones(2, 2, dtype=torch.bool)).item() == pytest.approx(0.525)


def test_saturation_and_progress():
    """Saturated are steps 2 to 4, so C = (0, 0, 0, 1, 2): f = 1 - .5 (1 - e^-C).

    Differences (0, .35, .53, .02, .01) over .53; exponentials (1, 1.9355, 2.7183, 1.0385, 1.0191), mean 1.5423.
    """
    assert saturation(PHI, 0.9, 0.5)[0].tolist() == pytest.approx([1, 1, 1, 0.6839, 0.5677], abs=5e-5)
    found = progress(PHI, torch.ones(1, 5, dtype=torch.bool))[0].tolist()
    assert found == pytest.approx([-0.5423, 0.3933, 1.1760, -0.5038, -0.5232], abs=5e-5)


def test_shaping():
    """A = .5: .5 f + .5 g = (.2289, .6966, 1.0880, .0901, .0222)."""
    ids = torch.arange(5)[None]
    batch = rollouts([1.0], lengths=[5], step_potentials=PHI, step_ids=ids)
    found = StepShaping()(torch.full((1, 5), 0.5), torch.tensor([1.0]), batch)[0].tolist()
    assert found == pytest.approx([0.2289, 0.6966, 1.0880, 0.0901, 0.0222], abs=5e-5)


def test_tokens_after_the_last_step():
    """Step 1 has no potential (NaN) and ends the list: the token of step 1 gets the f of step 0 and no g."""
    batch = rollouts(
        [1.0], lengths=[2], step_potentials=torch.tensor([[0.5, float("nan")]]), step_ids=torch.tensor([[0, 1]])
    )
    assert StepShaping()(torch.ones(1, 2), torch.tensor([1.0]), batch).tolist() == [[1, 1]]
    without = rollouts([1.0], lengths=[1], step_potentials=torch.tensor([[float("nan")]]), step_ids=torch.tensor([[0]]))
    assert StepShaping()(torch.ones(1, 1), torch.tensor([1.0]), without).item() == 1


def test_advantages_are_standardised():
    """Over all tokens of the batch, after shaping: mean 0, unbiased deviation 1."""
    generator = torch.Generator().manual_seed(0)
    batch = rollouts(
        [1.0, 0, 1, 0], lengths=[3, 3, 3, 3], step_potentials=torch.rand(4, 3, generator=generator),
        step_ids=torch.arange(3).expand(4, 3),
    )  # fmt: skip
    found = recipes.build("spae").prepare(batch).advantages
    assert found.mean().item() == pytest.approx(0, abs=1e-6)
    assert found.std().item() == pytest.approx(1, abs=1e-5)
