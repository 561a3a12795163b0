"""Two processes that hold a part of each parameter and gradient: what only one of them can see, both act on."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.utils import DistributedType
from torch import nn
from torch.distributed.fsdp import fully_shard

from prefopt.trainers.guards.mixin import SkipNonFiniteSteps
from tests.reliability.guard_bench import ALONE, same


def reduce(value: torch.Tensor, reduction: str) -> torch.Tensor:
    """As accelerate does."""
    torch.distributed.all_reduce(value)
    return value


def sharded_steps(rank: int, folder: str) -> None:
    """Train a layer of which each process has half the rows; write what three steps did.

    Step 2: after the backward pass one entry of the second half, which rank 1 alone holds, becomes infinite.
    """
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    torch.manual_seed(0)
    model: Any = nn.Linear(3, 4, bias=False)
    fully_shard(model, mesh=torch.distributed.device_mesh.init_device_mesh("cpu", (2,)))
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    own = {"num_processes": 2, "process_index": rank, "distributed_type": DistributedType.FSDP, "reduce": reduce}
    guard = SkipNonFiniteSteps(SimpleNamespace(**{**ALONE, **own}), max_consecutive=9)
    found = []
    for step in (1, 2, 3):
        before = local(model, optimiser)
        guard.begin()
        loss = model(torch.ones(2, 3) * (rank + 1)).square().sum()
        loss.backward()
        if step == 2 and rank == 1:
            model.weight.grad.to_local()[0, 0] = torch.inf
        guard.observe(loss, {"row": [rank]})
        guard.decide(model, step, optimiser)
        optimiser.step()
        optimiser.zero_grad()
        found.append([guard.skipping, same(before, local(model, optimiser))])
    Path(folder, f"rank-{rank}.txt").write_text(repr(found))
    torch.distributed.destroy_process_group()


def local(model: Any, optimiser: Any) -> dict[str, Any]:
    """A copy of this process's part of parameter and moments."""
    moments = optimiser.state[model.weight]
    found = {name: value.to_local() if hasattr(value, "to_local") else value for name, value in moments.items()}
    return {name: value.detach().clone() for name, value in {**found, "weight": model.weight.to_local()}.items()}


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
def test_a_shard_that_one_process_holds(tmp_path: Path) -> None:
    """Steps 1 and 3 are taken by both; step 2 by neither, and both parts stay as they were, bit for bit."""
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=sharded_steps, args=(rank, str(tmp_path))) for rank in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
        assert process.exitcode == 0
    for rank in (0, 1):
        assert (tmp_path / f"rank-{rank}.txt").read_text() == repr([[False, False], [True, True], [False, False]])
