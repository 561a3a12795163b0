"""Two rewards against one another: samples faint behind, policies as points with intervals, the front drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prefopt.report.palette import LIGHT
from prefopt.report.plots.canvas import calm, dots, draw
from prefopt.report.record import Estimate, Policy
from prefopt.report.series import front
from prefopt.report.words import short

DRAWN = 150


def pareto(
    policies: Sequence[Policy], across: str, upwards: str, colours: Mapping[str, str], markers: Mapping[str, str]
) -> Markup:
    """Draw the policies in the plane of two rewards; at most ``DRAWN`` evenly chosen samples of each stand behind."""
    clouds = {policy.name: thinned(samples_of(policy, across, upwards)) for policy in policies}
    means = {policy.name: (policy.rewards[across], policy.rewards[upwards]) for policy in policies}

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        spread = [spread_of([cloud[:, side] for cloud in clouds.values()]) for side in (0, 1)]
        random = np.random.default_rng(0)
        for name, cloud in clouds.items():
            # Verifiers give few distinct scores; a shift of 1.5 % of the range keeps their points apart.
            shifted = cloud + random.uniform(-0.015, 0.015, cloud.shape) * spread
            dots(axes, shifted[:, 0], shifted[:, 1], LIGHT[colours[name]])
        _front(axes, {name: (pair[0].value, pair[1].value) for name, pair in means.items()})
        for name, (x, y) in means.items():
            _cross(axes, x, y, LIGHT[colours[name]], markers[name])
        axes.set_xlim(*_limits([cloud[:, 0] for cloud in clouds.values()], [pair[0] for pair in means.values()]))
        axes.set_ylim(*_limits([cloud[:, 1] for cloud in clouds.values()], [pair[1] for pair in means.values()]))
        calm(axes)
        axes.grid(visible=True, axis="x")
        axes.set_xlabel(f"{short(across)} →")
        axes.set_ylabel(f"{short(upwards)} →")

    return draw(300, 280, f"Policies by {across} and {upwards}", paint)


def samples_of(policy: Policy, across: str, upwards: str) -> np.ndarray:
    """Scores of a policy's samples on two rewards, (n, 2); a sample that one of them did not score is left out."""
    pairs = [(sample.rewards.get(across), sample.rewards.get(upwards)) for sample in policy.samples]
    table = np.array([pair for pair in pairs if None not in pair], dtype=float).reshape(-1, 2)
    return table[np.isfinite(table).all(axis=1)]


def thinned(table: np.ndarray) -> np.ndarray:
    """At most ``DRAWN`` rows, evenly spaced."""
    if len(table) <= DRAWN:
        return table
    return table[np.linspace(0, len(table) - 1, DRAWN).round().astype(int)]


def spread_of(columns: Sequence[np.ndarray]) -> float:
    """Range of several columns taken together; 1 where they are empty or constant."""
    values = np.concatenate(columns)
    return float(np.ptp(values)) or 1.0 if len(values) else 1.0


def _cross(axes: Axes, x: Estimate, y: Estimate, colour: str, marker: str) -> None:
    if x.bounds is not None:
        axes.plot(x.bounds, [y.value, y.value], color=colour, linewidth=1.8)
    if y.bounds is not None:
        axes.plot([x.value, x.value], y.bounds, color=colour, linewidth=1.8)
    axes.plot([x.value], [y.value], marker, color=colour, markersize=9, markeredgecolor=LIGHT["card"])


def _front(axes: Axes, means: Mapping[str, tuple[float, float]]) -> None:
    """Draw the region that the front dominates by its edge, a staircase that falls to the right."""
    corner = sorted(means[name] for name in front(means))
    x = [point[0] for point in corner]
    y = [point[1] for point in corner]
    line: dict[str, Any] = {"color": LIGHT["faint"], "linewidth": 1.2, "linestyle": (0, (4, 3))}
    axes.plot([-1e9, x[0]], [y[0], y[0]], **line)
    axes.step(x, y, where="pre", **line)
    axes.plot([x[-1], x[-1]], [y[-1], -1e9], **line)


def _limits(columns: Sequence[np.ndarray], means: Sequence[Estimate]) -> tuple[float, float]:
    """Range of the means' intervals and of the inner 96 % of the samples, with room around it."""
    values = np.concatenate(columns)
    ends = [end for entry in means for end in (entry.value, entry.low, entry.high) if end is not None]
    ends += list(np.percentile(values, [2, 98])) if len(values) else []
    low, high = min(ends), max(ends)
    room = 0.07 * (high - low) or 0.5
    return low - room, high + room
