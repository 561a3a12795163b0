"""Canaries in model folders, adapters, checkpoints, caches, data and configurations: nothing that is read may run."""

from __future__ import annotations

import builtins
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefopt import assets
from prefopt.cli import main
from prefopt.errors import UserError
from prefopt.trainers.policies import load_policy, policy_config
from reward_models.averaging import average_models
from reward_models.backbones import load_tokenizer
from reward_models.errors import DataError, ModelError
from reward_models.model import RewardModel
from scripts.faults import plants
from scripts.faults.figure import Figure

MENDABLE = (UserError, ModelError, DataError)
Load = Callable[[Path], Any]


@dataclass(frozen=True)
class Outcome:
    """What came of one canary: whether it fired, and the sentence of the refusal, or None where it loaded."""

    fired: bool
    refusal: str | None

    @property
    def held(self) -> bool:
        """Nothing ran."""
        return not self.fired


def good_policy(folder: Path) -> Path:
    """Copy the embedded policy."""
    shutil.copytree(assets.path("tiny-policy"), folder)
    return folder


def good_reward(folder: Path) -> Path:
    """Save a reward model with new heads on the embedded policy."""
    RewardModel.from_backbone(assets.path("tiny-policy")).save_pretrained(folder)
    return folder


@contextmanager
def willing_user() -> Iterator[None]:
    """Answer yes to every question: a library that asks whether to run code must not be asked by us."""
    asked = builtins.input
    builtins.input = lambda *_: "y"
    try:
        yield
    finally:
        builtins.input = asked


def attempt(load: Callable[[], Any], canary: Path) -> Outcome:
    """Load, and look for the canary. An error that no user can mend is raised as it is."""
    with willing_user():
        try:
            load()
            refusal = None
        except MENDABLE as error:
            refusal = str(error)
    return Outcome(canary.exists(), refusal)


def try_folder(good: Path, plant: plants.Plant, load: Load, work: Path) -> Outcome:
    """Plant a canary in a copy of a good folder, and load it."""
    folder, canary = work / "folder", work / "canary"
    shutil.copytree(good, folder)
    plant(folder, canary)
    return attempt(lambda: load(folder), canary)


def average_with(good: Path) -> Load:
    """Average a folder with a good one."""
    return lambda folder: average_models([folder, good], folder.parent / "mean")


def score_with(folder: Path) -> None:
    """`prefopt score`; its refusal is an exit status."""
    rows = folder.parent / "rows.jsonl"
    rows.write_text('{"prompt": "What is 1 plus 1?", "completion": "2."}\n', encoding="utf-8")
    output = str(folder.parent / "scores.jsonl")
    if main(["score", "--model", str(folder), "--data", str(rows), "--output", output, "--device", "cpu"]):
        raise UserError("score ended with an error")


POLICY_LOADERS: dict[str, Load] = {
    "policy": load_policy,
    "settings of a policy": policy_config,
    "backbone": RewardModel.from_backbone,
}
REWARD_LOADERS: dict[str, Load] = {"reward model": RewardModel.from_pretrained, "score": score_with}


def folders(work: Path) -> Iterator[tuple[str, bool, Outcome]]:
    """Every plant with every loader: its name, whether it must be refused, what came of it."""
    policy, reward = good_policy(work / "policy"), good_reward(work / "reward")
    kinds = [
        (policy, POLICY_LOADERS),
        (reward, REWARD_LOADERS | {"average": average_with(reward)}),
    ]
    number = 0
    for good, loaders in kinds:
        for loader, load in loaders.items():
            for must, group in ((True, plants.REFUSED), (False, plants.HARMLESS)):
                for name, plant in group.items():
                    number += 1
                    room = work / f"case-{number}"
                    room.mkdir()
                    yield f"{loader}: {name}", must, try_folder(good, plant, load, room)
                    shutil.rmtree(room)
        for name, plant in plants.TOKENIZERS.items():
            number += 1
            room = work / f"case-{number}"
            room.mkdir()
            yield f"tokenizer: {name}", True, try_folder(good, plant, load_tokenizer, room)


def inject(seed: int) -> list[Figure]:
    """Plant all canaries; ``seed`` changes nothing, as there is no chance in it."""
    with TemporaryDirectory(prefix="prefopt-security-") as place:
        found = list(folders(Path(place)))
    return [_figure("canaries in model folders that are loaded", found)]


def _figure(name: str, found: list[tuple[str, bool, Outcome]]) -> Figure:
    fired = sum(outcome.fired for _, _, outcome in found)
    held = sum(not outcome.fired and (outcome.refusal is not None or not must) for _, must, outcome in found)
    return Figure(
        name, len(found), held, fired, "lost = canaries that fired; held = refused with a sentence, or unread"
    )
