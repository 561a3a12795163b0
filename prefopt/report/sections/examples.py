"""Answers before and after, side by side."""

from __future__ import annotations

from prefopt.report.record import RunRecord
from prefopt.report.sections.parts import Missing, Section
from prefopt.report.words import listing


def examples(record: RunRecord) -> Section | Missing:
    """The record's examples, with a count of right answers where the verifier judged them."""
    if not record.examples:
        return Missing("No examples were recorded.")
    judged: dict[str, list[bool]] = {}
    for example in record.examples:
        for completion in example.completions:
            if completion.correct is not None:
                judged.setdefault(completion.policy, []).append(completion.correct)
    counts = [f"{name} {sum(marks)} of {len(marks)}" for name, marks in judged.items()]
    finding = f"Right among these examples: {listing(counts)}." if counts else ""
    return Section(
        anchor="examples",
        title="Examples before and after",
        short="Examples",
        finding=finding,
        note="A few held-out prompts; the figures above count all of them.",
        examples=record.examples,
    )
