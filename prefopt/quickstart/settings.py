"""What the quickstart does, in figures. They were chosen for two CPU cores and under five minutes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefopt import assets
from prefopt.errors import UserError

BASE, ONLINE, OFFLINE = "base", "online", "offline"
VERIFIER, LEARNED, BREVITY = "right answer", "preference", "brevity"


@dataclass(frozen=True)
class RewardModelSettings:
    """The Bradley-Terry model; it starts from the policy, with a new head that learns faster."""

    epochs: float = 2.0
    pairs_per_step: int = 32
    learning_rate: float = 5e-4
    head_learning_rate: float = 5e-3


@dataclass(frozen=True)
class OnlineSettings:
    """Online alignment against all rewards at once."""

    recipe: str = "grpo"
    weighting: str = "gdpo"
    weights: Mapping[str, float] = field(default_factory=lambda: {VERIFIER: 1.0, LEARNED: 0.5, BREVITY: 0.3})
    steps: int = 80
    prompts_per_step: int = 16
    completions_per_prompt: int = 8
    learning_rate: float = 3e-4


@dataclass(frozen=True)
class OfflineSettings:
    """Offline alignment on the preference pairs."""

    recipe: str = "dpo"
    beta: float = 0.1
    epochs: float = 1.0
    pairs_per_step: int = 32
    learning_rate: float = 2e-4


@dataclass(frozen=True)
class EvaluationSettings:
    """Sampling on held-out prompts; the goal is the gain in accuracy over the base, as a share."""

    samples_per_prompt: int = 4
    goal: float = 0.20
    resamples: int = 5000
    examples: int = 8


@dataclass(frozen=True)
class Settings:
    """One run. ``rows`` keeps only the first rows of every file, for tests; None keeps all."""

    output_dir: Path
    seed: int = 0
    report_to: str = "none"
    longest_completion: int = 24
    brevity: Mapping[str, Any] = field(default_factory=lambda: {"target": 1, "width": 13, "unit": "words"})
    reward_model: RewardModelSettings = field(default_factory=RewardModelSettings)
    online: OnlineSettings = field(default_factory=OnlineSettings)
    offline: OfflineSettings = field(default_factory=OfflineSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    rows: int | None = None

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UserError(f"seed must not be negative, got {self.seed}")
        if self.output_dir.exists() and not self.output_dir.is_dir():
            raise UserError(f"output_dir {self.output_dir} is a file; name a folder")

    @property
    def policy(self) -> Path:
        """Folder of the embedded policy."""
        return assets.path("tiny-policy")

    @property
    def reward_folder(self) -> Path:
        """Where the reward model goes."""
        return self.output_dir / "reward-model"

    def aligned_folder(self, name: str) -> Path:
        """Where an aligned policy goes."""
        return self.output_dir / name

    def sources(self) -> list[dict[str, Any]]:
        """The rewards as they would stand in a configuration of ``prefopt align-online``."""
        entries: dict[str, dict[str, Any]] = {
            VERIFIER: {"source": "exact_answer"},
            LEARNED: {"source": str(self.reward_folder), "settings": {"batch_size": 128}},
            BREVITY: {"source": "length", "settings": dict(self.brevity)},
        }
        return [{**entry, "name": name, "weight": self.online.weights[name]} for name, entry in entries.items()]
