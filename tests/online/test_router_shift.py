"""Worked numbers of the router shift."""

from __future__ import annotations

import math

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.ratio import RouterShift, SequenceRatio

OLD = torch.tensor([[[[0.5, 0.3], [0.6, 0.2]]]], dtype=torch.float64)
NEW = torch.tensor([[[[0.4, 0.35], [0.6, 0.1]]]], dtype=torch.float64)


@pytest.mark.parametrize(("pooling", "gamma"), [("mean", 0.7652), ("geometric", 0.7883), ("product", 0.6214)])
def test_shift(pooling, gamma):
    """|log(.4/.5)| = .2231, |log(.35/.3)| = .1542; 0 and log 2 = .6931 in the second layer.

    mean: exp(-(.18865 + .34657) / 2) = 0.7652. Layers of mean exp(-|.|): (.8 + .8571) / 2 = .8286 and (1 + .5) / 2 =
    .75; product 0.6214, geometric mean 0.7883.
    """
    assert RouterShift(pooling=pooling).shift(OLD, NEW).item() == pytest.approx(gamma, abs=5e-5)


def ratio_of(part: RouterShift, log_ratio: float, current: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    logps = torch.tensor([[log_ratio]], dtype=torch.float64, requires_grad=True)
    old = torch.zeros(1, 1, dtype=torch.float64)
    mask = torch.ones(1, 1, dtype=torch.bool)
    rollouts = Rollouts(torch.zeros(1, dtype=torch.int64), mask, torch.zeros(1, 1), old, {"router_probs_old_topk": OLD})
    policy = PolicyOutputs(logps, {"router_probs_on_old_topk": current})
    return part(logps, old, mask, policy=policy, rollouts=rollouts), logps


def test_ratio_is_shrunk_by_the_floor():
    """gamma 0.7652 -> floor 0.8: 1.3 becomes 1.04. The shrinkage has no gradient: d ratio / d log pi = ratio."""
    ratio, logps = ratio_of(RouterShift(), math.log(1.3), NEW)
    assert ratio.item() == pytest.approx(1.04)
    assert torch.autograd.grad(ratio, logps)[0].item() == pytest.approx(1.04)
    assert ratio_of(RouterShift(floor=0.7), math.log(1.3), NEW)[0].item() == pytest.approx(1.3 * 0.7652, abs=1e-4)


def test_no_gradient_reaches_the_router():
    """The shrinkage is a detached weight: the router's probabilities get no gradient."""
    current = NEW.clone().requires_grad_()
    ratio, _ = ratio_of(RouterShift(floor=0.1), 0.0, current)
    assert torch.autograd.grad(ratio, current, allow_unused=True)[0] is None


def test_an_unmoved_router_changes_nothing():
    """gamma is exactly 1, also where a probability is 0."""
    ratio, _ = ratio_of(RouterShift(), 0.3, OLD)
    assert ratio.item() == math.exp(0.3)
    zeros = torch.zeros_like(OLD)
    assert RouterShift().shift(zeros, zeros).item() == 1


def test_completions_average_it():
    """GSPO's ratio of d = (0, 0) and gamma = (0.7652, 1): exp(mean(log gamma)) = sqrt(0.7652), and it is (B, 1)."""
    part = RouterShift(floor=0.1, ratio=SequenceRatio())
    assert part.sequence_level
    logps = torch.zeros(1, 2, dtype=torch.float64)
    mask = torch.ones(1, 2, dtype=torch.bool)
    old, new = OLD.expand(1, 2, 2, 2), torch.cat([NEW, OLD], 1)
    rollouts = Rollouts(
        torch.zeros(1, dtype=torch.int64), mask, torch.zeros(1, 1), logps, {"router_probs_old_topk": old}
    )
    found = part(logps, logps, mask, policy=PolicyOutputs(logps, {"router_probs_on_old_topk": new}), rollouts=rollouts)
    assert found.tolist() == [[pytest.approx(0.7652**0.5, abs=5e-5)]]


def test_settings():
    """A floor of 0 would stop the gradient; a word is checked; RSPO is the method's other name."""
    with pytest.raises(ValueError, match="floor lies above 0"):
        RouterShift(floor=0.0)
    with pytest.raises(ValueError, match="pooling must be one of mean, geometric, product"):
        RouterShift(pooling="sum")
    with pytest.raises(ValueError, match="no needs of its own"):
        RouterShift(ratio=RouterShift())
    assert recipes.info("rspo").name == "router_shift"
