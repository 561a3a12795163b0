"""Solutions in steps, with labels of their steps, values of their beginnings, or the outcome.

``steps`` are the texts of the steps. ``step_labels`` say of each how right it is (0 to 1), ``step_values`` how often a
solution that goes on from it ends right, ``prompt_value`` how often one that starts afresh does, ``outcome`` whether
this one did. Each is None where it is not known: what follows a first wrong step is neither right nor wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reward_models.data.examples import Example, Row, Solution
from reward_models.data.faults import RowFault
from reward_models.data.fields import (
    choice,
    conversation,
    kind_of,
    number,
    optional_number,
    present,
    record,
    records,
    remaining,
    text,
)
from reward_models.data.shape import Shape
from reward_models.data.shapes.process import CORRECT, completions, step_attributes, step_taken
from reward_models.data.shapes.ratings import has_solutions, verdict
from reward_models.steps import step_texts

MARK = "\N{CYRILLIC SMALL LETTER KA}\N{CYRILLIC SMALL LETTER I}"
"""What one data set puts behind each step."""


def steps_with_labels(row: Row) -> list[Example]:
    """`prompt`, `steps`, and any of `labels`, `values`, `prompt_value`, `outcome`.

    A value may be the list of outcomes of several completions: their mean is taken; so may `outcome`.
    """
    used = ("prompt", "steps", "labels", "values", "prompt_value", "outcome")
    steps = _texts(row, "steps")
    prompt = conversation(row, "prompt")
    return [
        Solution(
            prompt, tuple(steps), _numbers(row, "labels", len(steps)), _numbers(row, "values", len(steps)),
            _share(row.get("prompt_value"), "prompt_value"), _share(row.get("outcome"), "outcome"),
            remaining(row, used),
        )
    ]  # fmt: skip


def completions_with_labels(row: Row) -> list[Example]:
    """TRL: `prompt`, `completions` (the steps), `labels`."""
    steps = _texts(row, "completions")
    rest = remaining(row, ("prompt", "completions", "labels"))
    return [Solution(conversation(row, "prompt"), tuple(steps), _numbers(row, "labels", len(steps)), attributes=rest)]


def first_wrong_step(row: Row) -> list[Example]:
    """Steps up to the first wrong one, which is labelled 0; of those behind it nothing is known."""
    steps = _texts(row, "model_output_steps")
    right = choice(row, "model_output_solution_correctness", CORRECT)
    attributes = step_attributes(row)
    first = attributes["first_wrong_step"]
    if not right and (not isinstance(first, int) or not 1 <= first <= len(steps)):
        raise RowFault("out_of_range", "model_output_solution_first_error_step", f"no step of {len(steps)}: {first}")
    wrong = len(steps) + 1 if right or not isinstance(first, int) else first
    labels = tuple(1.0 if i < wrong else 0.0 if i == wrong else None for i in range(1, len(steps) + 1))
    outcome = _verdict(row.get("model_output_answer_correctness"))
    return [Solution(text(row, "question"), tuple(steps), labels, outcome=outcome, attributes=attributes)]


def prm800k(row: Row) -> list[Example]:
    """The steps taken, with their ratings -1, 0, 1 as labels 0, 0.5, 1 (arXiv 2305.20050)."""
    problem = text(record(row, "question"), "problem")
    steps: list[str] = []
    labels: list[float | None] = []
    for step in records(record(row, "label"), "steps"):
        taken = step_taken(step)
        if taken is None:
            break
        rated = next((item for item in completions(step) if item.get("text") == taken), None)
        rating = None if rated is None else optional_number(rated, "rating")
        steps.append(taken)
        labels.append(None if rating is None else (rating + 1) / 2)
    return [Solution(problem, tuple(steps), tuple(labels))] if steps else []


def marked_steps(row: Row) -> list[Example]:
    """Math-Shepherd: `input` with a mark behind each step, `label` with a + or - in its place (arXiv 2312.08935)."""
    asked, told = text(row, "input").split(MARK), text(row, "label")
    if len(asked) < 2:
        raise RowFault("wrong_type", "input", "no step is marked")
    begin = asked[0].find("Step 1:")
    if begin < 0:
        raise RowFault("wrong_type", "input", "there is no 'Step 1:' where the solution starts")
    steps = [part.strip() for part in [asked[0][begin:], *asked[1:-1]]]
    signs = [line.rstrip()[-1:] for line in told.split("\n") if line.strip()][: len(steps)]
    if len(signs) != len(steps) or not set(signs) <= {"+", "-"}:
        raise RowFault("unknown_label", "label", f"{len(steps)} steps, and not as many lines that end in + or -")
    return [Solution(asked[0][:begin].strip(), tuple(steps), tuple(float(sign == "+") for sign in signs))]


def model_solutions(row: Row) -> list[Example]:
    """A question, and one column a model with {solution, is_correct}: a step a line, and the outcome."""
    return [
        Solution(text(row, "question"), tuple(step_texts(text(value, "solution"), "lines")),
                 outcome=float(verdict(value)), attributes={"model": name})
        for name, value in row.items()
        if isinstance(value, Mapping)
    ]  # fmt: skip


def _texts(row: Row, field: str) -> list[str]:
    steps = present(row, field)
    if not isinstance(steps, list) or not steps or not all(isinstance(step, str) and step.strip() for step in steps):
        raise RowFault("wrong_type", field, "expected a list of texts, none of them blank")
    return [step.strip() for step in steps]


def _numbers(row: Row, field: str, count: int) -> tuple[float | None, ...]:
    values = row.get(field)
    if values is None:
        return (None,) * count
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != count:
        raise RowFault("wrong_type", field, f"expected a list of {count}, one a step, found {kind_of(values)}")
    return tuple(_share(value, f"{field}[{i}]") for i, value in enumerate(values))


def _share(value: Any, field: str) -> float | None:
    """A number, true or false, or the mean of a list of these."""
    if isinstance(value, list) and value:
        found = [_share(one, field) for one in value]
        return None if None in found else sum(one or 0.0 for one in found) / len(found)
    if value is None or isinstance(value, bool):
        return None if value is None else float(value)
    share = number({field: value}, field)
    if not 0 <= share <= 1:
        raise RowFault("out_of_range", field, f"expected 0 to 1, found {share:g}")
    return share


def _verdict(value: Any) -> float | None:
    return float(CORRECT[value]) if value in CORRECT else None


SHAPES = (
    Shape("solutions in steps", ("prompt", "steps"), steps_with_labels),
    Shape("steps as completions with labels", ("prompt", "completions", "labels"), completions_with_labels),
    Shape(
        "solutions with first wrong step",
        ("question", "model_output_steps", "model_output_solution_correctness"),
        first_wrong_step,
    ),
    Shape("PRM800K steps", ("question", "label"), prm800k, lambda row: isinstance(row.get("question"), Mapping)),
    Shape("steps with marks", ("input", "label"), marked_steps, lambda row: MARK in str(row.get("input"))),
    Shape("model solutions", ("question", "ground_truth"), model_solutions, has_solutions),
)
