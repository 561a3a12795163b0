"""The learned reward model on pairs it has not seen: accuracy, calibration, subsets, scores."""

from __future__ import annotations

from prefopt.report.plots.policies import dot_and_whisker
from prefopt.report.plots.reward_model import reliability, score_histograms
from prefopt.report.record import RewardModelEvaluation, RunRecord
from prefopt.report.sections.parts import Figure, Key, Missing, Section
from prefopt.report.words import NARROW, interval, number, percent, plural, points

SIDES = (Key("chosen", "blue"), Key("rejected", "vermilion"))


def reward_model(record: RunRecord) -> Section | Missing:
    """All figures on the reward model that the record has."""
    model = record.reward_model
    if model is None:
        return Missing("No reward model was evaluated, or its accuracy is not a number.")
    figures = []
    if any(entry.count for entry in model.reliability):
        figures.append(Figure("Calibration", reliability(model.reliability), calibration(model)))
    if model.chosen_scores is not None and model.rejected_scores is not None:
        drawn = score_histograms(model.chosen_scores, model.rejected_scores)
        figures.append(Figure("Scores of both responses", drawn, margin(model), legend=SIDES))
    if model.subsets:
        rows = [(f"{entry.name} ({entry.pairs:,})", entry.accuracy, "blue", "o") for entry in model.subsets]
        drawn = dot_and_whisker(rows, "Accuracy of the reward model by subset", 300, line_at=0.5)
        figures.append(Figure("Accuracy by subset", drawn, subsets(model), "In brackets: pairs."))
    return Section(
        anchor="reward-model",
        title=f"The reward model: {model.name}",
        short="Reward model",
        finding=ranking(model),
        note="The dashed lines stand for perfect calibration and for chance. Confidence is the probability that the "
        "model gives to the response it prefers.",
        figures=tuple(figures),
    )


def ranking(model: RewardModelEvaluation) -> str:
    """Say how many held-out pairs the model ranks rightly, and whether that is better than chance."""
    accuracy = model.accuracy
    text = f"The reward model ranks {percent(accuracy.value)} of {plural(model.pairs, 'held-out pair')} rightly"
    if accuracy.bounds is None:
        return f"{text} (no interval was computed); chance is 50{NARROW}%."
    ends = f"(95{NARROW}% interval {interval(accuracy, 'percent').strip('()')})"
    if accuracy.side(0.5) > 0:
        return f"{text} {ends}, better than chance."
    if accuracy.side(0.5) < 0:
        return f"{text} {ends}, worse than chance."
    return f"{text} {ends}, which is not measurably better than chance."


def calibration(model: RewardModelEvaluation) -> str:
    """Say by how much confidence misses accuracy, and in which direction over all pairs."""
    total = sum(entry.count for entry in model.reliability)
    excess = sum(entry.count * (entry.confidence - entry.accuracy) for entry in model.reliability if entry.count)
    excess /= total
    lean = "too sure" if excess > 0.01 else "not sure enough" if excess < -0.01 else "about as sure as it should be"
    error = model.calibration_error
    if error is None:
        return f"Over all pairs the model is {lean}."
    return (
        f"Confidence and accuracy differ by {points(error)} points on average (expected calibration error); "
        f"over all pairs the model is {lean}."
    )


def margin(model: RewardModelEvaluation) -> str:
    """Say how far apart both kinds of responses score."""
    if model.mean_margin is None:
        return "The further apart the two, the clearer the model's preference."
    side = "above" if model.mean_margin >= 0 else "below"
    return f"A chosen response scores {number(abs(model.mean_margin))} {side} the rejected one on average."


def subsets(model: RewardModelEvaluation) -> str:
    """Name the strongest and the weakest subset, and those that chance explains as well."""
    ordered = sorted(model.subsets, key=lambda entry: entry.accuracy.value)
    weakest, strongest = ordered[0], ordered[-1]
    if len(ordered) == 1:
        text = f"{weakest.name}: {percent(weakest.accuracy.value)} of {plural(weakest.pairs, 'pair')}."
    else:
        text = (
            f"Best on {strongest.name} ({percent(strongest.accuracy.value)}), "
            f"weakest on {weakest.name} ({percent(weakest.accuracy.value)})."
        )
    unclear = [entry for entry in ordered if entry.accuracy.bounds and entry.accuracy.bounds[0] <= 0.5]
    if unclear:
        noun = "interval holds" if len(unclear) == 1 else "intervals hold"
        text += f" On {plural(len(unclear), 'subset')} the {noun} chance or less."
    return text
