"""Policies side by side: a figure with its interval as dot and whisker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from prefopt.report.palette import LIGHT
from prefopt.report.plots.canvas import calm, draw
from prefopt.report.record import Estimate
from prefopt.report.words import NARROW, percent, short


def dot_and_whisker(
    rows: Sequence[tuple[str, Estimate, str, str]], label: str, width: float = 380, line_at: float | None = None
) -> Markup:
    """Draw shares with their intervals, the first row on top; a row is name, estimate, colour and marker.

    ``line_at`` draws a dashed line for comparison, such as chance.
    """

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for height, (_, estimate, colour, marker) in enumerate(rows):
            whisker(axes, estimate, height, LIGHT[colour], marker)
        if line_at is not None:
            axes.axvline(line_at, color=LIGHT["faint"], linewidth=1, linestyle=(0, (4, 3)))
        calm(axes, x_ticks=6)
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        for height, (name, estimate, _, _) in enumerate(rows):
            line: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "color": LIGHT["ink"]}
            line["bbox"] = {"facecolor": LIGHT["card"], "linewidth": 0, "pad": 1.5}
            axes.text(0, height - 0.42, short(name, 32), ha="left", **line)
            axes.text(1, height - 0.42, percent(estimate.value), ha="right", **line)
        axes.set_yticks([])
        axes.set_ylim(len(rows) - 0.6, -0.75)
        axes.set_xlim(*_limits([row[1] for row in rows], line_at))
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=f"{NARROW}%"))

    return draw(width, 34 + 50 * len(rows), label, paint)


def whisker(axes: Axes, estimate: Estimate, height: float, colour: str, marker: str) -> None:
    """Draw one horizontal whisker with its dot."""
    if estimate.bounds is not None:
        axes.plot(estimate.bounds, [height, height], color=colour, linewidth=2.6, alpha=0.55)
    axes.plot([estimate.value], [height], marker, color=colour, markersize=8.5, markeredgecolor=LIGHT["card"])


def _limits(estimates: Sequence[Estimate], line_at: float | None) -> tuple[float, float]:
    ends = [end for entry in estimates for end in (entry.value, entry.low, entry.high) if end is not None]
    ends += [] if line_at is None else [line_at]
    low, high = min(ends), max(ends)
    room = max(0.03, 0.08 * (high - low))
    return max(-0.02, low - room), min(1.02, high + room)
