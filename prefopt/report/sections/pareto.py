"""Rewards against one another, and what the change cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from prefopt.report.palette import policy_colours, policy_markers
from prefopt.report.plots.pareto import DRAWN, pareto
from prefopt.report.record import Estimate, Policy, RunRecord
from prefopt.report.sections.parts import Figure, Key, Missing, Section
from prefopt.report.sections.verdict import base_of, subject
from prefopt.report.series import front, reward_names
from prefopt.report.words import listing, number

PANELS = 6


def trade_offs(record: RunRecord) -> Section | Missing:
    """One panel a pair of rewards, the first six pairs."""
    names = [name for name in reward_names(record) if any(name in policy.rewards for policy in record.policies)]
    scored = [policy for policy in record.policies if all(name in policy.rewards for name in names)]
    if len(names) < 2 or not scored:
        return Missing("Fewer than two rewards were measured on held-out prompts, so there is no Pareto view.")
    known = [policy.name for policy in record.policies]
    colours, markers = policy_colours(known, record.base), policy_markers(known)
    pairs = list(combinations(names, 2))
    figures = [
        Figure(
            f"{upwards} against {across}",
            pareto(scored, across, upwards, colours, markers),
            f"On the front: {listing(front(_means(scored, (across, upwards))))}.",
        )
        for across, upwards in pairs[:PANELS]
    ]
    left_out = f" The first {PANELS} of {len(pairs)} pairs of rewards are drawn." if len(pairs) > PANELS else ""
    return Section(
        anchor="pareto",
        title="The rewards against one another",
        short="Pareto",
        finding=compared(record, names),
        text=(standing(scored, names),),
        note="Up and to the right is better. Crosses are means with 95 % intervals; the dashed edge is the front: "
        "a policy on it is beaten by no other on both rewards. Faint points are single completions, at most "
        f"{DRAWN} a policy, shifted slightly so that equal scores stay visible.{left_out}",
        legend=tuple(Key(policy.name, colours[policy.name], markers[policy.name]) for policy in scored),
        figures=tuple(figures),
    )


def compared(record: RunRecord, names: list[str]) -> str:
    """Say on which rewards the aligned policy is higher or lower than the base, judged by their intervals."""
    base, policy = base_of(record), subject(record)
    if base is None or policy is None:
        return ""
    groups: dict[str, list[str]] = {"higher": [], "lower": [], "open": []}
    for name in names:
        if name in base.rewards and name in policy.rewards:
            before, after = base.rewards[name], policy.rewards[name]
            groups[_side(before, after)].append(f"{name} ({number(before.value)} to {number(after.value)})")
    parts = [f"scores {side} on {listing(groups[side])}" for side in ("higher", "lower") if groups[side]]
    if groups["open"]:
        parts.append(f"cannot be told apart from it on {listing(groups['open'])}, where the intervals overlap")
    return f"Against {base.name}, {policy.name} {listing(parts)}." if parts else ""


def standing(policies: list[Policy], names: list[str]) -> str:
    """Say which policies no other policy beats, all rewards taken together, by their means."""
    best = front(_means(policies, names))
    beaten = [policy.name for policy in policies if policy.name not in best]
    verb = "lies" if len(best) == 1 else "lie"
    rest = f"; for {listing(beaten)} another policy is at least as good on every one" if beaten else ""
    return f"With all {len(names)} rewards taken together, {listing(best)} {verb} on the front{rest}."


def _means(policies: Sequence[Policy], names: Sequence[str]) -> dict[str, list[float]]:
    return {policy.name: [policy.rewards[name].value for name in names] for policy in policies}


def _side(before: Estimate, after: Estimate) -> str:
    if before.bounds is None or after.bounds is None:
        return "higher" if after.value > before.value else "lower" if after.value < before.value else "open"
    if after.bounds[0] > before.bounds[1]:
        return "higher"
    return "lower" if after.bounds[1] < before.bounds[0] else "open"
