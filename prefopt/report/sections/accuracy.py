"""Verified accuracy of every policy, with the mean of each reward beside it."""

from __future__ import annotations

from prefopt.report.palette import policy_colours, policy_markers
from prefopt.report.plots.policies import dot_and_whisker
from prefopt.report.record import Policy, RunRecord
from prefopt.report.sections.parts import Figure, Key, Missing, Section, Table
from prefopt.report.sections.verdict import base_of, subject
from prefopt.report.series import reward_names
from prefopt.report.words import NARROW, gain_in_points, interval, listing, number, percent, signed


def accuracy(record: RunRecord) -> Section | Missing:
    """Draw the policies' accuracies and list all their figures."""
    if not record.policies:
        return Missing("No policies were compared.")
    names = [policy.name for policy in record.policies]
    colours, markers = policy_colours(names, record.base), policy_markers(names)
    rows = [
        (policy.name, policy.accuracy, colours[policy.name], markers[policy.name])
        for policy in record.policies
        if policy.accuracy is not None
    ]
    drawn = dot_and_whisker(rows, "Verified accuracy of each policy with its 95 % interval") if rows else None
    caption = f"Share of held-out prompts answered rightly; whiskers are 95{NARROW}% intervals."
    return Section(
        anchor="policies",
        title="The policies on held-out prompts",
        short="Policies",
        finding=others(record),
        figures=(Figure("Verified accuracy", drawn, caption),) if drawn is not None else (),
        table=_table(record),
        legend=tuple(
            Key(policy.name, colours[policy.name], markers[policy.name], policy.description)
            for policy in record.policies
        ),
    )


def others(record: RunRecord) -> str:
    """Say in one sentence how each policy stands to the base."""
    base = base_of(record)
    compared = [policy for policy in record.policies if policy.gain is not None]
    if base is None or not compared:
        return ""
    chief = subject(record)
    compared.sort(key=lambda policy: chief is None or policy.name != chief.name)
    return f"Against {base.name}, {listing([_standing(policy) for policy in compared])}."


def _standing(policy: Policy) -> str:
    gain = policy.gain
    assert gain is not None
    return f"{policy.name} stands at {signed(gain.value)} points {gain_in_points(gain)}".strip()


def _table(record: RunRecord) -> Table:
    rewards = [name for name in reward_names(record) if any(name in policy.rewards for policy in record.policies)]
    rows = []
    for policy in record.policies:
        cells = [policy.name, "–", "–"]
        if policy.accuracy is not None:
            cells[1] = f"{percent(policy.accuracy.value)} {interval(policy.accuracy, 'percent')}".strip()
        if policy.gain is not None:
            cells[2] = f"{signed(policy.gain.value)} {gain_in_points(policy.gain)}".strip()
        for name in rewards:
            mean = policy.rewards.get(name)
            cells.append("–" if mean is None else f"{number(mean.value)} {interval(mean)}".strip())
        rows.append(tuple(cells))
    return Table(("Policy", "Accuracy", "Gain in points", *rewards), tuple(rows))
