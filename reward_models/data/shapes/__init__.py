"""Every known shape, grouped by what its rows become."""

from __future__ import annotations

from reward_models.data.shape import Shape
from reward_models.data.shapes import (
    benchmarks,
    feedback,
    pairs,
    process,
    ratings,
    solutions,
    tasks,
    unpaired,
    verdicts,
)

PREFERENCES: tuple[Shape, ...] = (
    *pairs.SHAPES,
    *verdicts.SHAPES,
    *ratings.SHAPES,
    *benchmarks.SHAPES,
    *process.SHAPES,
)
LABELLED: tuple[Shape, ...] = unpaired.SHAPES
IN_STEPS: tuple[Shape, ...] = solutions.SHAPES
TASKS: tuple[Shape, ...] = tasks.SHAPES
LOGGED: tuple[Shape, ...] = feedback.LOGGED
SCORED_TEXTS: tuple[Shape, ...] = feedback.SCORED_TEXTS
SAMPLES: tuple[Shape, ...] = feedback.SAMPLES
RATINGS: tuple[Shape, ...] = feedback.RATINGS
