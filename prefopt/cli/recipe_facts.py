"""What is known of a recipe, as plain values: from its registration and from the docstrings of its parts."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

from prefopt import recipes
from prefopt.batch import NEEDS
from prefopt.composition import Objective, Part
from prefopt.optimisers import OptimiserChoice
from prefopt.recipes.claims import claim_status

SECTIONS = re.compile(r"\n\s*\n?(Attributes|Args|Arguments|Returns|Raises|References?|Example)s?:", re.IGNORECASE)


def row(name: str) -> dict[str, Any]:
    """Return what the list shows of a recipe. The baseline of its kind fills every slot in its own way."""
    info, built = recipes.info(name), recipes.build(name)
    baseline = isinstance(built, Objective) and info.slots == built.slot_names()
    facts = {key: getattr(info, key) for key in ("name", "kind", "title", "arxiv", "year", "confidence", "summary")}
    return {
        **facts,
        "aliases": list(info.aliases),
        "slots": list(info.slots),
        "baseline": baseline,
        "claim_verdict": claim_status(name)["verdict"],
    }


def page(name: str) -> dict[str, Any]:
    """Return everything: the row, claim, settings, composition, formulas, needs and citation. JSON-ready."""
    info, built = recipes.info(name), recipes.build(name)
    needs = sorted(getattr(built, "needs", ()))
    return {
        **row(name),
        "claim": info.claim,
        "claim_status": claim_status(name),
        "settings": {key: _plain(value) for key, value in info.settings.items()},
        "composition": [_part_facts(slot, part, info.slots) for slot, part in _filled(built)],
        "empty_slots": _empty_slots(built),
        "objective": prose(type(built)) if isinstance(built, Objective) else "",
        "needs": [_need_facts(need, in_pairs=info.kind == "offline") for need in needs],
        "cite": _cite(built, info.arxiv),
    }


def prose(owner: type) -> str:
    """Return a class's docstring without its sections (attributes, references): what it computes, in its own words."""
    text = inspect.getdoc(owner) or ""
    return SECTIONS.split(f"\n{text}", maxsplit=1)[0].strip()


def _filled(built: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(built, Objective):
        yield from built.parts()
    else:
        yield "", built


def _empty_slots(built: Any) -> list[str]:
    if not isinstance(built, Objective):
        return []
    return [slot for slot in built.slot_names() if not getattr(built, slot)]


def _part_facts(slot: str, part: Any, own_slots: tuple[str, ...]) -> dict[str, Any]:
    owner = part.kind if isinstance(part, OptimiserChoice) else type(part)
    summary = (inspect.getdoc(sys.modules[owner.__module__]) or "").split("\n", 1)[0]
    return {
        "slot": slot,
        "part": owner.__name__,
        "settings": {name: _plain(value) for name, value in _settings(part).items()},
        "summary": summary,
        "formula": "\n\n".join([prose(owner), *_formulas_within(part)]),
        "arxiv": part.arxiv if isinstance(part, Part) else "",
        "own": slot.split(".")[0] in own_slots,
    }


def _settings(part: Any) -> dict[str, Any]:
    if isinstance(part, OptimiserChoice):
        return dict(part.settings)
    fields = dataclasses.fields(part) if dataclasses.is_dataclass(part) else ()
    return {one.name: getattr(part, one.name) for one in fields}


def _formulas_within(part: Any) -> list[str]:
    """Return the formulas of the components that a part holds as settings, each under its name."""
    held = [getattr(part, one.name) for one in dataclasses.fields(part)] if dataclasses.is_dataclass(part) else []
    return [f"{type(one).__name__}: {prose(type(one))}" for one in held if dataclasses.is_dataclass(one)]


def _need_facts(name: str, in_pairs: bool) -> dict[str, str]:
    need = NEEDS[name]
    shape = need.shape.replace("B", "N") if in_pairs else need.shape
    return {"name": name, "shape": shape, "meaning": need.meaning, "cost": need.cost}


def _cite(built: Any, arxiv: str) -> str:
    if isinstance(built, Objective):
        return built.cite()
    from prefopt.papers import cite

    return cite([arxiv]) if arxiv else ""


def _plain(value: Any) -> Any:
    """Return a setting as JSON holds it; parts and other objects by their repr."""
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)
