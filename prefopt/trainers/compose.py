"""The objective of an online run: recipe, weighting, weights and lengths, checked before anything loads."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from prefopt import recipes
from prefopt.errors import UserError
from prefopt.online.method import OnlineMethod
from prefopt.trainers.online_config import OnlineConfig
from prefopt.trainers.policies import check_policy
from prefopt.trainers.rewards.source import RewardSource
from prefopt.trainers.rewards.verdicts import gives
from prefopt.trainers.supply.checks import check_settings
from prefopt.trainers.supply.hints import check_hints
from prefopt.trainers.supply.plan import supplied, why_lacking
from prefopt.trainers.supply.preferences import check_preferences
from prefopt.trainers.supply.soft import check_soft
from prefopt.trainers.supply.tasks import check_tasks
from prefopt.trainers.supply.turns import check_turns
from prefopt.weighting.constraint import thresholds_of

logger = logging.getLogger(__name__)


def compose(
    recipe: str | Mapping[str, Any] | OnlineMethod,
    settings: Mapping[str, Any] | None = None,
    weighting: str | Mapping[str, Any] | None = None,
) -> OnlineMethod:
    """Return the objective that a configuration names.

    Raises:
        UserError: an unknown recipe (with the nearest name), setting or slot, or a recipe of another kind.
    """
    if isinstance(recipe, OnlineMethod):
        objective: Any = recipe
        if settings or weighting:
            objective = replace(recipe, **_slots(recipe, dict(settings or {}), weighting))
        return objective
    given: dict[str, Any] = {"recipe": recipe} if isinstance(recipe, str) else dict(recipe)
    given |= dict(settings or {})
    if weighting is not None:
        if "weighting" in given:
            raise UserError("the weighting is named twice: in `recipe` and in `weighting`; keep one")
        given["weighting"] = weighting
    name = given.pop("recipe")
    try:
        objective = recipes.build(name, **given)
    except (TypeError, ValueError) as error:
        raise UserError(f"recipe '{name}': {error}") from error
    if not isinstance(objective, OnlineMethod):
        kind = recipes.info(name).kind
        other = " Use `prefopt align-offline`." if kind == "offline" else ""
        raise UserError(f"recipe '{name}' is of kind {kind}, and online alignment needs an online one.{other}")
    return objective


def _slots(objective: OnlineMethod, settings: dict[str, Any], weighting: Any) -> dict[str, Any]:
    if weighting is not None:
        settings["weighting"] = compose(weighting).weighting
    unknown = [slot for slot in settings if slot not in objective.slot_names()]
    if unknown:
        raise UserError(f"an objective has no slot '{unknown[0]}'; slots are {', '.join(objective.slot_names())}")
    return settings


def with_weights(objective: OnlineMethod, weights: Sequence[float]) -> OnlineMethod:
    """Return the objective with the sources' weights in its weighting.

    Raises:
        UserError: weights other than 1 for a weighting that takes none, or that has its own already.
    """
    if all(weight == 1 for weight in weights):
        return objective
    part: Any = objective.weighting
    name = type(part).__name__
    if "weights" not in {field.name for field in dataclasses.fields(part)}:
        raise UserError(
            f"the weighting {name} gives every reward the same say and takes no weights; set every `weight` to 1, or "
            "choose a weighting that has weights, such as gdpo"
        )
    if part.weights is not None:
        raise UserError(f"weights stand both in the recipe ({name}: {part.weights}) and in `rewards`; keep one")
    weighed = replace(objective, weighting=replace(part, weights=tuple(weights)))
    # A term over whole groups that asks the same judges reads the same weights.
    return _filled(weighed, "weights", tuple(weights), lambda one: hasattr(one, "judges"))


def with_length(objective: OnlineMethod, longest: int) -> OnlineMethod:
    """Return the objective with ``max_length`` filled in wherever a part leaves it to the trainer."""
    return _filled(objective, "max_length", longest)


def with_roles(objective: OnlineMethod, roles: Sequence[str]) -> OnlineMethod:
    """Return the objective with the numbers of judges and of the cost wherever a part leaves them to the trainer.

    ``roles``: of the reward columns. Raises ``UserError`` for a role that no part of the objective knows.
    """
    numbers = {role: tuple(k for k, one in enumerate(roles) if one == role) for role in roles}
    readers = {"judge": ("judges", "mixture_of_judges"), "cost": ("cost", "high_confidence")}
    for role, (setting, example) in readers.items():
        if role not in numbers:
            continue
        if not any(hasattr(part, setting) for _, part in objective.parts()):
            raise UserError(
                f"a reward source has `role: {role}`, and no part of the recipe treats one differently from a reward: "
                f"choose a weighting that does, such as {example}, or leave the role out"
            )
        if role == "cost" and len(numbers[role]) > 1:
            raise UserError(f"{len(numbers[role])} reward columns have `role: cost`, and {example} bounds one")
        objective = _filled(objective, setting, numbers[role] if role == "judge" else numbers[role][0])
    return objective


def _check_thresholds(objective: OnlineMethod, sources: Sequence[RewardSource]) -> None:
    """Raise ``UserError`` for another number of thresholds than of columns; a model's heads are known once it loads."""
    thresholds = getattr(objective.weighting, "thresholds", None)
    if isinstance(thresholds, tuple) and not any(source.folder for source in sources):
        thresholds_of(thresholds, sum(len(source.names) for source in sources))


