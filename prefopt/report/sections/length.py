"""Length against reward: does a reward pay for words?"""

from __future__ import annotations

from statistics import fmean

from prefopt.report.palette import policy_colours, policy_markers
from prefopt.report.plots.length import length_against, lengths_and_scores
from prefopt.report.record import Policy, RunRecord
from prefopt.report.sections.parts import Figure, Key, Missing, Section
from prefopt.report.series import correlation, reward_names
from prefopt.report.words import interval, listing, number


def lengths(record: RunRecord) -> Section | Missing:
    """One panel a reward."""
    sampled = [policy for policy in record.policies if policy.samples]
    if not sampled:
        return Missing("No single completions were recorded, so length cannot be set against reward.")
    known = [policy.name for policy in record.policies]
    colours, markers = policy_colours(known, record.base), policy_markers(known)
    figures = [
        Figure(
            name,
            length_against(name, sampled, colours),
            dependence(name, sampled),
            legend=tuple(
                Key(policy.name, colours[policy.name], markers[policy.name], strength(name, policy))
                for policy in sampled
            ),
        )
        for name in reward_names(record)
        if any(len(lengths_and_scores(policy, name)) for policy in sampled)
    ]
    return Section(
        anchor="length",
        title="Length against reward",
        short="Length",
        finding=averages(sampled),
        note="r is Pearson's correlation between the length of a completion and its score, with its 95 % interval, "
        "within one policy. Lines are least-squares trends. A reward that rises with length in every policy may pay "
        "for words rather than for answers.",
        figures=tuple(figures),
    )


def averages(policies: list[Policy]) -> str:
    """Say how long the completions of each policy are on average."""
    means = [f"{number(fmean(sample.length for sample in policy.samples), 1)} ({policy.name})" for policy in policies]
    return f"Mean length of a completion in tokens: {listing(means)}."


def dependence(reward: str, policies: list[Policy]) -> str:
    """Say within which policies the reward rises or falls with length, judged by the correlation's interval."""
    groups: dict[str, list[str]] = {"rises": [], "falls": [], "neither": []}
    for policy in policies:
        table = lengths_and_scores(policy, reward)
        found = correlation(table[:, 0], table[:, 1])
        if found is not None:
            groups[("neither", "rises", "falls")[found.side(0)]].append(policy.name)
    parts = [f"{verb} with length in {listing(groups[verb])}" for verb in ("rises", "falls") if groups[verb]]
    if groups["neither"]:
        parts.append(f"shows no measurable dependence in {listing(groups['neither'])}")
    return f"The reward {listing(parts)}." if parts else "Neither length nor score varies enough to tell."


def strength(reward: str, policy: Policy) -> str:
    """State the correlation of length and reward within one policy."""
    table = lengths_and_scores(policy, reward)
    found = correlation(table[:, 0], table[:, 1])
    return "r undefined, no spread" if found is None else f"r = {number(found.value, 2)} {interval(found)}"
