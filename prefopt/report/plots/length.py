"""One reward against the length of the completion, with the trend of each policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from prefopt.report.palette import LIGHT
from prefopt.report.plots.canvas import calm, dots, draw
from prefopt.report.plots.pareto import spread_of, thinned
from prefopt.report.record import Policy
from prefopt.report.series import correlation
from prefopt.report.words import short


def lengths_and_scores(policy: Policy, reward: str) -> np.ndarray:
    """Length and score of each of a policy's samples that the reward scored, (n, 2)."""
    pairs = [(sample.length, sample.rewards.get(reward)) for sample in policy.samples]
    table = np.array([pair for pair in pairs if pair[1] is not None], dtype=float).reshape(-1, 2)
    return table[np.isfinite(table).all(axis=1)]


def length_against(reward: str, policies: Sequence[Policy], colours: Mapping[str, str]) -> Markup:
    """Draw samples faintly and, where a correlation is defined, each policy's least-squares line."""
    clouds = {policy.name: lengths_and_scores(policy, reward) for policy in policies}

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        spread = [1.0, spread_of([cloud[:, 1] for cloud in clouds.values()])]
        random = np.random.default_rng(0)
        for name, cloud in clouds.items():
            few = thinned(cloud)
            # Lengths are whole numbers: a shift of up to half a token, and of 1.5 % of the scores' range.
            few = few + random.uniform(-1, 1, few.shape) * np.array([0.35, 0.015 * spread[1]])
            dots(axes, few[:, 0], few[:, 1], LIGHT[colours[name]])
        heights = [cloud[:, 1] for cloud in clouds.values()]
        for name, cloud in clouds.items():
            if correlation(cloud[:, 0], cloud[:, 1]) is not None:
                slope, level = np.polyfit(cloud[:, 0], cloud[:, 1], 1)
                ends = np.percentile(cloud[:, 0], [1, 99])
                heights.append(slope * ends + level)
                axes.plot(ends, slope * ends + level, color=LIGHT[colours[name]], linewidth=2.4)
        reach = np.concatenate([cloud[:, 0] for cloud in clouds.values()])
        for set_limits, column in ((axes.set_xlim, reach), (axes.set_ylim, np.concatenate(heights))):
            room = 0.06 * float(np.ptp(column)) or 0.5
            set_limits(float(column.min()) - room, float(column.max()) + room)
        calm(axes)
        axes.set_xlabel("length in tokens")
        axes.set_ylabel(short(reward))

    return draw(300, 225, f"{reward} against length", paint)
