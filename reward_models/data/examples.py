"""What a row means once it is understood: a pair, rated answers, one labelled answer, or a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Message: TypeAlias = dict[str, str]
Conversation: TypeAlias = "str | list[Message]"
Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """One comparison. ``prompt``, ``chosen`` and ``rejected`` are all text or all message lists.

    ``label_chosen_preferred`` is the probability that the chosen answer is the better one; None stands for 1,
    and 0.5 is a tie.
    """

    prompt: Conversation
    chosen: Conversation
    rejected: Conversation
    margin: float | None = None
    label_chosen_preferred: float | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_tie(self) -> bool:
        """Neither answer is preferred."""
        return self.label_chosen_preferred == 0.5


@dataclass(frozen=True)
class Answer:
    """One answer among several to a prompt; a higher ``rating`` is better."""

    response: Conversation
    rating: float
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidates:
    """Several rated answers to one prompt; ``reward_models.data.pairing`` makes pairs of them."""

    prompt: Conversation
    answers: tuple[Answer, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Labelled:
    """One answer with a verdict, as KTO and outcome reward models take it."""

    prompt: Conversation
    completion: Conversation
    label: bool
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A prompt without preferences, with what a verifier needs to judge an answer."""

    prompt: Conversation
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Solution:
    """A solution in steps, as process reward models take it; see `reward_models.data.shapes.solutions`.

    ``step_labels`` and ``step_values`` are one a step, or empty; None where nothing is known.
    """

    prompt: Conversation
    steps: tuple[str, ...]
    step_labels: tuple[float | None, ...] = ()
    step_values: tuple[float | None, ...] = ()
    prompt_value: float | None = None
    outcome: float | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kept:
    """A text with numbers on it whose columns stay as they are: logged feedback, scored texts, ratings, samples.

    ``texts`` are those that must have words, by name; there may be no prompt.
    """

    prompt: Conversation | None
    texts: Mapping[str, Conversation]
    columns: Mapping[str, Any]

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The columns, under the name that other examples give them."""
        return self.columns


Example: TypeAlias = "Pair | Candidates | Labelled | Solution | Task | Kept"


def answers_of(example: Example) -> list[tuple[str, Conversation]]:
    """Name and content of every answer that an example carries."""
    if isinstance(example, Pair):
        return [("chosen", example.chosen), ("rejected", example.rejected)]
    if isinstance(example, Candidates):
        return [(f"answer {i + 1}", answer.response) for i, answer in enumerate(example.answers)]
    if isinstance(example, Labelled):
        return [("completion", example.completion)]
    if isinstance(example, Kept):
        return list(example.texts.items())
    if isinstance(example, Solution):
        return [("steps", "\n".join(example.steps))]
    return []


def is_silent(conversation: Conversation) -> bool:
    """Whether there are no words."""
    return not plain_text(conversation).strip()


def plain_text(conversation: Conversation) -> str:
    """The words of a conversation: text as it is, messages joined by newlines."""
    if isinstance(conversation, str):
        return conversation
    return "\n".join(message["content"] for message in conversation)
