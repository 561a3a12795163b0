"""The whole path on the embedded tiny policy and sample data: check, reward model, alignment, judgement, report."""

from __future__ import annotations

from prefopt.quickstart.run import run_quickstart
from prefopt.quickstart.settings import (
    EvaluationSettings,
    OfflineSettings,
    OnlineSettings,
    RewardModelSettings,
    Settings,
)

__all__ = [
    "EvaluationSettings",
    "OfflineSettings",
    "OnlineSettings",
    "RewardModelSettings",
    "Settings",
    "run_quickstart",
]
