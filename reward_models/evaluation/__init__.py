"""How good a reward model is: accuracy with intervals, by subset, margins, calibration."""

from __future__ import annotations

from reward_models.evaluation.calibration import Calibration, CalibrationBin, calibrate
from reward_models.evaluation.pairs import PairEvaluation, evaluate_model, evaluate_scores
from reward_models.evaluation.proportion import Proportion

__all__ = [
    "Calibration",
    "CalibrationBin",
    "PairEvaluation",
    "Proportion",
    "calibrate",
    "evaluate_model",
    "evaluate_scores",
]
