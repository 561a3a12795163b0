"""Lengths in tokens, and what a limit on them leaves to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reward_models.chat_template import TemplateRefusesError, by_template
from reward_models.data.conversations import shared_prefix_length
from reward_models.data.examples import Conversation, Example, Pair, answers_of, is_silent, plain_text
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
        written = [self._written(example) for example in examples]
        # Texts without a prompt are divided where they are too long, and lose nothing.
        ids = iter(self.tokenise([text for texts in written if isinstance(texts, list) for text in texts]))
        return [
            texts
            if not isinstance(texts, list)
            else self._fault(example, next(ids), {name: next(ids) for name, _ in answers_of(example)})
            for example, texts in zip(examples, written, strict=True)
        ]

    def _written(self, example: Example) -> list[str] | RowFault | None:
        """The prompt, and the prompt with each answer, as a model reads them; None where no length is too long."""
        if example.prompt is None:
            return None
        try:
            whole = [self.render(_joined(example.prompt, answer), False) for _, answer in answers_of(example)]
            return [self.render(example.prompt, True), *whole]
        except TemplateRefusesError as error:
            return RowFault("refused_by_template", "prompt", str(error))

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
        return [len(ids) for ids in self.tokenise([self._alone(conversation) for conversation in conversations])]

    def _alone(self, conversation: Conversation) -> str:
        """A conversation by itself; a template that takes no answer without its prompt is passed over."""
        try:
            return self.render(conversation, False)
        except TemplateRefusesError:
            return plain_text(conversation)

    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids."""
        if not texts:
            return []
        return self.tokenizer(list(texts), add_special_tokens=True, verbose=False)["input_ids"]

    def render(self, conversation: Conversation, generation: bool) -> str:
        """The text that is tokenised: messages by the chat template, or where there is none joined by line breaks.

        Raises:
            TemplateRefusesError: the template takes no such messages.
        """
        if isinstance(conversation, str):
            return conversation
        if getattr(self.tokenizer, "chat_template", None):
            return by_template(self.tokenizer, conversation, add_generation_prompt=generation)
        return "".join(f"{message['content']}\n" for message in conversation)


def _joined(prompt: Conversation, answer: Conversation) -> Conversation:
    if isinstance(prompt, str):
        return prompt + str(answer)
    return [*prompt, *answer]  # type: ignore[list-item]
