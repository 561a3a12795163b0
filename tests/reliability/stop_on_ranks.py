"""Two processes, of which the second alone is told to stop: python -m torch.distributed.run ... FOLDER."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from prefopt.trainers.checkpointing.choice import newest_whole_checkpoint
from prefopt.trainers.stop_signals import StopSignals, TrainingStopped
from scripts.faults.tiny_trainers import TRAINERS, backbone, parameters

SETTINGS: dict[str, Any] = {"per_device_train_batch_size": 2, "max_steps": 5}


def main(folder: str) -> None:
    """Train to the end; be stopped in step 2; go on. Rank 0 writes both ends, each its status."""
    torch.set_num_threads(1)
    backbone()
    rank, out = int(os.environ["RANK"]), Path(folder)
    for kind, build in TRAINERS.items():
        whole = build(out / f"{kind}-whole", **SETTINGS)
        whole.train()
        status = None
        with StopSignals() as stop:
            stopped = build(out / f"{kind}-stopped", callbacks=[stop], **SETTINGS)
            if rank == 1:
                tell_in_step_2(stopped)
            try:
                stopped.train()
            except TrainingStopped as told:
                status = told.code
        again = build(out / f"{kind}-stopped", **SETTINGS)
        again.train(resume_from_checkpoint=newest_whole_checkpoint(out / f"{kind}-stopped"))
        (out / f"{kind}-{rank}.txt").write_text(f"{status} after {stopped.state.global_step}")
        if rank == 0:
            for name, run in (("whole", whole), ("again", again)):
                save_file(parameters(run), out / f"{kind}-{name}.safetensors")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    # gloo's threads now and then abort while the interpreter shuts down; what is tested is in the files by now.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def tell_in_step_2(trainer: Any) -> None:
    """Send this process SIGTERM in its second backward pass."""
    seen = []

    def told(gradient: torch.Tensor) -> None:
        seen.append(1)
        if len(seen) == 2:
            signal.raise_signal(signal.SIGTERM)

    next(trainer.model.parameters()).register_hook(told)


if __name__ == "__main__":
    main(sys.argv[1])
