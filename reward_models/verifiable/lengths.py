"""How long completions are, in the unit that a verifier was told."""

from __future__ import annotations

from collections.abc import Sequence

from reward_models.errors import ModelError
from reward_models.formatting import Text
from reward_models.verifiable.texts import text_of

UNITS = ("words", "characters", "tokens")


def check_unit(unit: str, verifier: str) -> None:
    """Raise ``ModelError`` for a unit that is none."""
    if unit not in UNITS:
        raise ModelError(f"{verifier}: unit '{unit}' is unknown; choose one of {', '.join(UNITS)}")


def lengths_of(
    unit: str, completions: Sequence[Text], completion_ids: Sequence[Sequence[int]] | None, verifier: str
) -> list[int]:
    """Return one length a completion: words (split at blanks), characters, or tokens (of the policy).

    Raises:
        ModelError: tokens are wanted and nobody gave them.
    """
    if unit == "tokens":
        if completion_ids is None:
            raise ModelError(f"{verifier} in tokens needs completion_ids, which only a trainer gives; use words")
        return [len(ids) for ids in completion_ids]
    if unit == "words":
        return [len(text_of(completion).split()) for completion in completions]
    return [len(text_of(completion)) for completion in completions]
