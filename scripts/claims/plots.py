"""Plots as plain values, stored with the result, so that the page of all claims is drawn without running anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from prefopt.report.palette import LIGHT, MARKERS, POLICIES
from prefopt.report.plots.canvas import calm, draw
from scripts.claims.numbers import interval

POINTS = 60
COLOURS = (*POLICIES, "grey")


@dataclass(frozen=True)
class Series:
    """One line, or one row of a dot plot: means with the ends of their 95 % intervals."""

    name: str
    x: list[float]
    y: list[float]
    low: list[float] | None = None
    high: list[float] | None = None


@dataclass(frozen=True)
class Plot:
    """What is drawn.

    Attributes:
        kind: ``lines`` (y over x, bands), ``points`` (the same without a line) or ``bars`` (one value a name).
        level: a horizontal (``bars``: upright) line to compare with; None = none.
        x_scale, y_scale: ``linear`` or ``log``.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    kind: str = "lines"
    level: float | None = None
    x_scale: str = "linear"
    y_scale: str = "linear"

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Plot:
        """Read what `as_json` gave."""
        return cls(**{**stored, "series": tuple(Series(**one) for one in stored["series"])})


def lines(
    title: str, x_label: str, y_label: str, x: Sequence[float] | np.ndarray, curves: Mapping[str, np.ndarray],
    **more: Any,
) -> Plot:  # fmt: skip
    """Mean curves with 95 % bands from ``curves``: name -> ``(seeds, X)`` over ``x`` ``(X,)``; thinned to 60 points."""
    x = np.asarray(x, dtype=float)
    chosen = np.unique(np.linspace(0, len(x) - 1, min(POINTS, len(x))).round().astype(int))
    series = []
    for name, values in curves.items():
        mean, low, high = (_rounded(part[chosen]) for part in interval(np.asarray(values, dtype=float)))
        known = len(values) > 1
        series.append(Series(name, _rounded(x[chosen]), mean, low if known else None, high if known else None))
    return Plot(title, x_label, y_label, tuple(series), **more)


def bars(title: str, label: str, values: Mapping[str, np.ndarray], **more: Any) -> Plot:
    """One mean with its interval a name, from ``values``: name -> ``(seeds,)``."""
    series = []
    for name, found in values.items():
        mean, low, high = (_rounded(np.atleast_1d(part)) for part in interval(np.asarray(found, dtype=float)))
        series.append(Series(name, [0.0], mean, low, high))
    return Plot(title, label, "", tuple(series), "bars", **more)


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.4g}") for value in values]


def svg(plot: Plot) -> Markup:
    """Draw a plot as inline SVG in the colours of the page."""
    height = 60 + 26 * len(plot.series) if plot.kind == "bars" else 300
    return draw(430, height, f"{plot.title}: {plot.y_label} against {plot.x_label}", lambda figure: paint(plot, figure))


def paint(plot: Plot, figure: Figure) -> None:
    """Paint a plot on a figure."""
    axes = figure.add_subplot()
    calm(axes)
    (_paint_bars if plot.kind == "bars" else _paint_curves)(plot, axes)
    axes.set_xlabel(plot.x_label)
    axes.set_xscale(plot.x_scale)
    if plot.kind != "bars":
        axes.set_yscale(plot.y_scale)
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            _plain_powers(axis)


def _plain_powers(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers, as a formula is not drawn in the page's text."""
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _paint_curves(plot: Plot, axes: Any) -> None:
    style = "-" if plot.kind == "lines" else ""
    for number, one in enumerate(plot.series):
        colour, marker = LIGHT[COLOURS[number % len(COLOURS)]], MARKERS[number % len(MARKERS)]
        every = max(1, len(one.x) // 6)
        places = slice(number * every // len(plot.series), None, every) if style else slice(None)
        axes.plot(one.x, one.y, style, color=colour, linewidth=2, label=one.name)
        axes.plot(one.x[places], one.y[places], marker, color=colour, markersize=5)
        axes.lines[-2].set_marker(marker)
        axes.lines[-2].set_markevery([])
        if one.low is not None and one.high is not None:
            if style:
                axes.fill_between(one.x, one.low, one.high, color=colour, alpha=0.15, linewidth=0)
            else:
                axes.vlines(one.x, one.low, one.high, color=colour)
    if plot.level is not None:
        axes.axhline(plot.level, color=LIGHT["faint"], linewidth=1, linestyle="--")
    axes.set_ylabel(plot.y_label)
    if len(plot.series) > 1:
        axes.figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)


def _paint_bars(plot: Plot, axes: Any) -> None:
    names = [one.name for one in plot.series]
    for row, one in enumerate(plot.series):
        colour = LIGHT[COLOURS[row % len(COLOURS)]]
        axes.plot(one.y, [row], "o", color=colour, markersize=7)
        if one.low is not None and one.high is not None:
            axes.hlines([row], one.low, one.high, color=colour, linewidth=2)
    if plot.level is not None:
        axes.axvline(plot.level, color=LIGHT["faint"], linewidth=1, linestyle="--")
    axes.grid(visible=False, axis="y")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
