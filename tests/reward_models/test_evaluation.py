"""Evaluation of scores: numbers that a reader can derive."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import tensor

from reward_models.errors import DataError
from reward_models.evaluation import Proportion, calibrate, evaluate_scores


def test_wilson_interval():
    """8 of 10, z = 1.96: centre (0.8 + 0.19207)/1.38414 = 0.71674, half width 0.22658: 0.4902 to 0.9433."""
    low, high = Proportion(8, 10).interval()
    assert low == pytest.approx(0.4902, abs=5e-5)
    assert high == pytest.approx(0.9433, abs=5e-5)


def test_an_interval_of_nothing_is_everything():
    """No pairs: the proportion is unknown."""
    assert Proportion(0, 0).interval() == (0.0, 1.0)
    assert math.isnan(Proportion(0, 0).value)


def test_accuracy_is_strict_and_follows_the_label():
    """Margins 1, -1, 0, and -2 with label 0 (turned: +2), and a tie: right are the first and the fourth of four."""
    chosen, rejected = tensor([1.0, 0.0, 5.0, 0.0, 3.0]), tensor([0.0, 1.0, 5.0, 2.0, 0.0])
    found = evaluate_scores(chosen, rejected, label=tensor([1.0, 0.9, 1.0, 0.0, 0.5]))
    assert (found.accuracy.successes, found.accuracy.total, found.ties, found.pairs) == (2, 4, 1, 5)
    assert found.mean_margin == pytest.approx((1 - 1 + 0 + 2) / 4)
    assert found.mean_score == pytest.approx((1 + 0 + 5 + 0 + 3 + 0 + 1 + 5 + 2 + 0) / 10)


def test_calibration_by_hand():
    """Two confident pairs, one wrong, and two unsure ones.

    sigma(log 9) = 0.9 and sigma(log 1.5) = 0.6. Margins (log 9, -log 9, log 1.5, log 1.5), 5 bins of width 0.1:
    [0.9, 1]: confidence 0.9, accuracy 1/2, gap 0.4; [0.6, 0.7): confidence 0.6, accuracy 1, gap 0.4. ECE = 0.4.
    Brier = (0.1^2 + 0.9^2 + 0.4^2 + 0.4^2) / 4 = 0.285. Margins are shifted by 1e-6 off the bins' edges.
    """
    margins = tensor([math.log(9), -math.log(9), math.log(1.5), math.log(1.5)], dtype=torch.float64)
    found = calibrate(margins + torch.sign(margins) * 1e-6, count=5)
    assert found.expected_error == pytest.approx(0.4, abs=1e-5)
    assert found.brier == pytest.approx(0.285, abs=1e-5)
    assert [(b.count, round(b.confidence, 4), b.accuracy) for b in found.bins] == [(2, 0.6, 1.0), (2, 0.9, 0.5)]


def test_calibration_does_not_depend_on_the_order_of_presentation():
    """A perfect coin: margins +-m in the ratio of their probability have no error.

    sigma(log 3) = 3/4: three pairs right and one wrong at that margin.
    """
    margin = math.log(3)
    assert calibrate(tensor([margin, margin, margin, -margin])).expected_error == pytest.approx(0.0, abs=1e-6)


def test_equal_scores_are_a_coin_flip():
    """Margin 0: confidence 1/2, half right."""
    assert calibrate(torch.zeros(3)).expected_error == 0.0
    assert calibrate(torch.zeros(3)).brier == pytest.approx(0.25)


def test_subsets_and_scores_that_are_not_finite():
    """A NaN score is counted apart, not as wrong; a subset counts its own pairs."""
    chosen, rejected = tensor([1.0, float("nan"), 0.0, 2.0]), torch.zeros(4) + tensor([0.0, 0.0, 1.0, 0.0])
    found = evaluate_scores(chosen, rejected, subsets=["a", "a", "b", None])
    assert (found.pairs, found.unscored) == (3, 1)
    assert (found.accuracy.successes, found.accuracy.total) == (2, 3)
    assert {name: (p.successes, p.total) for name, p in found.subsets.items()} == {"a": (1, 1), "b": (0, 1)}
    written = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert written["subsets"]["b"]["accuracy"] == 0.0


def test_nothing_to_evaluate():
    """An empty set is an error, not a NaN."""
    with pytest.raises(DataError, match="no pairs"):
        evaluate_scores(torch.zeros(0), torch.zeros(0))
    with pytest.raises(ValueError, match="finite"):
        calibrate(tensor([float("inf")]))
