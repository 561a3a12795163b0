"""Numbers that a reader can derive. Unless said: lw = 1.0 over 4 tokens, ll = -0.5 over 5 tokens, so D = 1.5."""

from __future__ import annotations

import math

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PairOutputs
from prefopt.offline import OfflineObjective
from prefopt.offline.regularise import ChosenLikelihood
from prefopt.offline.token_mask import SharedLength
from tests.offline.examples import outputs, whole

REFERENCE = outputs([-2.0] * 4, [-1.0] * 5)
POLICY = outputs([-1.75] * 4, [-1.1] * 5)  # log-ratios 0.25 and -0.1 a token


def loss(name: str, **settings) -> float:
    objective = recipes.build(name, **settings)
    return objective.losses(POLICY, REFERENCE, whole(POLICY)).item()


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_sigmoid():
    """-ls(0.1 * 1.5) = log(1 + e^-0.15) = 0.62096."""
    assert loss("sigmoid") == pytest.approx(0.6210, abs=5e-5)
    assert loss("dpo") == loss("sigmoid")
    assert OfflineObjective().losses(POLICY, REFERENCE, whole(POLICY)).item() == loss("sigmoid")


def test_label_smoothing_is_honoured():
    """cDPO, e = 0.1: 0.9 * 0.62096 + 0.1 * (0.62096 + 0.15) = 0.63596."""
    assert loss("sigmoid", label_smoothing=0.1) == pytest.approx(0.6360, abs=5e-5)


def test_soft_label_is_the_same_as_smoothing():
    """P(chosen better) = 0.9 and a label flipped with probability 0.1 are the same sentence; a tie pulls D to 0."""
    pairs = whole(POLICY, label_chosen_preferred=0.9, label_smoothing=0.1)
    for link in ("sigmoid", "ipo", "hinge"):
        constant = recipes.build(link, label_smoothing=0.1).losses(POLICY, REFERENCE, pairs)
        for labels in ("soft", "smoothed"):
            torch.testing.assert_close(
                recipes.build(link, labels=labels).losses(POLICY, REFERENCE, pairs), constant, atol=1e-12, rtol=0
            )
    tie = whole(POLICY, label_chosen_preferred=0.5)
    expected = -0.5 * math.log(sigmoid(0.15)) - 0.5 * math.log(sigmoid(-0.15))
    assert recipes.build("dpo", labels="soft").losses(POLICY, REFERENCE, tie).item() == pytest.approx(expected)


def test_hinge():
    """max(0, 1 - 0.15) = 0.85; with e = 0.1 in expectation 0.9 * 0.85 + 0.1 * 1.15 = 0.88."""
    assert loss("hinge") == pytest.approx(0.85)
    assert loss("hinge", label_smoothing=0.1) == pytest.approx(0.88)
    assert loss("hinge", beta=1.0) == 0


def test_ipo_sum_is_the_papers_form():
    """(1.5 - 1 / 0.2)^2 = 3.5^2 = 12.25; with e = 0.1 the target is 0.8 * 5 = 4 and the loss 2.5^2 = 6.25."""
    assert loss("ipo") == pytest.approx(12.25)
    assert loss("ipo", label_smoothing=0.1) == pytest.approx(6.25)


def test_ipo_length_normalised():
    """(1/4 + 0.5/5 - 5)^2 = 4.65^2 = 21.6225."""
    assert loss("ipo", length_normalised=True) == pytest.approx(21.6225)


def test_ipo_with_probabilities_has_the_gradient_of_the_expected_loss():
    """E over the label of (D -+ 5)^2 is 0.7 (D - 5)^2 + 0.3 (D + 5)^2; its slope 2D - 10 * 0.4 = -1 at D = 1.5.

    Ours is (D - 0.4 * 5)^2 with slope 2 * (1.5 - 2) = -1.
    """
    chosen = POLICY.chosen_logps.clone().requires_grad_()
    policy = PairOutputs(chosen, POLICY.rejected_logps)
    recipes.build("ipo", label_smoothing=0.3).losses(policy, REFERENCE, whole(POLICY)).sum().backward()
    torch.testing.assert_close(chosen.grad, torch.full_like(chosen, -1.0))


def test_dpo_norm_and_that_its_beta_does_not_suit_sums():
    """-ls(5 * 0.35) = log(1 + e^-1.75) = 0.1602; with sums and the same beta log(1 + e^-7.5) = 5.5e-4."""
    assert loss("dpo_norm") == pytest.approx(0.1602, abs=5e-5)
    assert loss("dpo", beta=5.0) == pytest.approx(5.53e-4, rel=1e-3)


def test_simpo():
    """log pi = (-6, -10) over 4 and 5 tokens: 2 * (-1.5 + 2) - 1 = 0, so -ls(0) = log 2. No reference is given."""
    policy = outputs([-1.5] * 4, [-2.0] * 5)
    objective = recipes.build("simpo", beta=2.0, gamma=1.0)
    assert objective.losses(policy, None, whole(policy)).item() == pytest.approx(math.log(2))
    assert objective.needs == frozenset()


def test_margin_column():
    """h = 0.1 * 1.5 - 0.5 * 0.3 = 0, so log 2."""
    pairs = whole(POLICY, margin=0.3)
    objective = recipes.build("dpo", margin_scale=0.5)
    assert objective.losses(POLICY, REFERENCE, pairs).item() == pytest.approx(math.log(2))


