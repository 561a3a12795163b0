"""Which thresholds serve best: Nelder and Mead's search, each point a short run, every run kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from prefopt.errors import UserError
from reward_models.whole_files import replace_json

logger = logging.getLogger(__name__)
FILE = "thresholds.json"


@dataclass(frozen=True)
class Trial:
    """One short run: the thresholds that it was held at, and how good its policy was (higher is better).

    ``reached``: every mean reward came near its threshold before the steps were used up. ``steps``: taken.
    """

    thresholds: tuple[float, ...]
    score: float
    reached: bool = True
    steps: int = 0


@dataclass(frozen=True)
class Found:
    """The best trial, all trials in their order, and whether the simplex shrank to the tolerance."""

    best: Trial
    trials: tuple[Trial, ...]
    converged: bool


@dataclass(frozen=True)
class ThresholdSearch:
    """Nelder and Mead's simplex over K thresholds, by scipy: reflection 1, expansion 2, contraction and shrinkage 1/2.

    The simplex starts at K + 1 points drawn evenly between ``lower`` and ``upper``; ``lower`` should be the mean
    rewards of the policy at the start, as a threshold below them asks for nothing. The search is local, and every score
    comes from one noisy run: its result is a good point, not the best.

    All trials stand in ``folder / thresholds.json``. A point within ``near`` of one that was tried, in every
    coordinate, takes that score. A search that is started again takes the same way, through the trials that are there.

    Attributes:
        lower, upper: K each. tolerance: of points and scores, at which the search ends.
        near: see above. most: trials at most. seed: of the first simplex.

    Reference: arXiv 2310.04373.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    tolerance: float = 0.01
    near: float = 5e-3
    most: int = 30
    seed: int = 0
    _known: list[Trial] = field(default_factory=list, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.lower or len(self.lower) != len(self.upper):
            raise UserError(
                f"lower has {len(self.lower)} values and upper {len(self.upper)}; give one of each a reward source"
            )
        if not all(low < high for low, high in zip(self.lower, self.upper, strict=True)):
            raise UserError(f"every lower must be below its upper: {list(self.lower)}, {list(self.upper)}")
        if self.most < len(self.lower) + 1:
            raise UserError(f"most={self.most} trials do not suffice for a simplex of {len(self.lower) + 1} points")

    @property
    def simplex(self) -> np.ndarray:
        """The points to start from, ``(K + 1, K)``."""
        drawn = np.random.default_rng(self.seed).random((len(self.lower) + 1, len(self.lower)))
        return np.asarray(self.lower) + drawn * (np.asarray(self.upper) - np.asarray(self.lower))

    def __call__(self, evaluate: Callable[[tuple[float, ...], int], Trial], folder: str | Path) -> Found:
        """Search; ``evaluate(thresholds, number)`` runs and judges the trial of that number.

        Raises:
            UserError: ``folder`` holds the trials of another search.
        """
        path = Path(folder) / FILE
        self._known[:] = self._read(path)

        def cost(point: np.ndarray) -> float:
            return -self._tried(tuple(float(f"{value:.6g}") for value in point), evaluate, path).score

        limits = {"xatol": self.tolerance, "fatol": self.tolerance, "maxfev": self.most}
        result = minimize(
            cost, self.simplex[0], method="Nelder-Mead", options={**limits, "initial_simplex": self.simplex}
        )
        trials = tuple(self._known)
        return Found(max(trials, key=lambda trial: trial.score), trials, bool(result.success))

    def _tried(
        self, point: tuple[float, ...], evaluate: Callable[[tuple[float, ...], int], Trial], path: Path
    ) -> Trial:
        for trial in self._known:
            if max(abs(a - b) for a, b in zip(trial.thresholds, point, strict=True)) <= self.near:
                return trial
        trial = evaluate(point, len(self._known))
        if not np.isfinite(trial.score):
            raise UserError(f"the trial at {list(point)} has the score {trial.score}; a search needs a number")
        self._known.append(trial)
        self._write(path)
        logger.info("thresholds %s: %.4g", list(point), trial.score)
        return trial

    def _about(self) -> dict[str, Any]:
        return {"lower": list(self.lower), "upper": list(self.upper), "seed": self.seed, "near": self.near}

    def _write(self, path: Path) -> None:
        replace_json(path, {**self._about(), "trials": [asdict(trial) for trial in self._known]})

    def _read(self, path: Path) -> list[Trial]:
        if not path.exists():
            return []
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path} is damaged: {error}; remove it, and the trials are run anew") from error
        for name, value in self._about().items():
            if stored.get(name) != value:
                raise UserError(
                    f"{path} holds a search with {name}={stored.get(name)}, and this one has {value}; go on with the "
                    "same, or take another folder"
                )
        return [Trial(**{**trial, "thresholds": tuple(trial["thresholds"])}) for trial in stored["trials"]]


def near_thresholds(means: Sequence[float | None], thresholds: Sequence[float], share: float = 0.05) -> bool:
    """Whether every mean is known and within ``share`` of its threshold, relative to it."""
    return all(
        mean is not None and abs(mean - goal) <= share * abs(goal) for mean, goal in zip(means, thresholds, strict=True)
    )
