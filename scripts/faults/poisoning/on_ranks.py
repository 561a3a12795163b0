"""The last of several processes alone has numbers that are not finite; run under torch.distributed.

    python -m torch.distributed.run --nproc-per-node 2 -m scripts.faults.poisoning.on_ranks FOLDER SEED

Every process writes ``rank-N.json``: for each trainer what its steps did, and whether its parameters ended as those of
the others did, bit for bit.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from scripts.faults import non_finite
from scripts.faults.poisoning import places
from scripts.faults.poisoning.outcomes import outcome
from scripts.faults.poisoning.steps import Plan, plan_of

STEPS = 9
CASES: dict[str, tuple[Callable[..., Any], Callable[[Any, Plan], None], dict[str, Any]]] = {
    "reward trainer, loss of a row": (non_finite.reward_trainer, places.row_loss, {}),
    "offline, policy": (non_finite.offline_trainer, places.policy_offline, {"gradient_accumulation_steps": 2}),
    "offline, gradient": (non_finite.offline_trainer, places.gradient, {}),
    "online, policy": (non_finite.online_trainer, places.policy_online, {}),
    "online, reference": (
        non_finite.online_trainer,
        places.reference_online,
        {"recipe": {"recipe": "grpo", "beta": 0.1}},
    ),
}


def play(folder: Path, seed: int) -> dict[str, dict[str, Any]]:
    """Run every case on this process; return what its steps did."""
    found = {}
    for number, (name, (make, place, settings)) in enumerate(CASES.items()):
        own = folder / str(number)
        trainer = make(own, max_steps=STEPS, ddp_backend="gloo", **settings)
        rank, ranks = trainer.args.process_index, trainer.accelerator.num_processes
        done = outcome(trainer, plan_of(seed + number, STEPS, rank=ranks - 1), place)
        flat = torch.cat([value.detach().flatten() for value in trainer.model.parameters()])
        everyone = trainer.accelerator.gather(flat[None])
        found[name] = asdict(done) | {"rank": rank, "ranks_agree": bool((everyone == everyone[0]).all())}
    return found


def main(folder: str, seed: str) -> None:
    """Play, and write what was found."""
    torch.set_num_threads(1)
    found = play(Path(folder), int(seed))
    rank = int(os.environ.get("RANK", "0"))
    (Path(folder) / f"rank-{rank}.json").write_text(json.dumps(found), encoding="utf-8")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    # gloo's threads now and then abort while the interpreter shuts down; what was found is in the files by now.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
