"""Run by `test_saving_on_ranks` under torch.distributed: trains with checkpoints, then fails to save on one process."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import torch

from prefopt.errors import UserError
from prefopt.trainers.checkpointing.verification import verify
from scripts.faults.tiny_trainers import offline, parameters


def run(folder: Path, failing: bool, resume: bool = False) -> dict[str, object]:
    """Train 6 steps with an evaluation and a checkpoint every second; the second process fails at the third."""
    rank = int(os.environ["RANK"])
    trainer = offline(
        folder, per_device_train_batch_size=2, max_steps=6, save_strategy="steps", save_steps=2, ddp_backend="gloo",
        eval_strategy="steps", eval_steps=2, metric_for_best_model="loss", save_total_limit=2,
    )  # fmt: skip
    if failing and rank == 1:
        original = trainer._save_rng_state

        def save(output_dir: str) -> None:
            if trainer.state.global_step == 6:
                raise OSError(errno.ENOSPC, "No space left on device")
            original(output_dir)

        trainer._save_rng_state = save
    said = ""
    try:
        trainer.train(resume_from_checkpoint=resume or None)
    except UserError as error:
        said = str(error)
    trainer.accelerator.wait_for_everyone()
    return {
        "said": said,
        "names": sorted(path.name for path in folder.iterdir()),
        "valid": [path.name for path in sorted(folder.glob("checkpoint-*")) if verify(path).valid],
        "best": trainer.state.best_model_checkpoint,
        "weights": sum(float(value.double().sum()) for value in parameters(trainer).values()),
    }


def main() -> None:
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    found = {"whole": run(out / "run", failing=False), "failing": run(out / "failing", failing=True)}
    found["resumed"] = run(out / "failing", failing=False, resume=True)
    (out / f"found_{os.environ['RANK']}.json").write_text(json.dumps(found))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
