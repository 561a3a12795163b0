"""Online training step by step: rewards, their weights, and the diagnostics of the optimiser."""

from __future__ import annotations

from prefopt.report.palette import reward_colours
from prefopt.report.plots.learning import curve, weights
from prefopt.report.record import RunRecord
from prefopt.report.sections.parts import Figure, Key, Missing, Section
from prefopt.report.series import Series, reward_names, series
from prefopt.report.words import listing, number, percent, plural

NO_HISTORY = "No online training was logged, so there are no learning curves, weights or diagnostics."
DIAGNOSTICS = {
    "advantage_std": ("Spread of the advantages", "Standard deviation over a batch."),
    "reward_std": ("Spread of the rewards", "Standard deviation within a group."),
    "groups_without_signal": ("Groups without signal", "Share of groups whose completions all score alike."),
    "completion_length": ("Length of completions", "In tokens."),
    "entropy": ("Entropy", "Of the next token, in nats."),
    "clip_fraction": ("Clipped tokens", "Share of tokens whose ratio the gate held."),
    "unscored": ("Unscored completions", "Masked, never read as 0."),
    "loss": ("Loss", "Of the online objective."),
}


def direction(line: Series) -> str:
    """Say "rose", "fell" or "stayed level" between the first and the last tenth of the steps.

    The change counts when it exceeds two standard errors of the difference of both means, 2 s sqrt(2 / n) for n
    steps a tenth. The noise s of one step is the scatter around the moving mean over w steps, divided by
    sqrt(1 - 1 / w), because each step is a part of its own mean.
    """
    first, last = line.first_and_last()
    tenth = max(1, len(line.values) // 10)
    noise = float((line.values - line.smoothed()).std()) / (1 - 1 / line.window) ** 0.5
    if abs(last - first) <= max(2 * noise * (2 / tenth) ** 0.5, 1e-9 * max(1.0, abs(first))):
        return "stayed level"
    return "rose" if last > first else "fell"


def learning(record: RunRecord) -> Section | Missing:
    """One curve a reward."""
    lines = {name: series(record.history, f"reward/{name}") for name in reward_names(record)}
    lines = {name: line for name, line in lines.items() if line}
    if not lines:
        return Missing(NO_HISTORY if not record.history else "The training history holds no rewards.")
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


def moved(line: Series) -> str:
    """Say where a figure began and ended."""
    first, last = line.first_and_last()
    return f"{direction(line).capitalize()}: {number(first)} to {number(last)}."


def weighting(record: RunRecord) -> Section | Missing:
    """All weights in one figure."""
    names = reward_names(record)
    lines = {name: series(record.history, f"weight/{name}") for name in names}
    lines = {name: line for name, line in lines.items() if line}
    if not lines:
        return Missing("No weights of the rewards were logged.")
    colours = reward_colours(names)
    return Section(
        anchor="weights",
        title="How the rewards were weighed",
        short="Weights",
        finding=shifts(lines),
        legend=tuple(
            Key(name, colours[name], detail=" to ".join(number(end) for end in line.first_and_last()))
            for name, line in lines.items()
        ),
        note="Faint: every logged step. Bold: the moving mean. The figures are means over the first and the last "
        "tenth of the steps.",
        figures=(Figure("Weight of each reward", weights(lines, colours), heaviest(lines)),),
    )


def shifts(lines: dict[str, Series]) -> str:
    """Say how far each weight moved, or that all of them stood still."""
    if all(float(line.values.max() - line.values.min()) < 1e-6 for line in lines.values()):
        fixed = listing([f"{name} {number(line.values[0])}" for name, line in lines.items()])
        return f"The weights were fixed: {fixed}."
    parts = []
    for name, line in lines.items():
        first, last = (number(end) for end in line.first_and_last())
        parts.append(f"{name} stayed at {last}" if first == last else f"{name} went from {first} to {last}")
    return f"Of the weights, {listing(parts)}."


def heaviest(lines: dict[str, Series]) -> str:
    """Name the reward that weighs most at the end."""
    ends = {name: line.first_and_last()[1] for name, line in lines.items()}
    name = max(ends, key=lambda entry: ends[entry])
    level = [other for other, weight in ends.items() if number(weight) == number(ends[name])]
    if len(level) > 1:
        return f"At the end {listing(level)} weigh most, {number(ends[name])} each."
    return f"At the end {name} weighs most ({number(ends[name])})."


def diagnostics(record: RunRecord) -> Section | Missing:
    """A strip of small curves for what goes wrong first when training goes wrong."""
    lines = {key: series(record.history, key) for key in DIAGNOSTICS}
    lines = {key: line for key, line in lines.items() if line}
    if not lines:
        return Missing("No diagnostics of online training were logged.")
    figures = []
    for key, line in lines.items():
        title, unit = DIAGNOSTICS[key]
        figures.append(Figure(title, curve(line, title, "blue", 140), moved(line), unit))
    return Section(
        anchor="diagnostics",
        title="Diagnostics of training",
        short="Diagnostics",
        finding=health(lines),
        figures=tuple(figures),
    )


def health(lines: dict[str, Series]) -> str:
    """Say how many groups taught nothing at the end, and how many completions no source scored."""
    sentences = []
    if "groups_without_signal" in lines:
        first, last = lines["groups_without_signal"].first_and_last()
        sentences.append(f"Groups without signal went from {percent(first)} to {percent(last)}.")
    if "unscored" in lines:
        total = int(lines["unscored"].values.sum())
        verb = "was left" if total == 1 else "were left"
        sentences.append(
            f"{plural(total, 'completion')} {verb} unscored and masked." if total else "Every completion was scored."
        )
    return " ".join(sentences)