CHOSEN, REJECTED = [[0.5, 0.3, 0.2], [0.6, 0.2, 0.2]], [[0.1, 0.7, 0.2]]


def wpo_policy():
    """Three words; chosen writes word 0 of the first and word 1 of the second distribution, rejected word 0."""

    def statistics(side: str, rows: list[list[float]]) -> dict[str, list[float]]:
        return {
            f"{side}_log_sum_sq_probs": [math.log(sum(p * p for p in row)) for row in rows],
            f"{side}_max_logps": [math.log(max(row)) for row in rows],
        }

    chosen, rejected = [math.log(0.5), math.log(0.2)], [math.log(0.1)]
    return outputs(chosen, rejected, **statistics("chosen", CHOSEN), **statistics("rejected", REJECTED))


@pytest.mark.parametrize(("alignment", "weight"), [("sampled", 0.1432), ("greedy", 0.0825), ("none", 0.0316)])
def test_wpo_weight(alignment, weight):
    """Sampled: sums of squares 0.38, 0.44, 0.54; means (ln .5/.38 + ln .2/.44) / 2 = -0.2570, ln .1/.54 = -1.6864;
    exp(-1.9434) = 0.1432. Greedy: (0 + ln .2/.6) / 2 = -0.5493, ln .1/.7 = -1.9459; 0.0825.
    None: sqrt(.1) * .1 = 0.0316.
    """
    policy = wpo_policy()
    weights = recipes.build("wpo", alignment=alignment).weights(policy, whole(policy))
    assert weights.item() == pytest.approx(weight, abs=5e-5)


def test_wpo_loss_is_weight_times_link():
    """Equal policies: D = 0, so W log 2."""
    policy = wpo_policy()
    assert recipes.build("wpo").losses(policy, policy, whole(policy)).item() == pytest.approx(
        0.1432 * math.log(2), abs=5e-5
    )


def test_wpo_weight_is_capped_at_one():
    """One token each, p = (.6, .2, .2), both write word 0: (0.6 / 0.44)^2 = 1.8595, capped at 1."""
    value = [math.log(0.6)]
    square = [math.log(0.44)]
    policy = outputs(value, value, chosen_log_sum_sq_probs=square, rejected_log_sum_sq_probs=square)
    assert recipes.build("wpo").weights(policy, whole(policy)).item() == 1
    assert recipes.build("wpo", cap=10.0).weights(policy, whole(policy)).item() == pytest.approx(1.8595, abs=5e-5)


def test_wpo_weight_carries_no_gradient():
    """d loss / d logp is -W beta sigmoid(-h) on each chosen token: with D = 0 that is -0.1432 * 0.01 * 0.5."""
    policy = wpo_policy()
    chosen = policy.chosen_logps.clone().requires_grad_()
    followed = PairOutputs(chosen, policy.rejected_logps, policy.extras)
    recipes.build("wpo").losses(followed, policy, whole(policy)).sum().backward()
    torch.testing.assert_close(chosen.grad, torch.full_like(chosen, -0.14323 * 0.005), atol=1e-7, rtol=0)


def test_shared_length_halves_the_tail():
    """Log-ratios .4 .3 .2 .1 and five of -.1, n = 4, alpha .5: 1.0 and -0.4 - 0.05 = -0.45, so -ls(0.145) = 0.6233."""
    reference = outputs([-2.0] * 4, [-2.0] * 5)
    policy = outputs([-1.6, -1.7, -1.8, -1.9], [-2.1] * 5)
    objective = recipes.build("dpo", token_mask=SharedLength(0.5))
    chosen, rejected = objective.scores(policy, reference, whole(policy))
    assert (chosen.item(), rejected.item()) == (pytest.approx(1.0), pytest.approx(-0.45))
    assert objective.losses(policy, reference, whole(policy)).item() == pytest.approx(0.6233, abs=5e-5)


def test_regulariser_adds_the_mean_of_each_pair():
    """Chosen tokens have log-probability -1.75: 0.6210 + 0.2 * 1.75 = 0.9710, whatever the pair weight."""
    assert loss("dpo", regularise=ChosenLikelihood(0.2)) == pytest.approx(0.62096 + 0.35, abs=1e-5)
    policy = wpo_policy()
    objective = recipes.build("wpo", regularise=ChosenLikelihood(1.0))
    expected = 0.14323 * math.log(2) - (math.log(0.5) + math.log(0.2)) / 2
    assert objective.losses(policy, policy, whole(policy)).item() == pytest.approx(expected, abs=1e-4)


def test_metrics_are_sums_and_counts():
    """Two copies of the pair: rewards 0.1 * 1.0 and 0.1 * -0.5 a row, log-probabilities -7 and -5.5 a row."""
    twice = [0, 0]
    measured = recipes.build("dpo").metrics(POLICY[twice], REFERENCE[twice], whole(POLICY)[twice])
    found = {name: (total.item(), count.item()) for name, (total, count) in measured.items()}
    assert found == {
        "rewards/chosen": (pytest.approx(0.2), 2),
        "rewards/rejected": (pytest.approx(-0.1), 2),
        "rewards/margin": (pytest.approx(0.3), 2),
        "rewards/accuracy": (2, 2),
        "pair_weight": (2, 2),
        "logps/chosen": (pytest.approx(-14), 2),
        "logps/rejected": (pytest.approx(-11), 2),
    }
