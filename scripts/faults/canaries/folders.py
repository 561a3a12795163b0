"""Canaries in model folders and adapters, by every way in which one is loaded."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prefopt import assets
from prefopt.cli import main
from prefopt.errors import UserError
from prefopt.trainers.adapted import with_adapter
from prefopt.trainers.policies import load_policy, policy_config
from prefopt.trainers.rewards.reading import read_source
from reward_models.averaging import average_models
from reward_models.backbones import load_tokenizer
from reward_models.model import RewardModel
from scripts.faults.canaries import plants
from scripts.faults.canaries.outcome import Outcome, attempt

Load = Callable[[Path], Any]


def good_policy(folder: Path) -> Path:
    """Copy the embedded policy."""
    shutil.copytree(assets.path("tiny-policy"), folder)
    return folder


def good_reward(folder: Path) -> Path:
    """Save a reward model with new heads on the embedded policy."""
    RewardModel.from_backbone(assets.path("tiny-policy")).save_pretrained(folder)
    return folder


def good_adapter(folder: Path) -> Path:
    """Save a reward model whose backbone is the embedded policy under an adapter."""
    from prefopt.trainers.adapters import AdapterArguments, add_adapter

    model = RewardModel.from_backbone(good_policy(folder.parent / "base"))
    add_adapter(model, AdapterArguments(use_peft=True, lora_r=2)).save_pretrained(folder)
    return folder


def average_with(good: Path) -> Load:
    """Average a folder with a good one."""
    return lambda folder: average_models([folder, good], folder.parent / "mean")


def score(folder: Path) -> None:
    """`prefopt score`, whose refusal is an exit status."""
    rows = folder.parent / "rows.jsonl"
    rows.write_text('{"prompt": "What is 1 plus 1?", "completion": "2."}\n', encoding="utf-8")
    output = str(folder.parent / "scores.jsonl")
    if main(["score", "--model", str(folder), "--data", str(rows), "--output", output, "--device", "cpu"]):
        raise UserError("score ended with an error")


def serve(folder: Path) -> None:
    """`prefopt serve` of a folder that it refuses."""
    if main(["serve", "--model", str(folder), "--device", "cpu"]):
        raise UserError("serve ended with an error")


def judge(folder: Path) -> None:
    """A reward source of an online run or a game, as a configuration names it."""
    read_source({"source": str(folder)}).load("cpu")


def policy_under(folder: Path) -> None:
    """A policy under the adapter in the folder."""
    with_adapter(load_policy(assets.path("tiny-policy")), folder)


POLICY: Mapping[str, Load] = {
    "policy": load_policy,
    "settings of a policy": policy_config,
    "backbone": RewardModel.from_backbone,
}
REWARD: Mapping[str, Load] = {"reward model": RewardModel.from_pretrained, "score": score, "judge": judge}
ADAPTER: Mapping[str, Load] = {"reward model under an adapter": RewardModel.from_pretrained, "adapter": policy_under}


def cases(work: Path) -> Iterator[tuple[str, Path, Load, plants.Plant, bool]]:
    """Name, good folder, how it is loaded, what is planted, whether it must be refused."""
    policy, reward, adapter = good_policy(work / "policy"), good_reward(work / "reward"), good_adapter(work / "adapter")
    ways = [(policy, how, load) for how, load in POLICY.items()]
    ways += [(reward, how, load) for how, load in {**REWARD, "average": average_with(reward)}.items()]
    for good, how, load in ways:
        for must, group in ((True, plants.REFUSED), (False, plants.HARMLESS)):
            for name, plant in group.items():
                # Settings are read without a look at the weights, whatever these are.
                unread = load is policy_config and name.endswith("named_safetensors")
                yield f"{how}: {name}", good, load, plant, must and not unread
    for good in (policy, reward):
        for name, plant in plants.TOKENIZERS.items():
            yield f"tokenizer of a {good.name}: {name}", good, load_tokenizer, plant, True
    # One plant is enough to see that serving goes through the same loader; what loads would be served without end.
    yield "serve: pickled_weights", reward, serve, plants.pickled_weights, True
    yield "serve: code_in_place_of_a_model", reward, serve, plants.code_in_place_of_a_model, True
    for how, load in ADAPTER.items():
        yield from ((f"{how}: {name}", adapter, load, plant, True) for name, plant in plants.ADAPTERS.items())
    for name, plant in plants.BASES.items():
        yield f"reward model under an adapter: {name}", adapter, RewardModel.from_pretrained, plant, True


def try_all(work: Path) -> list[Outcome]:
    """Plant each canary in a copy of its folder, and load that."""
    found = []
    for number, (name, good, load, plant, must) in enumerate(cases(work)):
        room = work / f"case-{number}"
        room.mkdir()
        shutil.copytree(good, room / "folder")
        plant(room / "folder", room / "canary")
        found.append(attempt(name, lambda load=load, room=room: load(room / "folder"), room / "canary", must))  # type: ignore[misc]
        shutil.rmtree(room)
    return found
