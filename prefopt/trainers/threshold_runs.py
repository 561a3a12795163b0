"""A short constrained run at given thresholds, stopped where it arrives, and judged by a source that it did not see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import TrainerCallback, set_seed

from prefopt import recipes
from prefopt.errors import UserError
from prefopt.trainers.online import align_online
from prefopt.trainers.online_config import OnlineConfig
from prefopt.trainers.rewards.reading import read_source
from prefopt.trainers.safety import complete, costs_of
from prefopt.trainers.threshold_search import Trial, near_thresholds


class StopNear(TrainerCallback):
    """Ends a run where a logged line has every mean reward within ``share`` of its threshold."""

    def __init__(self, thresholds: Sequence[float], share: float = 0.05) -> None:
        self.thresholds, self.share, self.reached = tuple(thresholds), share, False

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Compare the means of the line; sources stand in it in their order."""
        means = [value for name, value in (logs or {}).items() if name.startswith("reward/")]
        if len(means) == len(self.thresholds) and near_thresholds(means, self.thresholds, self.share):
            self.reached = control.should_training_stop = True


def with_thresholds(
    recipe: str | dict[str, Any], weighting: str | dict[str, Any] | None, thresholds: Sequence[float]
) -> tuple[str | dict[str, Any], str | dict[str, Any] | None]:
    """Return recipe and weighting with the thresholds in the one that takes them.

    Raises:
        UserError: neither does.
    """
    chosen = recipe if weighting is None else weighting
    given = {"recipe": chosen} if isinstance(chosen, str) else dict(chosen)
    if "thresholds" not in recipes.info(given["recipe"]).settings:
        raise UserError(
            f"recipe '{given['recipe']}' has no thresholds to search for; take `recipe: constrained`, or "
            "`weighting: constrained` beside another"
        )
    filled = given | {"thresholds": list(thresholds)}
    return (filled, None) if weighting is None else (recipe, filled)


def run_trial(
    model: str | Path,
    data: Dataset | str | Path,
    rewards: Sequence[Any],
    config: OnlineConfig,
    thresholds: tuple[float, ...],
    gold: Any,
    gold_data: Dataset,
    dtype: str = "float32",
    keep_policy: bool = False,
) -> Trial:
    """Train, stop near the thresholds, draw a completion to every prompt of ``gold_data``, and take their mean gold.

    Args:
        config: with these thresholds in its recipe or weighting; ``max_steps`` is the longest that a trial may take.
        gold: a reward source that tells true quality, such as a larger model or a verifier; no reward of the run.
        keep_policy: leave the trained weights in the run's folder.
    """
    source = read_source(gold).load("cpu")
    stop = StopNear(thresholds)
    done = align_online(model, data, rewards, config, dtype=dtype, callbacks=[stop])
    set_seed(config.seed)
    completions = complete(
        done.folder, list(gold_data["prompt"]), config.max_completion_length, 1.0, config.per_device_eval_batch_size,
        dtype,
    )  # fmt: skip
    scores = np.array(costs_of(source, gold_data, completions))
    if np.isnan(scores).all():
        raise UserError(f"the gold source '{source.label}' scored no completion of {done.folder}")
    if not keep_policy:
        for weights in done.folder.glob("*.safetensors"):
            weights.unlink()
    steps = int(done.log[-1]["step"]) if done.log else 0
    return Trial(thresholds, float(np.nanmean(scores)), stop.reached, steps)
