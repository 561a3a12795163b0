"""Run by `test_resume_on_processes` under torch.distributed: a run of each trainer, and the same resumed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from scripts.faults.resuming import offline_cases as offline
from scripts.faults.resuming import online_cases as online
from scripts.faults.resuming import reward_cases as reward
from scripts.faults.resuming.equality import differences, run

KINDS = ("reward", "offline", "online")
STEP = 2


def trainer(kind: str, folder: Path, **more: Any) -> Any:
    """Return a trainer whose optimiser steps take four rows, or a group of four; plain descent, so that sums add up."""
    plain = {"optim": "sgd", "learning_rate": 0.1, "lr_scheduler_type": "constant", "max_grad_norm": 0.0, **more}
    if kind == "reward":
        return reward.trainer(folder, "bradley_terry", count=12, max_steps=6, **plain)
    if kind == "offline":
        return offline.trainer(folder, recipe="bco", max_steps=6, warmup_steps=0, **plain)
    return online.trainer(folder, "tri_factor", **{"steps_per_generation": 4, "max_steps": 6, **plain})


def watched(found: Any) -> list[list[str]]:
    """Return a list that will hold the rows of this process, step by step."""
    rows: list[list[str]] = []
    original = found.training_step

    def step(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        number = found.state.global_step
        rows.extend([] for _ in range(number + 1 - len(rows)))
        loss = original(model, inputs, *args, **kwargs)
        rows[number] += _rows(inputs)
        return loss

    found.training_step = step
    return rows


def _rows(inputs: Any) -> list[str]:
    if not isinstance(inputs, Mapping):
        return [row["prompt"] for row in inputs]
    real = inputs["weight"] > 0 if "weight" in inputs else torch.ones(len(inputs["row"]), dtype=torch.bool)
    return [str(one) for one, counts in zip(inputs["row"].tolist(), real.tolist(), strict=True) if counts]


def main(out: Path) -> None:
    """Train all, and go on from a checkpoint with as many processes; each writes its rows and what is not the same."""
    for kind in KINDS:
        rows: list[list[list[str]]] = []

        def make(folder: Path, kind: str = kind, rows: list[Any] = rows) -> Any:
            found = trainer(kind, folder, per_device_train_batch_size=2)
            rows.append(watched(found))
            return found

        whole = run(make, out / kind / "whole")
        again = run(make, out / kind / "again", out / kind / "whole" / f"checkpoint-{STEP}")
        rank = whole.trainer.accelerator.process_index
        again.history = whole.history if rank else again.history  # which the first process writes
        differing = differences(whole, again, STEP)
        (out / kind / f"rows_{rank}.json").write_text(json.dumps(rows[0]), encoding="utf-8")
        (out / kind / f"differing_{rank}.json").write_text(json.dumps(differing), encoding="utf-8")
        if rank == 0:
            model = whole.trainer.accelerator.unwrap_model(whole.trainer.model)
            weights = {name: one.detach().clone() for name, one in model.named_parameters()}
            save_file(weights, out / kind / "end.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    # gloo's threads now and then abort while the interpreter shuts down; what is tested is in the files by now.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
