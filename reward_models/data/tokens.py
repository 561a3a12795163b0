"""Lengths in tokens, and what a limit on them leaves to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reward_models.data.conversations import shared_prefix_length
from reward_models.data.examples import Conversation, Example, Pair, answers_of, is_silent
from reward_models.data.faults import RowFault


@dataclass(frozen=True)
class TokenLimit:
    """A tokenizer with a limit on prompt and answer together.

    The answer's tokens are those of prompt and answer together after the tokens that they share with the prompt
    alone, which is what a model sees; both end at ``max_length``. With ``allow_truncation`` a row is good as long as
    a token of each answer is left and the answers still differ.
    """

    tokenizer: Any
    max_length: int | None = None
    allow_truncation: bool = False

    def __call__(self, examples: Sequence[Example]) -> list[RowFault | None]:
        """The fault of each example, or None; tokenised as one batch."""
        prompts = iter(self.tokenise([example.prompt for example in examples], generation=True))
        whole = iter(self.tokenise([_joined(e.prompt, answer) for e in examples for _, answer in answers_of(e)]))
        return [
            self._fault(example, next(prompts), {name: next(whole) for name, _ in answers_of(example)})
            for example in examples
        ]

    def _fault(self, example: Example, prompt: list[int], whole: dict[str, list[int]]) -> RowFault | None:
        limit = self.max_length
        if limit is None:
            return None
        for name, ids in whole.items():
            if is_silent(dict(answers_of(example))[name]):
                continue
            if shared_prefix_length(prompt, ids) >= min(limit, len(ids)):
                return RowFault("zero_trainable_tokens", name, f"the prompt has {len(prompt)} of {limit} tokens")
            if len(ids) > limit and not self.allow_truncation:
                return RowFault("over_length", name, f"prompt and answer have {len(ids)} tokens, {limit} are allowed")
        if isinstance(example, Pair) and whole["chosen"][:limit] == whole["rejected"][:limit]:
            return RowFault("identical_after_truncation", "chosen", f"the same as rejected in the first {limit} tokens")
        return None

    def lengths(self, conversations: Sequence[Conversation]) -> list[int]:
        """Number of tokens of each, special tokens included."""
        return [len(ids) for ids in self.tokenise(conversations)]

    def tokenise(self, conversations: Sequence[Conversation], generation: bool = False) -> list[list[int]]:
        """Token ids; messages go through the chat template, or where there is none are joined by line breaks."""
        if not conversations:
            return []
        return self.tokenizer(
            [self.render(c, generation) for c in conversations], add_special_tokens=True, verbose=False
        )["input_ids"]

    def render(self, conversation: Conversation, generation: bool) -> str:
        """The text that is tokenised."""
        if isinstance(conversation, str):
            return conversation
        if getattr(self.tokenizer, "chat_template", None):
            return self.tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=generation)
        return "".join(f"{message['content']}\n" for message in conversation)


def _joined(prompt: Conversation, answer: Conversation) -> Conversation:
    if isinstance(prompt, str):
        return prompt + str(answer)
    return [*prompt, *answer]  # type: ignore[list-item]
