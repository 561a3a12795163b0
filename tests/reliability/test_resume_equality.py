"""A resumed run is the run that was never stopped, bit for bit on a CPU: every trainer, loss, recipe and weighting.

The cases are those of `scripts.faults.resume`: some of them here, the whole product under the marker ``slow``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

import prefopt
from prefopt import recipes
from prefopt.composition import StatefulPart
from prefopt.trainers.offline import OfflineConfig, offline_objective
from scripts.faults.resume import PRODUCTS
from scripts.faults.resuming import offline_cases as offline
from scripts.faults.resuming import online_cases as online
from scripts.faults.resuming import reward_cases as reward
from scripts.faults.resuming.equality import Case, tried

ONLINE = {
    "canon": (3, 2, 1, 1),
    "capo": (3, 4, 2, 2),
    "constrained": (3, 2, 1, 1),
    "ctwa": (4, 2, 2, 1),
    "dynamic_gradient": (3, 4, 1, 1),
    "dynamic_hypervolume": (3, 2, 1, 2),
    "epo": (3, 2, 2, 3),
    "fair_welfare": (1, 1, 1, 1),
    "high_confidence": (3, 4, 1, 3),
    "multi_task": (4, 2, 1, 1),
    "preference_conditioned": (3, 2, 1, 1),
    "q_hawkeye": (3, 1, 2, 1),
    "rank_learning": (3, 2, 1, 2),
    "tchebycheff": (1, 2, 1, 1),
    "tri_factor": (3, 4, 2, 1),
    "router_shift": (3, 2, 1, 1),
    "reinforce, running baseline": (3, 4, 1, 1),
    "grpo, reference": (6, 2, 1, 3),
    "grpo, adapter with dropout": (4, 2, 1, 2),
    "grpo, token budget": (1, 2, 2, 1),
    "gae, critic": (3, 2, 1, 1),
    "dynamic_hypervolume, evaluated": (3, 2, 1, 1),
    "seeupo, step by step": (3, 2, 2, 1),
}
"""Recipe or entry of `online.MOVING` -> step of the checkpoint, micro-steps a generation, passes, accumulation."""
OFFLINE = {
    "aot": (3, 2),
    "bco": (3, 1),
    "bco, prompts matched": (5, 2),
    "bco_pair": (3, 3),
    "kto": (5, 1),
    "mah_dpo": (3, 1),
    "multi_level_dpo": (3, 1),
    "preference_degree": (5, 2),
    "snips": (3, 2),
    "tr_dpo": (3, 1),
    "adapter with dropout": (3, 2),
    "aot and bco_pair": (5, 1),
    "awr, with a critic": (3, 1),
    "moved adapter": (3, 1),
    "precomputed reference": (5, 1),
    "shuffled with dropout": (3, 3),
    "token budget": (3, 2),
}
"""Recipe or entry of `offline.MORE` -> step of the checkpoint, accumulation."""
REWARD = {
    "bradley_terry": (4, {"train_sampling_strategy": "random", "disable_dropout": False}),
    "goal_conditioned": (4, {"gradient_accumulation_steps": 2}),
    "groupwise_pairwise": (3, {}),
    "multi_level": (4, {}),
    "process_reward": (4, {"token_budget": 60}),
    "process_advantage": (3, {"gradient_accumulation_steps": 3}),
    "rao_kupper": (7, {"lora": True, "disable_dropout": False}),
    "safety": (1, {}),
    reward.HEADS: (4, {"gradient_accumulation_steps": 2}),
}
"""Loss -> step of the checkpoint, and what is around it."""


def fast() -> Iterator[Case]:
    """The cases that are tried each time, with a checkpoint at the multiples of their step alone."""
    for loss, (step, more) in REWARD.items():
        yield reward.of(loss, step, "here", save_steps=step, **more)
    for name, (step, together) in OFFLINE.items():
        yield offline.of(name, step, gradient_accumulation_steps=together, save_steps=step)
    for name, (step, *where) in ONLINE.items():
        yield online.of(name, step, *where, save_steps=step)


@pytest.mark.parametrize("case", list(fast()), ids=lambda case: case.name)
def test_equal(case: Case, tmp_path: Path) -> None:
    """Micro-batches, weights, moments, schedule, states, random numbers, callbacks and every logged figure."""
    assert [differing for _, differing in tried([case], tmp_path)] == [[]]


def every_run() -> list[tuple[str, list[Case]]]:
    """All cases, by the uninterrupted run that they share."""
    found = (case for product in PRODUCTS.values() for case in product())
    return [(name, list(some)) for name, some in groupby(found, key=lambda case: case.made_of)]


@pytest.mark.slow
@pytest.mark.parametrize("cases", [some for _, some in every_run()], ids=[name for name, _ in every_run()])
def test_equal_at_every_step(cases: list[Case], tmp_path: Path) -> None:
    """The same after each of the steps at which the product saves."""
    assert {case.name: differing for case, differing in tried(cases, tmp_path) if differing} == {}


def test_no_stateful_recipe_is_left_out() -> None:
    """Recipes and weightings with a state, those that look at whole batches, and all losses are in the tables above."""
    stateful = {name for name in recipes.names("offline") if name not in offline.STAGED and _has_state(name)}
    assert stateful <= OFFLINE.keys()
    assert set(online.stateful()) <= ONLINE.keys()
    assert reward.lacking() == []


def test_no_stateful_part_is_left_out() -> None:
    """Each class of part that has a state belongs to the objective of a case, whatever setting puts it there."""
    for module in pkgutil.walk_packages(prefopt.__path__, "prefopt."):
        if module.name.split(".")[1] in ("online", "offline", "weighting"):
            importlib.import_module(module.name)
    here = {type(part) for objective in _objectives() for _, part in objective.parts()}
    # Other tests of the same process make parts of their own.
    kinds = {kind for kind in _below(StatefulPart) if kind.__module__.startswith("prefopt.")}
    lacking = {kind.__name__ for kind in kinds if kind not in here and not kind.__subclasses__()}
    assert lacking == set()


def _objectives() -> Iterator[Any]:
    for name in ONLINE:
        beside = online.MOVING.get(name, {"recipe": name})
        yield recipes.build(beside["recipe"], **beside.get("recipe_settings", {}))
    for name in OFFLINE:
        settings = {"recipe": name, **offline.SETTINGS.get(name, {}), **offline.MORE.get(name, {})}
        known = {key: settings[key] for key in ("recipe", "recipe_settings") if key in settings}
        yield offline_objective(OfflineConfig(output_dir="unused", use_cpu=True, **known))


def _has_state(name: str) -> bool:
    objective = recipes.build(name)
    # AOT over single responses looks at the same sorted batch as over pairs.
    surveyed = getattr(objective, "scope", "row") == "batch" and name != "aot_unpaired"
    reference = getattr(objective, "reference", None)
    return bool(objective.init_state()) or surveyed or hasattr(reference, "every")


def _below(kind: type) -> Iterator[type]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)
