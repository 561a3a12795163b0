"""A policy on the held-out prompts: accuracy, rewards and the gain over the base, with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from scipy.stats import bootstrap
from torch import Tensor

from prefopt.quickstart.sampling import Completions, sample
from prefopt.quickstart.settings import VERIFIER, Settings
from prefopt.quickstart.stages import Bar
from prefopt.report import Estimate
from prefopt.trainers.rewards.reading import RewardSource
from prefopt.trainers.rewards.scores import Completions as Scorable
from prefopt.trainers.rewards.scores import score_all

# Any constant does: samples for judging must not depend on how a policy was trained, and be the same for all.
JUDGING_SEED = 20_000


@dataclass(frozen=True)
class Judged:
    """A policy's samples on P prompts and their scores.

    Attributes:
        completions: S samples a prompt. greedy: the most probable completion of each prompt.
        scores: by reward, (P, S), NaN where a source gave none. greedy_right: (P,), the verifier's word on ``greedy``.
    """

    completions: Completions
    greedy: Completions
    scores: Mapping[str, Tensor]
    greedy_right: Tensor

    @property
    def right(self) -> Tensor:
        """(P,): share of a prompt's samples that the verifier accepts."""
        return self.scores[VERIFIER].mean(-1)


def judge(folder: Path, prompts: Dataset, sources: Sequence[RewardSource], settings: Settings, bar: Bar) -> Judged:
    """Sample a policy on the prompts and score every sample with every source."""
    asked, seed = list(prompts["prompt"]), JUDGING_SEED + settings.seed
    samples = settings.evaluation.samples_per_prompt
    bar.start(2 * len(asked))
    completions = sample(folder, asked, samples, settings.longest_completion, seed, bar)
    greedy = sample(folder, asked, 0, settings.longest_completion, seed, bar)
    names = [name for source in sources for name in source.names]
    scores = score(completions, prompts, sources).reshape(len(asked), samples, len(names))
    verifier = [source for source in sources if source.names == (VERIFIER,)]
    return Judged(
        completions,
        greedy,
        {name: scores[..., k] for k, name in enumerate(names)},
        score(greedy, prompts, verifier)[:, 0],
    )


def score(completions: Completions, prompts: Dataset, sources: Sequence[RewardSource]) -> Tensor:
    """Return (N, K) scores of all completions."""
    rows = prompts.select([row for row in range(len(prompts)) for _ in range(completions.samples)])
    columns = {name: list(rows[name]) for name in rows.column_names}
    return score_all(sources, Scorable(columns["prompt"], list(completions.texts), columns))


def estimate(values: Tensor, settings: Settings) -> Estimate:
    """Return the mean over prompts and its 95 % percentile bootstrap interval, prompts drawn with replacement.

    Shape: values (P,); prompts without a score are left out.
    """
    known = values[~torch.isnan(values)].double().numpy()
    if not len(known):
        return Estimate(math.nan)
    mean = float(known.mean())
    if len(known) < 2 or np.ptp(known) == 0:
        return Estimate(mean, mean, mean)
    interval = bootstrap(
        (known,),
        np.mean,
        n_resamples=settings.evaluation.resamples,
        batch=500,
        method="percentile",
        random_state=np.random.default_rng(settings.seed),
    ).confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high))
