"""Recipes: every published method as a named composition of parts.

A recipe is a function whose parameters are the method's settings and whose body is the paper's one-sentence summary in
parts. ``build`` calls it, and replaces the slots that the caller names: by a part, by another objective's filling of
that slot, or by the name of the recipe to take it from.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from prefopt.composition import Objective
from prefopt.errors import UserError, nearest
from prefopt.papers import PAPERS

KINDS = ("online", "offline", "weighting", "reward", "verifier", "sampling", "game", "loop", "merging", "decoding",
         "eval", "optimiser")  # fmt: skip


@dataclass(frozen=True)
class RecipeInfo:
    """What is known of a published method.

    Attributes:
        slots: those in which the method differs from the baseline of its kind (``grpo``, ``sigmoid``); all for
            a baseline.
        confidence: A = authors' code or the paper's equations, B = reviews or re-implementations, C = partly
            reconstructed.
        claim: the claim of the paper that an experiment can show.
        summary: the method in one line.
        settings: parameter -> default.
    """

    name: str
    title: str
    arxiv: str
    year: int
    kind: str
    slots: tuple[str, ...]
    card: str
    confidence: str
    claim: str
    summary: str
    aliases: tuple[str, ...]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Recipe:
    """A registered method: the function that composes it, and what is known of it without its slots."""

    compose: Callable[..., Any]
    info: RecipeInfo


RECIPES: dict[str, Recipe] = {}
_ALIASES: dict[str, str] = {}


class UnknownRecipe(UserError, KeyError):
    """No recipe of that name."""

    def __str__(self) -> str:
        return str(self.args[0])


def recipe(
    *, kind: str, card: str, confidence: str, claim: str, arxiv: str = "", title: str = "", year: int = 0,
    aliases: tuple[str, ...] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # fmt: skip
    """Register a composing function under its own name; ``prefopt.papers`` gives title and year of ``arxiv``."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind '{kind}'.{nearest(kind, KINDS)}")

    def register(compose: Callable[..., Any]) -> Callable[..., Any]:
        name = compose.__name__
        for taken in (name, *aliases):
            if taken in RECIPES or taken in _ALIASES:
                raise ValueError(f"recipe name '{taken}' is taken")
        paper = PAPERS.get(arxiv)
        settings = {p.name: p.default for p in inspect.signature(compose).parameters.values()}
        summary = (inspect.getdoc(compose) or "").split("\n", 1)[0]
        info = RecipeInfo(
            name, title or (paper.title if paper else ""), arxiv, year or (paper.year if paper else 0), kind, (), card,
            confidence, claim, summary, aliases, settings,
        )  # fmt: skip
        RECIPES[name] = Recipe(compose, info)
        _ALIASES.update(dict.fromkeys(aliases, name))
        return compose

    return register


def names(kind: str | None = None) -> list[str]:
    """Return the names of all recipes, or of those of one kind, sorted."""
    if kind is not None and kind not in KINDS:
        raise UserError(f"unknown kind '{kind}'; kinds are {', '.join(KINDS)}.{nearest(kind, KINDS)}")
    return sorted(name for name, entry in RECIPES.items() if kind in (None, entry.info.kind))


def resolve(name: str) -> str:
    """Return the recipe's own name for a name or an alias. Raises ``UnknownRecipe`` with the nearest name."""
    known = _ALIASES.get(name, name)
    if known not in RECIPES:
        raise UnknownRecipe(
            f"unknown recipe '{name}'.{nearest(name, [*RECIPES, *_ALIASES])} `prefopt methods` lists all of them."
        )
    return known


def info(name: str) -> RecipeInfo:
    """Return what is known of a recipe, with the slots that it fills in its own way."""
    entry = RECIPES[resolve(name)]
    return replace(entry.info, slots=_own_slots(entry))


def _own_slots(entry: Recipe) -> tuple[str, ...]:
    built = build(entry.info.name)
    if not isinstance(built, Objective):
        return ()
    baseline = type(built)()
    own = tuple(slot for slot in built.slot_names() if getattr(built, slot) != getattr(baseline, slot))
    return own or built.slot_names()


def build(name: str, **settings: Any) -> Any:
    """Compose a published method.

    Args:
        name: a recipe's name or alias.
        settings: the recipe's own parameters, and slots: ``gate="sapo"`` takes the gate of the recipe ``sapo``;
            ``gate={"recipe": "sapo", "tau_negative": 1.1}`` takes it with settings; a part or an objective is
            taken as it is. ``advantage="a_grae"`` brings that recipe's adjustments along, unless ``adjust`` is given.

    Raises:
        UnknownRecipe: no recipe of that name. TypeError: a setting that the recipe does not have, or one without effect
        because the slot that reads it was replaced. IncompatibleParts: parts that cannot stand together.
    """
    name = resolve(name)
    entry = RECIPES[name]
    own = {key: value for key, value in settings.items() if key in entry.info.settings}
    composed = entry.compose(**own)
    slots = {key: value for key, value in settings.items() if key not in own}
    valid = composed.slot_names() if isinstance(composed, Objective) else ()
    for key in slots:
        if key not in valid:
            choices = [*entry.info.settings, *valid]
            raise TypeError(
                f"recipe '{name}' has no setting '{key}'.{nearest(key, choices)} Its settings are {', '.join(choices)}."
            )
    if not isinstance(composed, Objective):
        return composed
    slots = _with_companions(composed, slots)
    fillings = {slot: _filling(composed, slot, value) for slot, value in slots.items()}
    replaced = replace(composed, recipe=name, arxiv=entry.info.arxiv, **fillings)
    _refuse_idle_settings(entry, composed, own, slots)
    return replaced


def _with_companions(objective: Objective, slots: dict[str, Any]) -> dict[str, Any]:
    """Return ``slots`` and those that come along with a slot taken from a recipe, unless the caller chose them."""
    taken = {slot: value for slot, value in slots.items() if isinstance(value, (str, Mapping, Objective))}
    along = {other: value for slot, value in taken.items() for other in objective.companions.get(slot, ())}
    return slots | {slot: value for slot, value in along.items() if slot not in slots}


def _filling(objective: Objective, slot: str, value: Any) -> Any:
    """Return what to put into ``slot`` of ``objective`` for a name, a mapping, an objective or a part."""
    source = value
    if isinstance(value, str):
        source = build(value)
    elif isinstance(value, Mapping):
        if "recipe" not in value:
            raise TypeError(f"{slot}={dict(value)} names no recipe; write {slot}={{'recipe': NAME, ...settings}}")
        source = build(value["recipe"], **{key: item for key, item in value.items() if key != "recipe"})
    if isinstance(source, Objective):
        if slot not in source.slot_names():
            kind = type(source).__name__
            raise TypeError(f"{slot}={value!r}: that recipe is an {kind}, which has no slot '{slot}'")
        return getattr(source, slot)
    several = isinstance(getattr(objective, slot), tuple)
    return (source,) if several and not isinstance(source, tuple) else source


def _refuse_idle_settings(entry: Recipe, composed: Objective, own: dict[str, Any], slots: dict[str, Any]) -> None:
    """Raise where a setting only changed slots that were then replaced: the caller would believe that it acts."""
    for key, value in own.items():
        if not slots or value == entry.info.settings[key]:
            continue
        without = entry.compose(**{k: v for k, v in own.items() if k != key})
        changed = [slot for slot in composed.slot_names() if getattr(composed, slot) != getattr(without, slot)]
        if changed and all(slot in slots for slot in changed):
            raise TypeError(
                f"setting '{key}' of recipe '{entry.info.name}' acts on {', '.join(changed)}, which was replaced"
            )
