"""The one way in which a prompt and a completion become token ids, in training, scoring and evaluation."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reward_models.chat_template import by_template
from reward_models.errors import DataError
from reward_models.reference import ReferenceLayout
from reward_models.steps import is_steps, plain_answer, step_ends, whole_text

Text = str | Sequence[dict[str, Any]]
Answer = Text | Sequence[str]
"""Text, messages, or the steps of a solution, which are joined by newlines."""


@dataclass(frozen=True)
class Encoded:
    """Token ids of one (prompt, completion). ``response_start`` is the index of the response's first token.

    ``step_ends`` are the last tokens of its steps, counted from there; empty for a completion that is not in steps.
    ``steps_cut`` counts those that were cut.
    """

    input_ids: list[int]
    response_start: int
    prompt_cut: int = 0
    response_cut: int = 0
    step_ends: tuple[int, ...] = ()
    steps_cut: int = 0


@dataclass(frozen=True)
class Formatter:
    """Turns (prompt, completion) into ``start + prompt [+ sep] + completion + end``.

    Prompt and completion are tokenised apart, so a prompt's ids never depend on the response. ``start`` is what the
    tokenizer puts before a text (bos, cls), ``sep`` its separator where it has one and no end-of-sequence token
    (encoders), ``end`` that separator or the end-of-sequence token, added unless the completion ends with it. Messages
    go through the tokenizer's chat template; without a template they become ``User: ...\\n\\nAssistant: ...``.

    Where the whole is longer than ``max_length`` the prompt loses tokens on its left, then the completion on its
    right, and both counts are reported in `Encoded`.

    A completion that is a list of texts is a solution in steps: the last token of each is kept in ``step_ends``. With a
    rule in ``steps`` (see `reward_models.steps`) other completions are divided by it.

    With a ``layout`` (see `reward_models.reference`) a prompt comes with a reference, and the completion beside it.

    A prompt is exactly what generation is given: ``start`` is what the tokenizer itself puts before a text, and nothing
    comes before a rendered chat template. So a policy is trained, and judged, on what it is asked.
    """

    tokenizer: Any
    max_length: int | None = None
    steps: str | None = None
    layout: ReferenceLayout | None = None

    @cached_property
    def start(self) -> list[int]:
        """What the tokenizer itself puts before a text."""
        plain = self.ids("a")
        whole = self.tokenizer("a", add_special_tokens=True)["input_ids"]
        for i in range(len(whole) - len(plain) + 1):
            if whole[i : i + len(plain)] == plain:
                break
        else:
            return []
        return list(whole[:i])

    @cached_property
    def separator(self) -> list[int]:
        """Token between prompt and completion; empty for tokenizers with an end-of-sequence token."""
        if self.tokenizer.eos_token_id is None and self.tokenizer.sep_token_id is not None:
            return [self.tokenizer.sep_token_id]
        return []

    @cached_property
    def end(self) -> list[int]:
        """Token after the completion."""
        if self.tokenizer.eos_token_id is not None:
            return [self.tokenizer.eos_token_id]
        return self.separator

    def encode(self, prompt: Text, completion: Answer) -> Encoded:
        """Encode one pair of texts, or of messages; a string completion may answer a prompt of messages."""
        if self.layout is not None:
            return self._beside(self.layout, prompt, completion)
        start, first, second = self._parts(prompt, whole_text(completion))
        ends = self._step_ends(completion, second)
        return self._join(start, self.ids(first), self.ids(second), ends)

    def encode_many(self, prompts: Sequence[Text], completions: Sequence[Answer]) -> list[Encoded]:
        """Encode pairs as `encode` does: equal texts once, and all in one parallel call of the tokenizer.

        Raises:
            DataError: as `encode` does.
        """
        pairs = list(zip(prompts, completions, strict=True))
        if self.layout is not None:
            return [self._beside(self.layout, *pair) for pair in pairs]
        parts = [self._parts(prompt, whole_text(completion)) for prompt, completion in pairs]
        texts = list(dict.fromkeys(text for _, *both in parts for text in both if text))
        ids: dict[str, list[int]] = {"": []}
        if texts:
            ids |= zip(texts, self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"], strict=True)
        return [
            self._join(start, ids[first], ids[second], self._step_ends(completion, second))
            for (start, first, second), (_, completion) in zip(parts, pairs, strict=True)
        ]

    def prefixes(self, text: Encoded) -> list[Encoded]:
        """Return the text up to the end of each step, each with its end token, as texts of their own."""
        head, response = text.input_ids[: text.response_start], text.input_ids[text.response_start :]
        cut = [response[: end + 1] for end in text.step_ends]
        return [
            Encoded([*head, *part, *(self.end if part[-1:] != self.end else [])], len(head), text.prompt_cut)
            for part in cut
        ]

    def _beside(self, layout: ReferenceLayout, prompt: Any, completion: Answer) -> Encoded:
        found = layout.lay_out(self, prompt, completion)
        return Encoded([*found.before, *found.answer], len(found.before), found.before_cut, found.answer_cut)

    def _step_ends(self, completion: Answer, written: str) -> tuple[int, ...]:
        """Return the index of each step's last token in the completion as it is ``written``."""
        if not is_steps(completion) and self.steps is None:
            return ()
        steps = [str(step) for step in completion] if is_steps(completion) else None
        text = plain_answer(completion) if steps is None else whole_text(steps)
        begin = written.find(text)
        if begin < 0:
            raise DataError("the tokenizer's chat template changes the answer's text, so its steps can not be found")
        ends = [begin + end for end in step_ends(text, self.steps or "", steps)]
        if not getattr(self.tokenizer, "is_fast", False):
            raise DataError("steps need a tokenizer that says where its tokens stand in the text (a fast one)")
        found = self.tokenizer(written, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        starts = [first for first, last in found["offset_mapping"]]
        return tuple(max(bisect_left(starts, end) - 1, 0) for end in ends)

    def _parts(self, prompt: Text, completion: Text) -> tuple[list[int], str, str]:
        """What comes first, then both texts as they are tokenised."""
        if isinstance(prompt, str) and isinstance(completion, str):
            return self.start, prompt, completion
        first, second = self._render(prompt, completion)
        return ([] if self._template else self.start), first, second

    @property
    def _template(self) -> bool:
        return getattr(self.tokenizer, "chat_template", None) is not None

    def ids(self, text: str) -> list[int]:
        """Tokens of a text, without what the tokenizer puts around it."""
        if not text:
            return []
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _join(self, start: list[int], prompt: list[int], response: list[int], ends: tuple[int, ...] = ()) -> Encoded:
        end = [] if self.end and response[-1:] == self.end else self.end
        fixed = len(start) + len(self.separator)
        prompt_cut = response_cut = steps_cut = 0
        if self.max_length is not None:
            room = self.max_length - fixed - len(self.end)
            if room < 1:
                raise DataError(f"max_length={self.max_length} leaves no room for a response; raise it")
            body = response[: len(response) - (len(self.end) if not end else 0)]
            response_cut = max(0, len(body) - room)
            if response_cut:
                response, end = body[:room], self.end
                steps_cut = sum(one >= room for one in ends)
                ends = ends[: len(ends) - steps_cut]
            prompt_cut = max(0, len(prompt) - (room - min(len(body), room)))
        kept = prompt[prompt_cut:]
        head = [*start, *kept, *self.separator]
        return Encoded([*head, *response, *end], len(head), prompt_cut, response_cut, ends, steps_cut)

    def _render(self, prompt: Text, completion: Text) -> tuple[str, str]:
        asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        answer = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else list(completion)
        if not self._template:
            return self._transcript(asked, answer)
        before = by_template(self.tokenizer, asked, add_generation_prompt=True)
        whole = by_template(self.tokenizer, asked + answer)
        if not whole.startswith(before):
            raise DataError(
                "the tokenizer's chat template writes a prompt differently once an answer follows it, so prompt and "
                "response cannot be told apart; use a template whose generation prompt opens the assistant's turn"
            )
        return before, whole[len(before) :].rstrip()

    @staticmethod
    def _transcript(asked: list[dict[str, Any]], answer: list[dict[str, Any]]) -> tuple[str, str]:
        turns = [f"{m['role'].capitalize()}: {m['content']}" for m in asked]
        rest = [f"{m['role'].capitalize()}: {m['content']}" for m in answer]
        opening = "Assistant:"
        if rest and rest[0].startswith(opening):
            rest[0] = rest[0][len(opening) :]
            turns.append(opening)
        return "\n\n".join(turns), "\n\n".join(rest)
