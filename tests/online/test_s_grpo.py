"""Worked numbers of noise-aware GRPO."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.online.adjust.label_noise import noise_weight
from tests.online.samples import advantages, rollouts


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        (0.1, [0, 0.4209, 0.7211, 0.7849, 0.8, 0.7849, 0.7211, 0.4209, 0]),
        (0.15, [0, 0, 0.5657, None, 0.7, None, 0.5657, 0, 0]),
    ],
)
def test_weights(noise, expected):
    """w = (1 - 2q) sqrt(t (1 - t) / (r (1 - r))), t = (r - q) / (1 - 2q), for k of 8 correct.

    q = 0.1: k = 1: t = 0.025 / 0.8 = 0.03125, 0.8 * sqrt(0.030273 / 0.109375) = 0.4209; k = 2: t = 0.1875,
    0.8 * sqrt(0.152344 / 0.1875) = 0.7211; k = 4: t = 1/2: 0.8. q = 0.15: k = 1 lies below the noise: 0;
    k = 2: t = 1/7, 0.7 * sqrt((6/49) / 0.1875) = 0.5657.
    """
    found = noise_weight(torch.arange(9, dtype=torch.float64) / 8, noise, 1e-8).tolist()
    for weight, wanted in zip(found, expected, strict=True):
        assert wanted is None or weight == pytest.approx(wanted, abs=5e-5)


def test_advantages():
    """k = 2 of 8: sd = sqrt(8/7 * 3/16) = 0.46291; 0.7211 * 0.75 / 0.46291 = 1.1683 and 0.7211 * -0.25 / 0.46291."""
    found = advantages("s_grpo", rollouts([1.0, 1, 0, 0, 0, 0, 0, 0]))[:, 0].tolist()
    assert found == pytest.approx([1.1683] * 2 + [-0.3894] * 6, abs=5e-5)


def test_without_noise_it_is_grpo():
    """q = 0: t = r and the weight is 1 (up to eps); uniform groups are silent in both."""
    batch = rollouts([1.0, 0, 0, 1, 1, 1, 0, 0], [0, 0, 0, 1, 1, 2, 2, 2])
    torch.testing.assert_close(advantages("s_grpo", batch, noise=0.0), advantages("grpo", batch, eps=1e-8))
    settings = {"noise": 0.0, "aggregate": "grpo"}
    torch.testing.assert_close(recipes.build("s_grpo", **settings).prepare(batch).weights,
                               recipes.build("grpo").prepare(batch).weights)  # fmt: skip


def test_correct_is_what_exceeds_the_threshold():
    """Rewards 0.2 and 1.2 (format and answer): everything exceeds 0, so the group weighs 0; above 1, k = 1 of 2."""
    batch = rollouts([0.2, 1.2])
    assert (advantages("s_grpo", batch) == 0).all()
    assert advantages("s_grpo", batch, correct_above=1.0)[:, 0].tolist() == pytest.approx([-(0.32**0.5), 0.32**0.5])


def test_closer_to_the_truth():
    """Mean squared error to the true z-score over 4,000 groups of 8: lower with the weight by 5 % at least.

    The two cells are those of flip rate 0.2 at pass rate 0.1 and of 0.1 at 0.5.
    """
    generator = torch.Generator().manual_seed(0)
    for noise, rate in ((0.2, 0.1), (0.1, 0.5)):
        truth = (torch.rand(4000 * 8, generator=generator) < rate).float()
        flipped = torch.rand(truth.shape, generator=generator) < noise
        seen = torch.where(flipped, 1 - truth, truth)
        group = torch.arange(4000).repeat_interleave(8).tolist()
        wanted = advantages("grpo", rollouts(truth.tolist(), group))
        plain = advantages("grpo", rollouts(seen.tolist(), group))
        weighted = advantages("s_grpo", rollouts(seen.tolist(), group), noise=noise)
        assert ((weighted - wanted) ** 2).mean() < 0.95 * ((plain - wanted) ** 2).mean()


def test_noise_of_a_half_is_refused():
    """Verdicts flipped half of the time tell nothing: 1 - 2 q = 0 stands in a denominator."""
    with pytest.raises(ValueError, match=r"in \[0, 0.5\), not 0.5"):
        recipes.build("s_grpo", noise=0.5)
