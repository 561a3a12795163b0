"""Rows with one answer and a verdict on it, and pairs taken apart."""

from __future__ import annotations

from collections.abc import Mapping

from reward_models.data.conversations import same_form
from reward_models.data.examples import Conversation, Example, Labelled, Row
from reward_models.data.faults import RowFault
from reward_models.data.fields import choice, conversation, messages, present, remaining, text
from reward_models.data.shape import Shape
from reward_models.data.shapes.pairs import alpaca_prompt
from reward_models.data.shapes.process import CORRECT, model_steps, step_attributes
from reward_models.data.shapes.ratings import has_solutions, verdict


def _labelled(prompt: Conversation, completion: Conversation, label: bool, attributes: Mapping) -> Labelled:
    prompt, (completion,) = same_form(prompt, [completion])
    return Labelled(prompt, completion, label, attributes)


def _label(row: Row, field: str) -> bool:
    value = present(row, field)
    if isinstance(value, bool):
        return value
    return choice(row, field, {1: True, 0: False})


def completion_with_label(row: Row) -> list[Example]:
    """`prompt`, `completion`, `label` (true, false, 1 or 0)."""
    attributes = remaining(row, ("prompt", "completion", "label"))
    parts = (conversation(row, "prompt"), conversation(row, "completion"))
    return [_labelled(*parts, _label(row, "label"), attributes)]


def alpaca_tag(row: Row) -> list[Example]:
    """`instruction`, `output`, `kto_tag`."""
    return [_labelled(alpaca_prompt(row), text(row, "output"), _label(row, "kto_tag"), {})]


def sharegpt_tag(row: Row) -> list[Example]:
    """`conversations` that end with the answer, `kto_tag`."""
    turns = messages(row, "conversations")
    if len(turns) < 2 or turns[-1]["role"] != "assistant":
        raise RowFault("no_common_turn", "conversations", "the conversation does not end with an assistant turn")
    return [_labelled(turns[:-1], turns[-1:], _label(row, "kto_tag"), {})]


def model_solutions(row: Row) -> list[Example]:
    """A question, and one column a model with {solution, is_correct}."""
    question = text(row, "question")
    return [
        _labelled(question, text(value, "solution"), verdict(value), {"model": name})
        for name, value in row.items()
        if isinstance(value, Mapping)
    ]


def stepwise_solution(row: Row) -> list[Example]:
    """A model's steps, with the verdict on the whole solution."""
    label = choice(row, "model_output_solution_correctness", CORRECT)
    return [_labelled(text(row, "question"), model_steps(row), label, step_attributes(row))]


SHAPES = (
    Shape("unpaired preference", ("prompt", "completion", "label"), completion_with_label),
    Shape("LLaMA-Factory alpaca with kto_tag", ("instruction", "output", "kto_tag"), alpaca_tag),
    Shape("LLaMA-Factory sharegpt with kto_tag", ("conversations", "kto_tag"), sharegpt_tag),
    Shape("model solutions", ("question", "ground_truth"), model_solutions, has_solutions),
    Shape(
        "solutions with first wrong step",
        ("question", "model_output_steps", "model_output_solution_correctness"),
        stepwise_solution,
    ),
)