def _filled(
    objective: OnlineMethod, setting: str, value: Any, wanted: Callable[[Any], bool] = lambda part: True
) -> OnlineMethod:
    """Return the objective with ``setting`` filled in wherever a wanted part leaves it None."""
    filled: dict[str, Any] = {}
    for slot in objective.slot_names():
        filling = getattr(objective, slot)
        parts = filling if isinstance(filling, tuple) else (filling,)
        new = tuple(
            replace(part, **{setting: value}) if wanted(part) and getattr(part, setting, value) is None else part
            for part in parts
        )
        if new != parts:
            filled[slot] = new if isinstance(filling, tuple) else new[0]
    return replace(objective, **filled) if filled else objective


def check_objective(objective: OnlineMethod, group: int, given: frozenset[str]) -> None:
    """Raise ``UserError`` where the trainer cannot serve the objective: which part, what it lacks, and the fix."""
    for slot, part in objective.parts():
        for name in sorted(part.needs - given):
            reason = why_lacking(name, slot)
            raise UserError(f"{slot}={type(part).__name__} needs '{name}': {reason}")
    if group == 1 and objective.group_relative:
        raise UserError(
            f"num_generations=1: {_judge(objective)} compares a completion with others of its prompt; "
            "raise num_generations to at least 2, or take a recipe without a group baseline, such as reinforce"
        )


def check_whole_groups(objective: OnlineMethod, config: OnlineConfig) -> None:
    """Raise ``UserError`` where the loss compares the completions of a prompt and a micro-batch would split them."""
    rows, group = config.per_device_train_batch_size, config.num_generations
    if objective.whole_groups and rows % group:
        raise UserError(
            f"{objective.recipe or type(objective).__name__} compares the completions of a prompt with each other in "
            f"the loss, and per_device_train_batch_size={rows} does not hold whole groups of num_generations={group}; "
            f"set it to a multiple of {group}, with a token_budget where that is more than the memory takes"
        )


def _judge(objective: OnlineMethod) -> str:
    return type(getattr(objective, "advantage", objective)).__name__


def choose_objective(
    config: OnlineConfig, objective: OnlineMethod | None, sources: Sequence[RewardSource], other: Mapping[str, Any]
) -> OnlineMethod:
    """Return the objective that a run's settings name, without weights, once all checks that need no model are passed.

    Args:
        config: settings. objective: in place of the recipe there.
        sources: the reward sources. other: arguments that go to TRL's trainer.
    """
    chosen = compose(objective or config.recipe, config.recipe_settings, config.weighting)
    check_objective(chosen, config.num_generations, supplied(chosen, config, sources, other))
    check_whole_groups(chosen, config)
    check_settings(chosen, config)
    check_soft(chosen, config, other)
    check_turns(chosen, config, other)
    check_hints(chosen, config, other)
    check_tasks(chosen, config.inputs)
    check_preferences(chosen, config.preference_template)
    with_weights(chosen, [weight for source in sources for weight in source.weights])
    with_roles(chosen, [source.role for source in sources for _ in source.names])
    _check_thresholds(chosen, sources)
    if config.reference_model is not None:
        if "ref_logps" not in chosen.needs:
            raise UserError("reference_model is set, but no part of the recipe uses a reference; leave it out")
        check_policy(config.reference_model)
    return chosen


def tell_unread_rewards(objective: OnlineMethod, sources: Sequence[RewardSource]) -> None:
    """Warn of rewards that are logged but not learned from, as the advantage comes from test results alone."""
    part = getattr(objective, "advantage", None)
    if part is None or part.from_rewards or getattr(part, "other_rewards", 0):
        return
    idle = [source.label for source in sources if not gives(source, "results", "turn_results")]
    if idle:
        logger.warning(
            "%s learns from test results alone: %s logged, not learned from; set other_rewards in recipe_settings to "
            "let them act",
            objective.recipe or type(part).__name__,
            f"{idle[0]} is" if len(idle) == 1 else f"{', '.join(idle)} are",
        )
