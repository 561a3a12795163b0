"""Which completions are right, for a reward that asks: from a column, or from another verifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reward_models.errors import ModelError
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


def correctness(
    judge: Any, prompts: Sequence[Text], completions: Sequence[Text], columns: Mapping[str, Any], verifier: str
) -> list[bool | None]:
    """Return whether each completion is right: a score of at least 1, or a column's true; None where nobody knows.

    Raises:
        ModelError: neither a verifier nor a column says it, or the verifier lacks a column.
    """
    if judge is None:
        if columns.get("correct") is None:
            raise ModelError(
                f"{verifier} needs to know which completions are right: give a verifier, `settings: {{correct: "
                "exact_answer}`, or a column of the data, `columns: {correct: NAME}`"
            )
        given = list(columns["correct"])
    else:
        from inspect import signature

        parameters = signature(judge).parameters
        takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
        own = {name: value for name, value in columns.items() if takes_all or name in parameters}
        required = (n for n, p in parameters.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD)
        for name in required:
            if name not in own and name not in ("prompts", "completions"):
                raise ModelError(f"{verifier}: its verifier of correctness needs the column '{name}'")
        given = list(judge(prompts=prompts, completions=completions, **own))
    return [None if one is None or one != one else float(one) >= 1 for one in given]
