"""A record without the figures that were never measured, so that no section has to ask."""

from __future__ import annotations

import math
from dataclasses import replace

from prefopt.report.record import Estimate, Policy, RewardModelEvaluation, RunRecord


def measured(record: RunRecord) -> RunRecord:
    """Drop every estimate whose value is not finite: a section then leaves it out as it does a missing one."""
    model = record.reward_model
    return replace(
        record,
        policies=tuple(_policy(policy) for policy in record.policies),
        reward_model=None if model is None else _reward_model(model),
    )


def _policy(policy: Policy) -> Policy:
    return replace(
        policy,
        accuracy=_finite(policy.accuracy),
        gain=_finite(policy.gain),
        rewards={name: mean for name, mean in policy.rewards.items() if _finite(mean) is not None},
    )


def _reward_model(model: RewardModelEvaluation) -> RewardModelEvaluation | None:
    if _finite(model.accuracy) is None:
        return None
    subsets = tuple(entry for entry in model.subsets if _finite(entry.accuracy) is not None)
    return replace(
        model,
        subsets=subsets,
        mean_margin=_number(model.mean_margin),
        calibration_error=_number(model.calibration_error),
    )


def _finite(estimate: Estimate | None) -> Estimate | None:
    return estimate if estimate is not None and math.isfinite(estimate.value) else None


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
