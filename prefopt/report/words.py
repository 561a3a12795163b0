"""Figures as words: one way to write a share, a difference, an interval and a duration, wherever they stand."""

from __future__ import annotations

import math
from collections.abc import Sequence

from prefopt.report.record import Estimate

NARROW = "\u202f"
MINUS = "\u2212"


def number(value: float | None, decimals: int | None = None) -> str:
    """Write a figure with the decimals asked for; otherwise two, none from 1000 on, two digits below 0.01."""
    if value is None or not math.isfinite(value):
        return "–"
    if decimals is None:
        size = abs(value)
        text = f"{value:,.0f}" if size >= 1000 else f"{value:.2f}" if size >= 0.01 or size == 0 else f"{value:.2g}"
    else:
        text = f"{value:.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def percent(share: float | None) -> str:
    """Write a share in [0, 1] as a percentage, with a decimal below 10 % and above 90 % unless it is whole."""
    if share is None or not math.isfinite(share):
        return "–"
    value = 100 * share
    whole = 10 <= value <= 90 or math.isclose(value, round(value), abs_tol=0.05)
    return f"{number(value, 0 if whole else 1)}{NARROW}%"


def points(share: float, like: float | None = None) -> str:
    """Write a difference of two shares in points; below 10 points (of ``like``, if given) with a decimal."""
    return number(100 * share, 0 if abs(100 * (share if like is None else like)) >= 9.95 else 1)


def interval(estimate: Estimate, write: str = "number") -> str:
    """Write "(0.38 to 0.47)", or nothing where there is no interval; ``write`` is "number" or "percent"."""
    if estimate.bounds is None:
        return ""
    writer = percent if write == "percent" else number
    return f"({writer(estimate.bounds[0])} to {writer(estimate.bounds[1])})"


def gain_in_points(gain: Estimate, name: str = "") -> str:
    """Write "(28 to 41)" for an interval of a difference of shares, "(95 % interval 28 to 41)" with a name."""
    if gain.bounds is None:
        return ""
    low, high = (points(end, gain.value) for end in gain.bounds)
    return f"({f'{name} ' if name else ''}{low} to {high})"


def signed(share: float) -> str:
    """Write a difference of two shares in points, with its sign."""
    return f"+{points(share)}" if share > 0 else points(share)


def duration(seconds: float) -> str:
    """Write seconds as "0.4 s", "12 s" or "3 min 05 s"."""
    if seconds < 59.5:
        return f"{number(seconds, 1 if seconds < 9.95 else 0)}{NARROW}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{NARROW}min {rest:02d}{NARROW}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{NARROW}h {minutes:02d}{NARROW}min"


def listing(names: Sequence[str], last: str = "and") -> str:
    """Join names as in a sentence: "a", "a and b", "a, b and c"."""
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}" if names else ""


def short(name: str, longest: int = 24) -> str:
    """Cut a name that is too long for a figure; the text beside the figure has it in full."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def plural(count: int, noun: str) -> str:
    """Write "1 pair", "2 pairs", "1,800 rows"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
