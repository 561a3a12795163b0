"""Runs of a few steps on however many processes they are started with; rank 0 writes losses and parameters.

python -m tests.trainers.online.on_ranks FOLDER ROWS_PER_DEVICE CASE ...
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from prefopt.trainers.rewards.scores import RewardSourceError
from tests.trainers.online.support import LengthSuite, losses, short, token_mean, trainer, weights

RECIPES: dict[str, Any] = {
    "plain": {"recipe": "gdpo", "aggregate": "dapo", "regularise": {"recipe": "grpo", "beta": 0.1}},
    "stateful": {"recipe": "reinforce", "baseline_momentum": 0.5},
    "suite": "verpo",
    "mini_batch": {"recipe": "m2po", "threshold": 1e-9},
    "groups": "gvpo",
    "critic": "gae",
    "curvature": {"recipe": "capo", "learning_rate": 1e-2},
    "demonstrations": "hpt",
    "spread": "tw_grpo",
    "prompts": "pro_grpo",
    "told": "intro",
    "cuts": "segment_chain",
    "turns": "seeupo",
    "tasks": {"recipe": "multi_task", "oversample": 1.0},
    "preferences": "preference_conditioned",
    "gram": {"recipe": "dynamic_gradient", "clip": None, "rate": 3.0},
    "common_direction": "mgda",
    "front": {"recipe": "dynamic_hypervolume", "visited": "batch"},
    "weights": {"recipe": "ctwa", "targets": 1.0, "learning_rate": 0.5},
    "raises": "grpo",
    "non_finite": "grpo",
}


def fails_on_rank_1(prompts: Any, completions: Any, completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Raises on the second process alone."""
    if torch.distributed.is_initialized() and torch.distributed.get_rank() == 1:
        raise RuntimeError("only here")
    return token_mean(prompts, completions, completion_ids)


def two_tokens_a_turn(prompts: Any, completions: Any, completion_ids: list[list[int]], **_: Any) -> list[list[int]]:
    """Completions of 2 to 5 tokens have one to three turns."""
    return [[place // 2 for place in range(len(ids))] for ids in completion_ids]


SOURCES: dict[str, Any] = {"raises": [fails_on_rank_1, short], "suite": [LengthSuite(ragged=True)]}


SETTINGS: dict[str, Any] = {
    "mini_batch": {"num_iterations": 2},
    # Two processes with 2 rows each hold no group of 4; with one of 2 they do.
    "groups": {"num_generations": 2},
    "curvature": {"num_iterations": 2},
    "demonstrations": {"demonstration": "answer"},
    "told": {"answer_prompt": "answer"},
    "cuts": {"continuations": 2},
    "turns": {"inputs": {"turn_ids": two_tokens_a_turn}, "num_iterations": 3},
    "tasks": {"task_column": "answer"},
    "preferences": {"preference_template": "{prompt} {weights}"},
}


def play(folder: Path, rows: int, case: str) -> None:
    """Train three steps of two micro-batches."""
    run = trainer(
        folder,
        rewards=SOURCES.get(case, [token_mean, short]),
        recipe=RECIPES[case],
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=2,
        steps_per_generation=2,
        max_steps=3,
        optim="sgd",
        learning_rate=0.1,
        seed=3,
        **SETTINGS.get(case, {}),
    )
    if case == "non_finite":
        poison_last_rank(run)
    try:
        run.train()
    except RewardSourceError as error:
        (folder / f"error_{run.accelerator.process_index}.txt").write_text(str(error))
        return
    if run.accelerator.is_main_process:
        lines = [{k: v for k, v in line.items() if k != "step_time"} for line in run.state.log_history]
        result = {"losses": losses(run), "lines": lines[:-1], "skipped": run.finite_steps.skipped}
        (folder / "result.json").write_text(json.dumps(result))
        save_file(weights(run.model), folder / "end.safetensors")


def resume(folder: Path, rows: int) -> None:
    """Five steps with sampling, saved after three inside a buffer of four; then the last two again, from there."""
    settings: dict[str, Any] = {
        "fixed": False,
        "per_device_train_batch_size": rows,
        "steps_per_generation": 4,
        "max_steps": 5,
        "save_strategy": "steps",
        "save_steps": 3,
        "temperature": 1.3,
    }
    whole = trainer(folder, **settings)
    whole.train()
    again = trainer(folder, **settings)
    again.train(resume_from_checkpoint=str(folder / "checkpoint-3"))
    if again.accelerator.is_main_process:
        same = all(torch.equal(one, weights(again.model)[name]) for name, one in weights(whole.model).items())
        (folder / "result.json").write_text(json.dumps({"same": same}))


def poison_last_rank(run: Any) -> None:
    """Make the second step's loss NaN on the last process."""
    original = run.micro_batch_loss

    def spy(model: Any, batch: Any) -> torch.Tensor:
        loss = original(model, batch)
        last = run.accelerator.process_index == run.accelerator.num_processes - 1
        return loss * torch.nan if last and run.state.global_step == 1 else loss

    run.micro_batch_loss = spy


def main(folder: str, rows: str, *cases: str) -> None:
    """Play every case in a folder of its own."""
    torch.set_num_threads(1)
    for case in cases:
        own = Path(folder) / case
        own.mkdir(parents=True, exist_ok=True)
        if case == "resume":
            resume(own, int(rows))
        else:
            play(own, int(rows), case)
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
        # gloo's threads now and then abort while the interpreter shuts down; what is tested is in the files by now.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
