"""All results on one page: ``python -m scripts.bench.report`` writes the self-contained ``results/report.html``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from prefopt.report import palette
from prefopt.report.palette import DARK, LIGHT
from prefopt.report.plots.canvas import calm, draw
from scripts.bench.harness import RESULTS

PAGE = """<!doctype html>
<html lang="en-GB"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Benchmarks</title><style>
:root { {% for name, colour in light.items() %}--{{ name }}: {{ colour }}; {% endfor %}}
@media (prefers-color-scheme: dark) {
  :root { {% for name, colour in dark.items() %}--{{ name }}: {{ colour }}; {% endfor %}} }
{{ style }}
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.figure { text-align: right; white-space: nowrap; }
.scroll { overflow-x: auto; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 2rem; }
figure { margin: 0; }
section { margin-top: 3rem; }
</style></head><body><main>
<header><h1>Benchmarks</h1>
<p>Ratios are the peer's time over ours, median of alternating runs in one process (least to largest).</p></header>
{% if rows %}<section><h2>Beside peers</h2><div class="scroll"><table>
<tr><th>work</th><th>peer</th><th>threads</th><th>ratio</th><th>reach</th><th>limit</th><th>ours, peer (s)</th>
<th>peak MiB: ours, peer</th><th>command</th></tr>
{% for row in rows %}<tr><td>{{ row.work }}</td><td>{{ row.peer }}</td><td>{{ row.threads }}</td>
<td class="figure">{{ row.ratio }}</td><td class="figure">{{ row.reach }}</td><td>{{ row.limit }}</td>
<td class="figure">{{ row.seconds }}</td><td class="figure">{{ row.peaks }}</td><td><code>{{ row.command }}</code></td>
</tr>{% endfor %}</table></div></section>{% endif %}
{% if plots %}<section><h2>How cost grows</h2><div class="plots">
{% for title, plot in plots %}<figure><h3>{{ title }}</h3>{{ plot }}</figure>{% endfor %}
</div><p><code>{{ growth.command }}</code>, {{ growth.device }}, {{ growth.threads }} thread</p></section>{% endif %}
{% if others %}<section><h2>Other measurements</h2><div class="scroll"><table>
<tr><th>name</th><th>figures</th><th>command</th></tr>
{% for other in others %}<tr><td>{{ other.name }}</td><td>{{ other.figures }}</td>
<td><code>{{ other.command }}</code></td></tr>{% endfor %}</table></div></section>{% endif %}
</main></body></html>
"""


def beside_peers(results: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """A line of the table for each row and number of threads."""
    lines = []
    for result in results:
        for one in result.get("measured", ()):
            ratio, peaks = one["ratio"], result.get("peak_mib")
            limit = result.get("limit")
            shares = {
                part["threads"]: f", {part['share_of_limit']:.0%} reached" for part in result.get("closeness", ())
            }
            lines.append(
                {
                    "work": result["work"],
                    "peer": result["peer"],
                    "threads": str(one["threads"]),
                    "ratio": f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})",
                    "reach": f"{result['reach']:g}",
                    "limit": f"{limit:.2f}{shares.get(one['threads'], '')}: {result['limit_reason']}" if limit else "",
                    "seconds": f"{middle(one['ours_s']):.2f}, {middle(one['peer_s']):.2f}",
                    "peaks": f"{peaks['ours']:.0f}, {peaks['peer']:.0f}" if peaks else "",
                    "command": result["command"],
                }
            )
    return lines


def middle(values: Sequence[float]) -> float:
    """The median's upper neighbour."""
    return sorted(values)[len(values) // 2]


def others(results: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Results without a peer: their plain figures."""
    lines = []
    for result in results:
        if "measured" in result or result["row"] == "growth":
            continue
        figures = [f"{name} {value}" for name, value in result.items() if isinstance(value, bool | int | float)]
        lines.append({"name": result["row"], "figures": ", ".join(figures), "command": result.get("command", "")})
    return lines


def curves(
    x_label: str, y_label: str, x: Sequence[float], lines: dict[str, Sequence[float]], steep: bool = False
) -> Markup:
    """Lines over ``x``, which doubles or grows tenfold; ``steep`` gives both axes a logarithmic scale."""
    colours = ("blue", "vermilion")

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        calm(axes)
        for (name, values), colour, shape in zip(lines.items(), colours, ("o", "s"), strict=False):
            axes.plot(x, values, color=LIGHT[colour], marker=shape, linewidth=2.2, label=name)
        axes.set_xscale("log", base=2 if x[-1] / x[0] < 100 else 10)
        if steep:
            axes.set_yscale("log")
        else:
            axes.set_ylim(0, 1.1 * max(max(values) for values in lines.values()))
        axes.set_xticks(x, [f"{value:,}" for value in x])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        if len(lines) > 1:
            axes.legend(frameon=False)

    return draw(320, 240, f"{y_label} against {x_label}", paint)


def growth_plots(growth: dict[str, Any]) -> list[tuple[str, Markup]]:
    """Scoring against rows, training against prompt length and group size."""

    def column(part: str, name: str) -> list[float]:
        return [one[name] for one in growth[part]]

    rows = column("scoring", "rows")
    plots = [
        ("Scoring time", curves("rows", "seconds", rows, {"score": column("scoring", "seconds")}, steep=True)),
        ("Scoring memory", curves("rows", "peak MiB", rows, {"score": column("scoring", "peak_mib")})),
    ]
    for part, name, title in (
        ("training_by_prompt", "prompt_tokens", "prompt tokens"),
        ("training_by_group", "answers", "answers a prompt"),
    ):
        lines = {"one row an answer": column(part, "rows_s"), "prefix trees": column(part, "trees_s")}
        plots.append((f"Training step, {title}", curves(title, "seconds", column(part, name), lines)))
    return plots


def page() -> str:
    """The HTML of all results that are there."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    growth = next((result for result in results if result["row"] == "growth"), None)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    style = (Path(palette.__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")
    return environment.from_string(PAGE).render(
        light=LIGHT,
        dark=DARK,
        style=Markup(style),
        rows=beside_peers(results),
        growth=growth,
        plots=growth_plots(growth) if growth else [],
        others=others(results),
    )


def main() -> int:
    """Write the page."""
    path = RESULTS / "report.html"
    path.write_text(page(), encoding="utf-8")
    print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
