"""What an experiment is, the table of all of them, and how one is run, judged and stored."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from prefopt import recipes
from scripts.claims.numbers import Number, Numbers
from scripts.claims.plots import Plot

RESULTS = Path(__file__).parent / "results"


class Verdict(StrEnum):
    """What an experiment found."""

    REPRODUCED = "reproduced"
    PARTLY = "partly"
    NOT_REPRODUCED = "not reproduced"


@dataclass(frozen=True)
class Measured:
    """What ``measure`` returns: ``values`` by name, each ``(seeds,)``, and the plots.

    ``notes`` are sentences for the reader of the page: what was surprising, what the problem leaves out.
    """

    values: Mapping[str, Sequence[float] | np.ndarray]
    plots: Sequence[Plot] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Experiment:
    """A claim of a paper, how it is measured, and the rule that judges the figures."""

    recipe: str
    claim: str
    rule: Callable[[Numbers], Verdict]
    seeds: int
    measure: Callable[[Sequence[int]], Measured] = field(repr=False)

    @property
    def rule_in_words(self) -> str:
        """The rule's docstring in one paragraph."""
        return " ".join((inspect.getdoc(self.rule) or "").split())


EXPERIMENTS: dict[str, Experiment] = {}


def experiment(
    *, claim: str, rule: Callable[[Numbers], Verdict], seeds: int, recipe: str | None = None
) -> Callable[[Callable[[Sequence[int]], Measured]], Callable[[Sequence[int]], Measured]]:
    """Register ``measure`` as the experiment of ``recipe``, by default the name of the file it stands in.

    Raises:
        ValueError: fewer than three seeds, a rule without words, a second experiment of one recipe.
        UnknownRecipe: no recipe of that name.
    """
    if seeds < 3:
        raise ValueError(f"a claim needs at least 3 seeds, not {seeds}")
    if not inspect.getdoc(rule):
        raise ValueError("the rule needs a docstring: what is reproduced, what partly")

    def register(measure: Callable[[Sequence[int]], Measured]) -> Callable[[Sequence[int]], Measured]:
        name = recipes.resolve(recipe or measure.__module__.rpartition(".")[2])
        if name in EXPERIMENTS:
            raise ValueError(f"recipe '{name}' has an experiment already")
        EXPERIMENTS[name] = Experiment(name, claim, rule, seeds, measure)
        return measure

    return register


def run(one: Experiment, seeds: Sequence[int] | None = None) -> dict[str, Any]:
    """Measure, judge and return the result as it is stored.

    Raises:
        ValueError: a value that is not one a seed, or not finite.
    """
    chosen = list(range(one.seeds)) if seeds is None else list(seeds)
    start = time.perf_counter()
    measured = one.measure(chosen)
    seconds = time.perf_counter() - start
    numbers = {name: _number(name, values, len(chosen)) for name, values in measured.values.items()}
    return {
        "recipe": one.recipe,
        "claim": one.claim,
        "verdict": str(one.rule(numbers)),
        "rule": one.rule_in_words,
        "numbers": {name: number.as_json() for name, number in numbers.items()},
        "seeds": chosen,
        "command": f"python -m scripts.claims {one.recipe}",
        "seconds": round(seconds, 1),
        "notes": list(measured.notes),
        "plots": [plot.as_json() for plot in measured.plots],
    }


def _number(name: str, values: Any, seeds: int) -> Number:
    found = np.asarray(values, dtype=float)
    if found.shape != (seeds,):
        raise ValueError(f"'{name}' has shape {found.shape}, expected one value a seed, ({seeds},)")
    if not np.isfinite(found).all():
        raise ValueError(f"'{name}' is not finite for seed number {int((~np.isfinite(found)).argmax())}")
    return Number(tuple(found.tolist()))


def judge(one: Experiment, result: Mapping[str, Any]) -> Verdict:
    """Apply the experiment's rule to stored numbers."""
    return one.rule({name: Number.from_json(stored) for name, stored in result["numbers"].items()})


def store(result: Mapping[str, Any], folder: Path | None = None) -> Path:
    """Write a result; values stand on one line each, so that a second run shows as a short difference."""
    folder = RESULTS if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result['recipe']}.json"
    path.write_text(_lines(result) + "\n", encoding="utf-8")
    return path


def _lines(result: Mapping[str, Any]) -> str:
    parts = []
    for key, value in result.items():
        if key == "numbers":
            rows = ",\n".join(f"    {json.dumps(name)}: {json.dumps(number)}" for name, number in value.items())
            parts.append(f'  "numbers": {{\n{rows}\n  }}')
        elif key == "plots":
            parts.append('  "plots": [\n' + ",\n".join(f"    {json.dumps(plot)}" for plot in value) + "\n  ]")
        else:
            parts.append(f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(parts) + "\n}"


def stored(folder: Path | None = None) -> dict[str, dict[str, Any]]:
    """All stored results by recipe."""
    folder = RESULTS if folder is None else folder
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
