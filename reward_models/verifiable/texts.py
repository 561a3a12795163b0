"""The text of a completion."""

from __future__ import annotations

from reward_models.formatting import Text


def text_of(completion: Text) -> str:
    """Return a completion's text; of messages, the text of the last one."""
    if isinstance(completion, str):
        return completion
    content = completion[-1].get("content") if completion else ""
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return str(content or "")
