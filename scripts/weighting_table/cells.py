"""One cell: a weighting and a seed, trained and judged."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from prefopt import assets, recipes
from prefopt.composition import IncompatibleParts
from prefopt.errors import UserError
from prefopt.quickstart.held_out import score
from prefopt.quickstart.sampling import sample
from prefopt.trainers.compose import compose
from prefopt.trainers.online import OnlineConfig, align_online
from prefopt.trainers.preference_prompt import PreferencePrompt
from prefopt.trainers.rewards.reading import read_sources
from prefopt.trainers.rewards.source import RewardSource
from reward_models.data import load_prompts

NAMES = ("right answer", "courtesy", "brevity")
STEPS, PROMPTS, GROUP, LONGEST = 60, 8, 8, 24
LEARNING_RATE = 5e-4
JUDGING_SEED, SAMPLES = 20_000, 2
POLITE = ("Sure!", "Of course!", "Good question!", "Happy to help!")
POLITE_END = ("Glad to help!", "Anything else?", "Have a nice day!")
FIXED = {
    "fixed 1:1:1": (1.0, 1.0, 1.0),
    "fixed 4:1:1": (4.0, 1.0, 1.0),
    "fixed 1:4:1": (1.0, 4.0, 1.0),
    "fixed 1:1:4": (1.0, 1.0, 4.0),
}
TASKS = "task"


@dataclass(frozen=True)
class Setup:
    """What a weighting is trained with beyond its defaults.

    Attributes:
        settings: of the recipe. config: of the trainer.
        roles: of rewards that are judges or costs, by name.
        costs: a reward by name -> the least that is wanted of it; the weighting is given what it lacks of that.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)


SETUPS: dict[str, Setup] = {
    "constrained": Setup(settings={"thresholds": (0.7, 0.7, 0.7), "variant": "mu"}),
    "dynamic_hypervolume": Setup(settings={"visited": "batch"}),
    "high_confidence": Setup(roles={"brevity": "cost"}, costs={"brevity": 0.7}),
    "log_sigmoid": Setup(settings={"references": (0.7, 0.7, 0.7)}),
    "mixture_of_judges": Setup(config={"reference_answer": "answer"}, roles={"right answer": "judge"}),
    "multi_task": Setup(settings={"oversample": 1.0}, config={"task_column": TASKS}),
    "preference_conditioned": Setup(config={"preference_template": "{weights} {prompt}"}),
}
"""By name; a recipe that is not named takes its defaults."""


def courtesy(completions: list[str], **_: Any) -> list[float]:
    """Half for a polite opening, half for a polite closing."""
    return [0.5 * text.startswith(POLITE) + 0.5 * text.rstrip().endswith(POLITE_END) for text in completions]


def sources(setup: Setup, weights: Sequence[float] = (1.0, 1.0, 1.0)) -> list[RewardSource]:
    """The three rewards."""
    right, brief = read_sources(
        [
            {"source": "exact_answer", "name": NAMES[0]},
            {"source": "length", "name": NAMES[2], "settings": {"target": 1, "width": 13, "unit": "words"}},
        ]
    )
    found = []
    for source, weight in zip((right, RewardSource(courtesy, (NAMES[1],)), brief), weights, strict=True):
        name = source.names[0]
        role, least = setup.roles.get(name, "reward"), setup.costs.get(name)
        call = source.call if least is None else lacking(source.call, least)
        found.append(replace(source, call=call, weight=weight, role=role))
    return found


def lacking(call: Any, least: float) -> Callable[..., list[float]]:
    """Return a cost: what the reward lacks of the least that is wanted."""

    def cost(prompts: Any, completions: Any, **columns: Any) -> list[float]:
        return [least - value for value in call(prompts=prompts, completions=completions, **columns)]

    return cost


def names() -> list[str]:
    """Fixed weights, then every recipe of kind weighting."""
    return [*FIXED, *recipes.names("weighting")]


def data(split: str) -> Dataset:
    """Prompts with their task: plus or minus."""
    prompts = load_prompts(assets.path(f"prompts/{split}.jsonl"))
    return prompts.map(lambda row: {TASKS: "minus" if "minus" in row["prompt"] else "plus"})


def run_cell(name: str, seed: int) -> dict[str, Any]:
    """Train and judge; where the recipe is refused, its sentence stands for the figures."""
    begin, setup = time.perf_counter(), SETUPS.get(name, Setup())
    chosen, inside = recipe_of(name, setup)
    weighed = sources(setup, FIXED.get(name, (1.0, 1.0, 1.0)))
    with tempfile.TemporaryDirectory(prefix="weighting-table-") as folder:
        try:
            settings = OnlineConfig(
                output_dir=folder,
                seed=seed,
                max_steps=STEPS,
                per_device_train_batch_size=PROMPTS * GROUP,
                num_generations=GROUP,
                max_completion_length=LONGEST,
                learning_rate=LEARNING_RATE,
                save_strategy="no",
                logging_steps=1,
                use_cpu=True,
                disable_tqdm=True,
                **chosen,
                **setup.config,
            )
            done = align_online(assets.path("tiny-policy"), data("train"), weighed, settings)
        except (UserError, ValueError, IncompatibleParts) as error:
            return {"name": name, "seed": seed, "refused": str(error), "setup": asdict(setup)}
        found = {
            "name": name,
            "seed": seed,
            "held_out": judge(Path(folder)),
            "history": [
                [reached(line, one, setup) for one in NAMES] for line in done.log if f"reward/{NAMES[0]}" in line
            ],
            "inside": inside,
            "skipped": done.skipped_steps,
            "seconds": round(time.perf_counter() - begin, 1),
            "setup": asdict(setup),
        }
    return found


def recipe_of(name: str, setup: Setup) -> tuple[dict[str, Any], str]:
    """Return the trainer's settings, and what stands around the weighting: GRPO wherever it takes it."""
    if name in FIXED:
        return {"recipe": "grpo"}, "grpo"
    weighting = {"recipe": name, **setup.settings}
    try:
        compose("grpo", {}, weighting)
    except UserError:
        return {"recipe": name, "recipe_settings": dict(setup.settings)}, name
    return {"recipe": "grpo", "weighting": weighting}, "grpo"


def reached(line: Mapping[str, Any], name: str, setup: Setup) -> float:
    """Return the logged mean of a reward, also where the weighting was given a cost."""
    value = float(line[f"reward/{name}"])
    return setup.costs[name] - value if name in setup.costs else value


def judge(folder: Path) -> list[float]:
    """Return the mean of each reward on the held-out prompts; a policy that reads weights is given equal ones."""
    prompts = data("test")
    asked = list(prompts["prompt"])
    if (folder / "preference.json").exists():
        form = PreferencePrompt.of_folder(folder)
        asked = [form(prompt, dict.fromkeys(NAMES, 1.0)) for prompt in asked]
    completions = sample(folder, asked, SAMPLES, LONGEST, JUDGING_SEED)
    scores = score(completions, prompts, sources(Setup()))
    return [float(value) for value in scores.nanmean(0)]


def base() -> list[float]:
    """Return the rewards of the policy before training."""
    return judge(assets.path("tiny-policy"))


def path_of(folder: Path, name: str, seed: int) -> Path:
    """Where a cell is kept."""
    return folder / f"{name.replace(' ', '_').replace(':', '-')}-{seed}.json"


def play(folder: Path, name: str, seed: int) -> Path:
    """Run a cell and keep it."""
    torch.set_num_threads(1)
    path = path_of(folder, name, seed)
    path.write_text(json.dumps(run_cell(name, seed), default=str) + "\n", encoding="utf-8")
    return path
