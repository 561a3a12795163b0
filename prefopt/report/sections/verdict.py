"""The head of the report: did verified accuracy rise, by how much, and was that what had been asked for."""

from __future__ import annotations

from dataclasses import dataclass

from prefopt.report.record import Estimate, Policy, RunRecord
from prefopt.report.sections.reward_model import ranking
from prefopt.report.words import NARROW, duration, gain_in_points, interval, percent, plural, points, signed

INTERVAL = f"95{NARROW}% interval"


@dataclass(frozen=True)
class Tile:
    """One key figure: its name, its value and a line of small print."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Verdict:
    """Sentences, a word for the badge, and its mood: "good", "bad" or "open"."""

    sentences: tuple[str, ...]
    badge: str
    mood: str


def base_of(record: RunRecord) -> Policy | None:
    """Return the base policy, None where the record has none."""
    return next((policy for policy in record.policies if policy.name == record.base), None)


def subject(record: RunRecord) -> Policy | None:
    """Return the policy that the report is about: the goal's, otherwise the first that is not the base."""
    if record.goal is not None:
        return next((policy for policy in record.policies if policy.name == record.goal.policy), None)
    return next((policy for policy in record.policies if policy.name != record.base), None)


def change(policy: Policy, base: Policy | None) -> str:
    """Say whether verified accuracy rose, fell or did neither, judged by the interval of the paired difference."""
    gain = policy.gain
    if gain is None:
        return f"{policy.name}: no difference to the base was measured."
    ends = ""
    if base is not None and base.accuracy is not None and policy.accuracy is not None:
        ends = f", from {percent(base.accuracy.value)} to {percent(policy.accuracy.value)}"
    if gain.bounds is None:
        verb = "rose" if gain.value > 0 else "fell" if gain.value < 0 else "did not change"
        size = f" by {points(abs(gain.value))} points" if gain.value else ""
        return f"Verified accuracy {verb}{size} (no interval was computed){ends}."
    if gain.side(0) > 0:
        return f"Verified accuracy rose by {points(gain.value)} points {gain_in_points(gain, INTERVAL)}{ends}."
    if gain.side(0) < 0:
        loss = Estimate(-gain.value, -gain.bounds[1], -gain.bounds[0])
        return f"Verified accuracy fell by {points(loss.value)} points {gain_in_points(loss, INTERVAL)}{ends}."
    size = f"{signed(gain.value)} points {gain_in_points(gain, INTERVAL)}"
    return f"Verified accuracy did not change measurably: {size}{ends}."


def verdict(record: RunRecord) -> Verdict:
    """Compute the head of the report; sentences of the record's own replace the computed ones, never the badge."""
    policy = subject(record)
    if policy is None or policy.gain is None:
        return Verdict(record.verdict or _without_policies(record), "no comparison", "open")
    sentences = [change(policy, base_of(record))]
    badge, mood = (("no measurable change", "open"), ("rose", "good"), ("fell", "bad"))[policy.gain.side(0)]
    if record.goal is not None:
        reached = policy.gain.value >= record.goal.gain
        sentences.append(goal_met(policy.gain, record.goal.gain))
        badge, mood = ("goal reached", "good") if reached else ("goal missed", "bad")
    return Verdict(record.verdict or tuple(sentences), badge, mood)


def goal_met(gain: Estimate, asked: float) -> str:
    """Say whether the measured gain reaches what was asked, and whether the interval leaves that open."""
    goal = f"The goal of at least {points(asked)} points"
    low, high = gain.bounds or (gain.value, gain.value)
    if gain.value < asked:
        return f"{goal} was missed{', though the interval also holds it' if high >= asked else ''}."
    return f"{goal} was reached{', though the interval also holds smaller gains' if low < asked else ''}."


def tiles(record: RunRecord) -> list[Tile]:
    """Key figures for the head of the report, as many as the record has."""
    found = []
    policy, base, model = subject(record), base_of(record), record.reward_model
    if policy is not None and policy.gain is not None:
        detail = gain_in_points(policy.gain, INTERVAL).strip("()")
        found.append(Tile("Gain in accuracy", f"{signed(policy.gain.value)} points", detail))
    if policy is not None and policy.accuracy is not None:
        before = f"{record.base}: {percent(base.accuracy.value)}" if base is not None and base.accuracy else ""
        found.append(Tile(f"Accuracy, {policy.name}", percent(policy.accuracy.value), before))
    if model is not None:
        detail = f"{interval(model.accuracy, 'percent').strip('()')}, {plural(model.pairs, 'pair')}".lstrip(", ")
        found.append(Tile("Reward model", percent(model.accuracy.value), detail))
    if record.stages:
        total = sum(stage.seconds for stage in record.stages)
        found.append(Tile("Time", duration(total), plural(len(record.stages), "stage")))
    return found


def _without_policies(record: RunRecord) -> tuple[str, ...]:
    if record.policies:
        named = f" of {record.goal.policy}" if record.goal is not None else ""
        return (f"No difference in verified accuracy{named} to {record.base} was measured.",)
    if record.reward_model is None:
        return ("This run compared no policies and evaluated no reward model.",)
    return (ranking(record.reward_model), "This run compared no policies.")
