"""Which completions are right, for a reward that asks: from a column, or from another verifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from reward_models.errors import ModelError
from reward_models.failures import Failure
from reward_models.formatting import Text


def build_judge(correct: Any, verifier: str) -> Any:
    """Return what a setting ``correct`` names: None for a column, a verifier by name, or by name with settings.

    Raises:
        ModelError: an unknown verifier, or settings that it refuses.
    """
    from reward_models.verifiable import build_verifier

    if correct is None or callable(correct):
        return correct
    if isinstance(correct, str):
        return build_verifier(correct, {})
    if isinstance(correct, Mapping) and "source" in correct and set(correct) <= {"source", "settings"}:
        return build_verifier(str(correct["source"]), dict(correct.get("settings") or {}))
    raise ModelError(
        f"{verifier}: correct is a verifier's name, or {{source: name, settings: {{...}}}}, not {correct!r}; "
        "leave it out to read a column `correct`"
    )


def columns_read(judge: Any) -> tuple[str, ...]:
    """Return the columns without which correctness is not known."""
    if judge is None:
        return ("correct",)
    required, _ = _parameters(judge)
    return tuple(name for name in required if name not in ("prompts", "completions"))


def correctness(
    judge: Any, prompts: Sequence[Text], completions: Sequence[Text], columns: Mapping[str, Any], verifier: str
) -> list[bool | None]:
    """Return whether each completion is right: a score of at least 1, or a column's true; None where nobody knows.

    Raises:
        ModelError: neither a verifier nor a column says it, or the verifier lacks a column.
    """
    for name in columns_read(judge):
        if columns.get(name) is None:
            instead = ", or name a verifier with `settings: {correct: VERIFIER}`" if judge is None else ""
            raise ModelError(
                f"{verifier} needs the column '{name}' to know what is right; map one with `columns: {{{name}: "
                f"COLUMN}}`{instead}"
            )
    if judge is None:
        given = list(columns["correct"])
    else:
        _, taken = _parameters(judge)
        own = {name: value for name, value in columns.items() if taken is None or name in taken}
        given = list(judge(prompts=prompts, completions=completions, **own))
    return [None if one is None or isinstance(one, Failure) or one != one else float(one) >= 1 for one in given]


def _parameters(judge: Any) -> tuple[list[str], list[str] | None]:
    """Return required parameters, and all; None = it takes any."""
    parameters = signature(judge).parameters.values()
    required = [one.name for one in parameters if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD]
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters)
    return required, None if takes_any else [one.name for one in parameters]
