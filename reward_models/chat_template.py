"""A tokenizer's chat template, which comes with a model's folder and may refuse messages, or try what it must not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from reward_models.errors import DataError

REFUSALS = (
    TemplateError,
    TypeError,
    ValueError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RecursionError,
    MemoryError,
)
"""What a template can raise, which computes whatever it likes."""


class TemplateRefusesError(DataError):
    """A chat template does not take these messages."""


def by_template(tokenizer: Any, messages: Sequence[dict[str, Any]], add_generation_prompt: bool = False) -> str:
    """Return messages as the template writes them; transformers runs it in a sandbox.

    Raises:
        TemplateRefusesError: it takes no such messages (roles out of order, tools), or reaches for what the sandbox
            keeps from it.
    """
    try:
        written: str = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=add_generation_prompt
        )
    except REFUSALS as error:
        roles = ", ".join(str(message.get("role")) for message in messages)
        raise TemplateRefusesError(
            f"the chat template refuses messages of {roles}: {str(error) or type(error).__name__}"
        ) from error
    return written
