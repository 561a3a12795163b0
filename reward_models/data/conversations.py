"""Find the prompt that two answers share, and bring prompt and answers to one form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from reward_models.data.examples import Conversation, Message
from reward_models.data.faults import RowFault

Comparison: TypeAlias = tuple[Conversation, Conversation, Conversation]
USER_TURN = "\n\nHuman:"
ASSISTANT_TURN = "\n\nAssistant:"


def shared_prefix_length(first: Sequence, second: Sequence) -> int:
    """Length of the longest common prefix, by bisection: slices compare at the speed of C."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def split_transcripts(chosen: str, rejected: str) -> tuple[str, str, str]:
    r"""Split two transcripts at the last ``\n\nAssistant:`` that they have in common.

    The prompt keeps the marker and the answers keep their leading space, so ``prompt + chosen`` is the
    transcript again.
    """
    shared = chosen[: shared_prefix_length(chosen, rejected)]
    turn = shared.rfind(ASSISTANT_TURN)
    if turn < 0:
        raise RowFault("no_common_turn", "chosen", f"no common {ASSISTANT_TURN!r}")
    end = turn + len(ASSISTANT_TURN)
    return chosen[:end], chosen[end:], rejected[end:]


def split_messages(
    chosen: list[Message], rejected: list[Message]
) -> tuple[list[Message], list[Message], list[Message]]:
    """Split two conversations after their last common message that an assistant turn follows in both."""
    length = shared_prefix_length(chosen, rejected)
    while length > 0 and not (_assistant_at(chosen, length) and _assistant_at(rejected, length)):
        length -= 1
    if length == 0:
        raise RowFault("no_common_turn", "chosen", "the conversations share no message before an assistant turn")
    return chosen[:length], chosen[length:], rejected[length:]


def _assistant_at(conversation: list[Message], index: int) -> bool:
    return index < len(conversation) and conversation[index]["role"] == "assistant"


def split_texts(chosen: str, rejected: str) -> tuple[str, str, str]:
    """Split two texts after their longest common prefix that ends before a space or after a line break.

    Such a prefix never makes half a word the prompt; the answers keep the space that they begin with.
    """
    end = shared_prefix_length(chosen, rejected)
    while end > 0 and chosen[end - 1] != "\n" and not (chosen[end : end + 1] == rejected[end : end + 1] == " "):
        end -= 1
    return chosen[:end], chosen[end:], rejected[end:]


def as_messages(conversation: Conversation, role: str) -> list[Message]:
    """Messages as they are; text as one message of this role."""
    return [{"role": role, "content": conversation}] if isinstance(conversation, str) else conversation


def same_form(prompt: Conversation, answers: Sequence[Conversation]) -> tuple[Conversation, list[Conversation]]:
    """Prompt and answers, all text or all messages: where one is a message list, all become message lists."""
    if all(isinstance(part, str) for part in (prompt, *answers)):
        return prompt, list(answers)
    return as_messages(prompt, "user"), [as_messages(answer, "assistant") for answer in answers]


def without_prompt(prompt: Conversation, chosen: Conversation, rejected: Conversation) -> Comparison:
    """Prompt and answers in one form, where the answers may be whole conversations that begin with the prompt."""
    if isinstance(chosen, str) or isinstance(rejected, str) or not _whole(chosen, rejected):
        prompt, answers = same_form(prompt, [chosen, rejected])
        return prompt, answers[0], answers[1]
    shared, chosen, rejected = split_messages(chosen, rejected)
    known = [prompt] if isinstance(prompt, str) else [message["content"] for message in prompt]
    contents = {message["content"].strip() for message in shared}
    if not all(content.strip() in contents for content in known):
        raise RowFault("prompt_mismatch", "prompt", "the prompt is no message of the conversations in chosen")
    return shared, chosen, rejected


def _whole(chosen: list[Message], rejected: list[Message]) -> bool:
    return bool(chosen and rejected) and not (_assistant_at(chosen, 0) and _assistant_at(rejected, 0))


def transcript(turns: Sequence[str]) -> str:
    """Turns of user and assistant in alternation, the last by the user, as text that awaits the assistant."""
    markers = (USER_TURN, ASSISTANT_TURN)
    return "".join(f"{markers[i % 2]} {turn.strip()}" for i, turn in enumerate(turns)) + ASSISTANT_TURN
