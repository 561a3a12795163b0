"""A reward model on held-out pairs: reliability diagram over its histogram, and the scores of both sides."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from prefopt.report.palette import LIGHT
from prefopt.report.plots.canvas import calm, draw
from prefopt.report.record import Histogram, ReliabilityBin
from prefopt.report.words import NARROW


def reliability(bins: Sequence[ReliabilityBin]) -> Markup:
    """Draw how often the model was right against how sure it was; below, how many pairs each point stands for."""
    filled = [entry for entry in bins if entry.count]
    low = min(entry.low for entry in bins)

    def paint(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.4, 1])
        upper.plot([low, 1], [low, 1], color=LIGHT["faint"], linewidth=1, linestyle=(0, (4, 3)))
        x, y = [entry.confidence for entry in filled], [entry.accuracy for entry in filled]
        upper.plot(x, y, "-o", color=LIGHT["blue"], linewidth=2, markersize=7, markeredgecolor=LIGHT["card"])
        calm(upper)
        upper.set_ylim(min([low, *y]) - 0.04, 1.04)
        upper.set_ylabel("right")
        upper.tick_params(axis="x", length=0)
        for entry in filled:
            middle, width = (entry.low + entry.high) / 2, 0.92 * (entry.high - entry.low)
            lower.bar(middle, entry.count, width, color=LIGHT["blue"], alpha=0.45, linewidth=0)
        calm(lower, y_ticks=2)
        lower.set_ylabel("pairs")
        lower.set_xlabel("how sure the model was")
        lower.set_xlim(low - 0.02, 1.02)
        for axis in (upper.yaxis, lower.xaxis):
            axis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=f"{NARROW}%"))

    return draw(300, 290, "Share of pairs ranked rightly against the model's confidence", paint)


def score_histograms(chosen: Histogram, rejected: Histogram) -> Markup:
    """Draw the scores of chosen and of rejected responses over one another."""

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for histogram, colour in ((rejected, "vermilion"), (chosen, "blue")):
            axes.stairs(histogram.counts, histogram.edges, fill=True, color=LIGHT[colour], alpha=0.22)
            axes.stairs(histogram.counts, histogram.edges, color=LIGHT[colour], linewidth=1.8)
        calm(axes)
        axes.set_xlabel("score")
        axes.set_ylabel("responses")

    return draw(300, 262, "Scores of chosen and of rejected responses", paint)
