"""Run by `test_two_processes_are_one` under torch.distributed: trains, writes what each step logged."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from prefopt.trainers.offline import align_offline
from tests.tiny import tiny_llama, tiny_tokenizer
from tests.trainers.pairs import pairs, quiet

SHOWN = ("loss", "grad_norm", "pair_weight", "rewards/margin", "logps/chosen")


def train(folder: Path, **settings) -> dict:
    config = quiet(
        folder,
        recipe="wpo",
        recipe_settings={"beta": 0.1},
        per_device_train_batch_size=4 // int(os.environ.get("WORLD_SIZE", "1")),
        max_steps=5,
        **settings,
    )
    done = align_offline(tiny_llama(), pairs(10), config, pairs(5), tokenizer=tiny_tokenizer())
    return {
        "lines": [[line[name] for name in SHOWN] for line in done.log if "loss" in line],
        "evaluation": [done.metrics["loss"], done.metrics["rewards/margin"]],
        "weights": done.model.get_output_embeddings().weight.flatten()[:50].tolist(),
    }


def results(out: Path) -> dict:
    return {"live": train(out / "live"), "cached": train(out / "cached", precompute_reference=True)}


def main() -> None:
    out = Path(sys.argv[1])
    found = {**results(out), "world": int(os.environ["WORLD_SIZE"])}
    if os.environ["RANK"] == "0":
        (out / "result.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()
    # gloo's threads now and then abort while the interpreter shuts down; what is tested is in the files by now.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
