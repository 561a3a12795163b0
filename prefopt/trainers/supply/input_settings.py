"""The setting ``inputs``: which of them the user supplies, and from where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefopt.batch import NEEDS
from prefopt.errors import UserError, nearest
from prefopt.trainers.rewards.reading import load_function
from prefopt.trainers.rewards.source import RewardSource
from prefopt.trainers.supply.inputs import SHAPES, UserInput
from reward_models.step_source import StepSource

KEYS = ("source", "columns")
OF_STEPS = ("model", "prover")


def read_inputs(given: Mapping[str, Any], needs: frozenset[str]) -> list[UserInput]:
    """Return the inputs of the setting ``inputs``; a function's file is run, nothing else.

    Raises:
        UserError: a name that is no input, or that nothing needs; an entry that names neither column nor function.
    """
    found = []
    for name, entry in given.items():
        # What belongs to a loop of its own, or to how prompts are put, means something else from anywhere else.
        possible = [
            need
            for need, about in NEEDS.items()
            if about.holder == "rollouts" and about.shape in SHAPES and need not in ("turn_correction", "preference")
        ]
        if name not in possible:
            raise UserError(
                f"inputs: '{name}' is nothing that can be supplied so.{nearest(str(name), possible)} Names: "
                f"{', '.join(sorted(possible))}."
            )
        if name not in needs:
            raise UserError(f"inputs: no part of the recipe needs '{name}'; leave it out")
        found.append(_read_entry(name, entry))
    return found


def _read_entry(name: str, entry: Any) -> UserInput:
    where, columns = f"inputs.{name}", {}
    if isinstance(entry, Mapping) and "model" in entry and name in ("step_rewards", "step_potentials"):
        return UserInput(name, source=RewardSource(_step_model(where, entry), (where,)))
    if isinstance(entry, Mapping):
        for key in entry:
            if key not in KEYS:
                raise UserError(f"{where}: unknown key '{key}'.{nearest(str(key), KEYS)} Keys: {', '.join(KEYS)}.")
        if "source" not in entry:
            raise UserError(f"{where} has no 'source': file.py:function")
        entry, columns = entry["source"], dict(entry.get("columns") or {})
    if callable(entry):
        return UserInput(name, source=RewardSource(entry, (where,), columns=columns))
    path, colon, function = str(entry).rpartition(":")
    if colon and path.endswith(".py"):
        return UserInput(name, source=RewardSource(load_function(Path(path), function), (where,), columns=columns))
    if not isinstance(entry, str) or not entry or columns:
        raise UserError(f"{where} is a column of the data, or file.py:function, not {entry!r}")
    return UserInput(name, column=entry)


def _step_model(where: str, entry: Mapping[str, Any]) -> StepSource:
    """Read ``{model: FOLDER}``, scores of steps, or with ``prover: K`` their progress under a best-of-K prover."""
    from reward_models.folder import read_info

    for key in entry:
        if key not in OF_STEPS:
            raise UserError(f"{where}: unknown key '{key}'.{nearest(str(key), OF_STEPS)} Keys: {', '.join(OF_STEPS)}.")
    folder, prover = Path(str(entry["model"])), entry.get("prover")
    if "steps" not in (read_info(folder) or {}):
        raise UserError(
            f"{where}: {folder} is no model that scores steps; train one with train-reward --loss process_reward or "
            "process_advantage"
        )
    if prover is not None and (not isinstance(prover, int) or prover < 1):
        raise UserError(f"{where}: prover is how many solutions a best-of-K prover draws, not {prover!r}")
    return StepSource(str(folder), prover)
