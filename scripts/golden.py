"""Fifty steps of ten recipes, as they were: ``python -m scripts.golden [NAME ...] [--write]``.

Each recipe trains a tiny model on rows that are always the same, and what is written down every fifth step (loss, norm
of all parameters, norm of the gradient) is compared with ``tests/reliability/golden/NAME.json``; so is the quality at
the end, of which more is better. Online completions are given, not sampled: near a tie, one digit of rounding would
sample another token, and the runs would part. Plain gradient descent, as Adam divides by gradients near 0.

Tolerance: the same fifty steps in the arithmetic of three processors (``ATEN_CPU_CAPABILITY=default``, ``avx2`` and
``avx512``, with one thread and with four) differ by at most 1.1e-5 of a figure, and by less than 1e-6 in all recipes
but one; `TOLERANCE` is about twenty times that. A run whose quality is lower than the stored one by more fails also
where its course is another.

When ``--write`` is right: a change that is meant to change what is computed, or a new version of a library, with
figures before and after in the commit's message, and a quality that is not lower. Never because the test is red.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import TrainerCallback

from prefopt.trainers.online import OnlineTrainer
from scripts.faults import tiny_trainers
from tests.trainers.online import support

FOLDER = Path(__file__).parents[1] / "tests" / "reliability" / "golden"
STEPS, EVERY = 50, 5
TOLERANCE = 2e-4
SMALL = 1e-2
NORM = "parameter_norm"
SETTINGS: dict[str, Any] = {"max_steps": STEPS, "optim": "sgd", "logging_steps": EVERY}


class Norms(TrainerCallback):
    """Norm of all parameters, in float64, every fifth step."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take one."""
        if state.global_step % EVERY == 0:
            squares = [one.detach().double().pow(2).sum() for one in kwargs["model"].parameters()]
            self.found.append(math.sqrt(sum(map(float, squares))))


def online(folder: Path, recipe: Any) -> tuple[list[dict[str, Any]], list[float], float]:
    """Train on given completions. Quality: mean of rewards, with completions as likely as the policy finds them."""
    norms = Norms()
    run = support.trainer(
        folder, recipe=recipe, callbacks=[norms], model=tiny_trainers.policy(), learning_rate=0.05, **SETTINGS
    )
    run.train()
    return run.state.log_history, norms.found, expected_reward(run)


@torch.no_grad()
def expected_reward(run: OnlineTrainer) -> float:
    """Mean over prompts of ``sum_k softmax_k(log pi(y_k | x)) (r_1 + r_2)(y_k)`` over their four completions."""
    asked = [prompt for prompt in support.prompts()["prompt"] for _ in range(support.GROUP)]
    drawn = support.fixed_rollouts(asked, run)
    found = []
    for prompt, answer in zip(drawn["prompt_ids"], drawn["completion_ids"], strict=True):
        logits = run.model.eval()(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].double()
        logps = logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).sum()
        reward = sum(source([], [], [answer])[0] for source in (support.token_mean, support.short))
        found.append((float(logps), reward))
    logps, rewards = torch.tensor(found, dtype=torch.float64).view(-1, support.GROUP, 2).unbind(-1)
    return float((logps.softmax(-1) * rewards).sum(-1).mean())


def offline(folder: Path, recipe: Any) -> tuple[list[dict[str, Any]], list[float], float]:
    """Train on pairs. Quality: margin of rewards on the training pairs."""
    norms = Norms()
    run = tiny_trainers.offline(folder, recipe, callbacks=[norms], learning_rate=0.1, **SETTINGS)
    run.train()
    metrics = run.evaluate()
    key = "eval_rewards/margin"
    quality = (
        metrics[key] if key in metrics else metrics["eval_rewards/desirable"] - metrics["eval_rewards/undesirable"]
    )
    return [line for line in run.state.log_history if "eval_loss" not in line], norms.found, quality


def reward(folder: Path, heads: Sequence[str]) -> tuple[list[dict[str, Any]], list[float], float]:
    """Train a reward model. Quality: margin on held-out pairs."""
    norms = Norms()
    run = tiny_trainers.reward(folder, heads=tuple(heads), callbacks=[norms], learning_rate=0.003, **SETTINGS)
    run.train()
    quality = run.evaluate()["eval_margin"]
    return [line for line in run.state.log_history if "eval_loss" not in line], norms.found, quality


RECIPES: Mapping[str, tuple[Callable[..., Any], Any]] = {
    "grpo": (online, "grpo"),
    "dapo": (online, "dapo"),
    "ngrpo": (online, {"recipe": "ngrpo", "reward_max": 3.0}),
    "reinforce": (online, {"recipe": "reinforce", "baseline_momentum": 0.9}),
    "gdpo": (online, "gdpo"),
    "constrained": (online, {"recipe": "constrained", "thresholds": [0.8, 0.7], "start": 1.0}),
    "dpo": (offline, "dpo"),
    "kto": (offline, "kto"),
    "wpo": (offline, "wpo"),
    "bradley_terry": (reward, ["score"]),
    "two_heads": (reward, ["helpful", "short"]),
}


def course(name: str) -> dict[str, Any]:
    """Train a recipe; return what is compared."""
    train, settings = RECIPES[name]
    with TemporaryDirectory(prefix="prefopt-golden-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lines, norms, quality = train(Path(folder), settings)
    logged = [line for line in lines if "loss" in line]
    return {
        "loss": [line["loss"] for line in logged],
        "grad_norm": [line["grad_norm"] for line in logged],
        NORM: norms,
        "quality": quality,
    }


def stored(name: str) -> dict[str, Any]:
    """What was written down."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def furthest(now: Mapping[str, Any], then: Mapping[str, Any]) -> tuple[float, str]:
    """Largest difference of two courses, and where; relative to the largest value of its figure in the course.

    Losses count as `SMALL` at least: where a step is on the samples' own policy, one of advantages that sum to 0 is 0
    but for rounding.
    """
    worst = (0.0, "nowhere")
    for name in ("loss", "grad_norm", NORM):
        size = max(SMALL, *map(abs, then[name]))
        if len(now[name]) != len(then[name]):
            return math.inf, f"{name}: {len(now[name])} values for {len(then[name])}"
        for place, (one, other) in enumerate(zip(now[name], then[name], strict=True), 1):
            if abs(one - other) / size > worst[0]:
                worst = (abs(one - other) / size, f"{name} at step {place * EVERY}")
    return worst


def fallen(now: Mapping[str, Any], then: Mapping[str, Any]) -> float:
    """By how much of itself the quality at the end is lower than it was; negative where it is higher."""
    return float((then["quality"] - now["quality"]) / abs(then["quality"]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, or write; 1 where a course has changed."""
    parser = argparse.ArgumentParser(prog="python -m scripts.golden", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}; all where none is given")
    parser.add_argument("--write", action="store_true", help="write down what is found; the module says when")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table = Table("recipe", "quality", "was", "furthest", "where", title="Courses of 50 steps", title_justify="left")
    changed = False
    for name in chosen.names or RECIPES:
        now, file = course(name), FOLDER / f"{name}.json"
        then = stored(name) if file.exists() else now
        if chosen.write:
            FOLDER.mkdir(exist_ok=True)
            file.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        far, where = furthest(now, then)
        changed |= far > TOLERANCE or fallen(now, then) > TOLERANCE
        table.add_row(name, f"{now['quality']:.5f}", f"{then['quality']:.5f}", f"{far:.1e}", where if far else "")
    Console().print(table)
    return int(changed and not chosen.write)


if __name__ == "__main__":
    raise SystemExit(main())
