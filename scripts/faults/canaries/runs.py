"""Canaries in the checkpoints of all three trainers: what a run goes on from is read, and never run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset

from prefopt import assets
from prefopt.trainers.offline import OfflineConfig, align_offline
from prefopt.trainers.online import OnlineConfig, align_online
from prefopt.trainers.reward import RewardConfig, train_reward
from scripts.faults.canaries.outcome import Outcome, attempt
from scripts.faults.canaries.plants import trap

REFUSED = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "pytorch_model.bin", "scaler.pt")
STATE = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "scaler.pt")
QUIET: dict[str, Any] = {
    "use_cpu": True,
    "disable_tqdm": True,
    "logging_steps": 1,
    "save_steps": 1,
    "max_steps": 2,
    "save_strategy": "steps",
    "report_to": [],
}
Run = Callable[[Path, "str | None"], Any]


def pairs() -> Dataset:
    """Return a few pairs in the words of the embedded policy."""
    rows = [
        {"prompt": f"What is {n} plus 2?", "chosen": f"It is {n + 2}.", "rejected": "Maybe 9."} for n in range(1, 9)
    ]
    return Dataset.from_list(rows)


def reward(folder: Path, resume: str | None) -> None:
    config = RewardConfig(output_dir=str(folder), per_device_train_batch_size=4, **QUIET)
    train_reward(assets.path("tiny-policy"), pairs(), config, resume_from=resume)


def offline(folder: Path, resume: str | None) -> None:
    config = OfflineConfig(output_dir=str(folder), per_device_train_batch_size=4, **QUIET)
    align_offline(assets.path("tiny-policy"), pairs(), config, resume_from=resume)


def length(prompts: Any, completions: Any, **columns: Any) -> list[float]:
    """Score by length."""
    return [float(len(str(completion))) for completion in completions]


def online(folder: Path, resume: str | None) -> None:
    config = OnlineConfig(
        output_dir=str(folder), per_device_train_batch_size=4, num_generations=2, max_completion_length=4, **QUIET
    )
    align_online(assets.path("tiny-policy"), pairs().select_columns(["prompt"]), [length], config, resume_from=resume)


RUNS: Mapping[str, Run] = {"reward": reward, "offline": offline, "online": online}


def cases(work: Path) -> Iterator[tuple[str, Run, Path, str, bool]]:
    """Name, run, its folder, the file that is replaced, whether it is bare or in torch's archive."""
    for name, run in RUNS.items():
        run(work / name, None)
        for file in STATE:
            yield f"{name}: {file}", run, work / name, file, True
        yield f"{name}: bare optimizer.pt", run, work / name, "optimizer.pt", False
        yield f"{name}: pytorch_model.bin in place of the weights", run, work / name, "pytorch_model.bin", True


def try_all(work: Path) -> list[Outcome]:
    """Replace one file of a checkpoint at a time, and go on from it.

    What shows that it is ours is taken away: it passes for one of plain transformers, whose hashes nobody knows.
    """
    found = []
    for number, (name, run, folder, file, zipped) in enumerate(cases(work)):
        room = work / f"case-{number}"
        shutil.copytree(folder, room)
        checkpoint = room / "checkpoint-1"
        for ours in ("manifest.json", "training_args.json"):
            (checkpoint / ours).unlink(missing_ok=True)
        if file == "pytorch_model.bin":
            for weights in checkpoint.glob("*.safetensors"):
                weights.unlink()
        trap(checkpoint / file, room / "canary", zipped)
        resume = lambda run=run, room=room, checkpoint=checkpoint: run(room, str(checkpoint))  # type: ignore[misc] # noqa: E731
        found.append(attempt(name, resume, room / "canary", file in REFUSED))
        shutil.rmtree(room)
    return found
