"""Online training step by step: one curve a reward."""

from __future__ import annotations

from prefopt.report.movement import direction, moved
from prefopt.report.palette import reward_colours
from prefopt.report.plots.learning import curve
from prefopt.report.record import RunRecord
from prefopt.report.sections.parts import Figure, Missing, Section
from prefopt.report.series import Series, reward_names, series
from prefopt.report.words import listing


def learning(record: RunRecord) -> Section | Missing:
    """One curve a reward."""
    lines = {name: series(record.history, f"reward/{name}") for name in reward_names(record)}
    lines = {name: line for name, line in lines.items() if line}
    if not lines:
        return Missing(
            "No online training was logged." if not record.history else "The training history holds no rewards."
        )
    colours = reward_colours(reward_names(record))
    described = {source.name: source.description for source in record.rewards}
    figures = [
        Figure(name, curve(line, name, colours[name]), moved(line), described.get(name, ""))
        for name, line in lines.items()
    ]
    window = next(iter(lines.values())).window
    return Section(
        anchor="learning",
        title="How the rewards developed in training",
        short="Learning",
        finding=outcome(lines),
        note=f"Faint: the mean over each logged batch. Bold: the moving mean over {window} logged steps. "
        "Each figure has its own scale, because rewards have no common unit.",
        figures=tuple(figures),
    )


def outcome(lines: dict[str, Series]) -> str:
    """Say which rewards rose, fell and stayed level."""
    groups: dict[str, list[str]] = {"rose": [], "fell": [], "stayed level": []}
    for name, line in lines.items():
        groups[direction(line)].append(name)
    parts = [f"{listing(names)} {verb}" for verb, names in groups.items() if names]
    return f"During training, {'; '.join(parts)}."
