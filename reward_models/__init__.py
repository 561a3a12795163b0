"""Reward models: preference data, models with named heads, verifiers, scoring and evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reward_models.model import RewardModel as RewardModel
    from reward_models.source import ModelReward as ModelReward

__all__ = ["ModelReward", "RewardModel"]


def __getattr__(name: str) -> Any:
    # Lazy, so that importing the package (for its errors, say) does not import transformers.
    if name == "RewardModel":
        from reward_models.model import RewardModel

        return RewardModel
    if name == "ModelReward":
        from reward_models.source import ModelReward

        return ModelReward
    raise AttributeError(f"module 'reward_models' has no attribute '{name}'")
