"""Rewards that a program can check, by name. Each is a reward source: ``f(prompts, completions, **columns)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reward_models.errors import ModelError
from reward_models.verifiable.exact_answer import ExactAnswer
from reward_models.verifiable.format import Format
from reward_models.verifiable.length import Length

VERIFIERS: dict[str, type[ExactAnswer] | type[Format] | type[Length]] = {
    "exact_answer": ExactAnswer,
    "format": Format,
    "length": Length,
}


def build_verifier(name: str, settings: Mapping[str, Any]) -> ExactAnswer | Format | Length:
    """Return the verifier of that name. Raises ``ModelError`` for an unknown name or settings that it refuses."""
    if name not in VERIFIERS:
        raise ModelError(f"unknown verifier '{name}'; known are {', '.join(VERIFIERS)}")
    try:
        return VERIFIERS[name](**settings)
    except TypeError as error:
        raise ModelError(f"verifier '{name}': {str(error).split('__init__() ')[-1]}") from None


__all__ = ["VERIFIERS", "ExactAnswer", "Format", "Length", "build_verifier"]
