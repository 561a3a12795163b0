"""Settings of a preference game."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from transformers import SchedulerType

from prefopt import recipes
from prefopt.errors import UserError
from prefopt.games.judged import Played
from prefopt.offline.objective import OfflineObjective
from prefopt.trainers.offline_config import OfflineConfig, offline_objective


@dataclass
class GameConfig(OfflineConfig):
    """The settings of an offline run, with which every iteration trains, and those of the loop around it."""

    recipe: str | dict[str, Any] | list[Any] = field(
        default="inpo",
        metadata={"help": "a game for language models: inpo, sppo, dno, nash_md, xpo; or {recipe: inpo, eta: 0.01}"},
    )
    iterations: int = field(default=3, metadata={"help": "how often candidates are drawn, judged and learnt from"})
    prompts_per_iteration: int | None = field(
        default=None,
        metadata={
            "help": "prompts of an iteration, the next so many of a shuffled order; unset: disjoint parts, one each"
        },
    )
    max_completion_length: int = field(default=256, metadata={"help": "longest candidate in tokens"})
    completions_at_once: int = field(default=64, metadata={"help": "candidates that are generated side by side"})
    teacher_column: str | None = field(
        default=None,
        metadata={"help": "column with another's answer, for recipes whose candidates include a teacher's"},
    )

    warmup_steps: float = field(
        default=0.0, metadata={"help": "warm-up of each iteration, in steps or as a share of its steps"}
    )
    lr_scheduler_type: SchedulerType | str = field(
        default="constant", metadata={"help": "course of the learning rate, in each iteration anew"}
    )

    def __post_init__(self) -> None:
        for name in ("iterations", "max_completion_length", "completions_at_once", "prompts_per_iteration"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} must be at least 1, not {value}")
        super().__post_init__()


def game_objective(config: GameConfig) -> OfflineObjective:
    """Return the objective that the settings name.

    Raises:
        UserError: as `offline_objective` does, or a recipe whose pairs nobody plays for.
    """
    if config.reference_model is not None:
        raise UserError("reference_model is not set in a game: its anchor is the model that it starts from")
    if config.max_length is not None:
        raise UserError(
            "max_length is not set in a game: answers are learnt as they were drawn, with max_completion_length tokens "
            "at most"
        )
    if config.sample_weights:
        raise UserError("sample_weights is for pairs from data; those of a game have none. Leave it out")
    objective = offline_objective(config)
    if not isinstance(objective, OfflineObjective) or not isinstance(objective.pairs, Played):
        playable = [name for name in recipes.names("game") if isinstance(recipes.build(name), OfflineObjective)]
        raise UserError(
            f"recipe '{objective.recipe}' takes its pairs from data; a game is one of {', '.join(playable)}, or "
            "another recipe with the slot pairs of one of them, such as recipe_settings {pairs: sppo}"
        )
    if objective.pairs.candidates.teacher and config.teacher_column is None:
        raise UserError(f"recipe '{objective.recipe}' has a teacher's answer among its candidates: set teacher_column")
    if config.teacher_column is not None and not objective.pairs.candidates.teacher:
        raise UserError(f"teacher_column is set, but recipe '{objective.recipe}' asks no teacher; leave it out")
    return objective
