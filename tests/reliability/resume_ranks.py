"""Run by `test_resume_on_fewer_processes` under torch.distributed: one uninterrupted run of each trainer."""

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

KINDS = ("reward", "offline", "online")


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
    """Train all; each process writes its rows, the first one weights and state."""
    for kind in KINDS:
        found = trainer(kind, out / kind / "whole", per_device_train_batch_size=2)
        rows = watched(found)
        found.train()
        rank = found.accelerator.process_index
        (out / kind / f"rows_{rank}.json").write_text(json.dumps(rows), encoding="utf-8")
        if rank == 0:
            model = found.accelerator.unwrap_model(found.model)
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
