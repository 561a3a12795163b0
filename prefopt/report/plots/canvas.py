"""The sheet that every figure is drawn on: matplotlib without pyplot, out comes a small inline SVG.

Figures are drawn at about the width of a phone and laid side by side on a wide screen, so that their text keeps
its size everywhere. Text stays text, in the page's own font; colours are the page's variables.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from prefopt.report.palette import LIGHT, themed

SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "prefopt",
    "path.simplify": False,
    "text.parse_math": False,
    "font.size": 11,
    "axes.edgecolor": LIGHT["faint"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.labelsize": 11,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": LIGHT["grid"],
    "grid.linewidth": 0.8,
    "text.color": LIGHT["muted"],
    "xtick.color": LIGHT["faint"],
    "ytick.color": LIGHT["faint"],
    "xtick.labelcolor": LIGHT["muted"],
    "ytick.labelcolor": LIGHT["muted"],
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.solid_capstyle": "round",
    "figure.constrained_layout.h_pad": 0.05,
    "figure.constrained_layout.w_pad": 0.05,
}


def draw(width: float, height: float, label: str, paint: Callable[[Figure], None]) -> Markup:
    """Paint a figure of so many CSS pixels and return it as SVG; ``label`` is what a screen reader says."""
    buffer = io.StringIO()
    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        # A name in a script that matplotlib's own font lacks is still drawn by the reader's browser.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return Markup(_inline(buffer.getvalue(), label))


def calm(axes: Axes, x_ticks: int = 5, y_ticks: int = 4, whole: bool = False) -> None:
    """Keep horizontal grid lines and a few round ticks; ``whole`` keeps those on the upright axis to counts."""
    axes.grid(visible=False, axis="x")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(x_ticks))
    axes.yaxis.set_major_locator(MaxNLocator(y_ticks, integer=whole))


def dots(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str, size: float = 3.6) -> None:
    """Draw many faint points as one path of round caps: a tenth of the bytes of as many markers."""
    if len(x) == 0:
        return
    vertices = np.repeat(np.column_stack([x, y]).astype(float), 2, axis=0)
    codes = np.tile(np.array([Path.MOVETO, Path.LINETO], dtype=np.uint8), len(x))
    patch = PathPatch(Path(vertices, codes), fill=False, capstyle="round", edgecolor=colour, alpha=0.3, lw=size)
    axes.add_patch(patch)


def _inline(svg: str, label: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    box = re.search(r'viewBox="([^"]*)"', svg)
    opening = f'<svg viewBox="{box.group(1) if box else ""}" role="img" aria-label="{html.escape(label)}">'
    svg = opening + svg[svg.index(">") + 1 :]
    svg = svg.replace("xlink:href", "href")
    used = set(re.findall(r"#([\w-]+)", svg))
    svg = re.sub(r' id="([\w-]+)"', lambda match: match.group(0) if match.group(1) in used else "", svg)
    svg = re.sub(r"font: (?:(\w+) )?([\d.]+px) [^;\"]*", r"font: \1 \2 var(--sans)", svg)
    svg = re.sub(r' (?:d|x|y|transform)="[^"]*"', lambda match: _rounded(match.group(0)), svg)
    svg = re.sub(r">\s+<", "><", svg)
    return themed(svg)


def _rounded(attribute: str) -> str:
    attribute = re.sub(r"-?\d+\.\d+", lambda match: f"{float(match.group(0)):.4g}", attribute)
    return re.sub(r"\s+", " ", attribute)
