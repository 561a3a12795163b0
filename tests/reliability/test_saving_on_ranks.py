"""Two processes write one checkpoint; where one of them fails, both stop, and what was there stays."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from prefopt.trainers.checkpointing import manifest
from prefopt.trainers.checkpointing.promise import promise_at_resume
from prefopt.trainers.checkpointing.verification import verify
from scripts.faults.tiny_trainers import offline
from tests.reliability import save_on_ranks


def test_two_processes(tmp_path: Path) -> None:
    """Checkpoints hold the random numbers of both; a failure on the second at step 6 stops both, with 2 and 4 whole;
    resumed, the run ends at the weights of the one that did not fail.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]
    root = Path(save_on_ranks.__file__).parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [*command, save_on_ranks.__file__, str(tmp_path)], env=environment, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"found_{rank}.json").read_text()) for rank in (0, 1))

    said = manifest.read(tmp_path / "run" / "checkpoint-6")
    assert said.processes == 2
    assert {"rng_state_0.pth", "rng_state_1.pth", "optimizer.pt", "model.safetensors"} <= said.files.keys()
    for found in (first, second):
        assert found["whole"]["said"] == ""
        assert "checkpoint-6" in found["whole"]["valid"]
        assert found["whole"]["best"] in {str(tmp_path / "run" / name) for name in found["whole"]["valid"]}
        assert found["failing"]["valid"] == ["checkpoint-2", "checkpoint-4"]
        assert not [name for name in found["failing"]["names"] if name.startswith("_")]
        assert "checkpoint-6 could not be saved: " in found["failing"]["said"]
        assert "still holds checkpoint-4, checkpoint-2, whole" in found["failing"]["said"]
        assert found["resumed"]["weights"] == found["whole"]["weights"]
    assert "No space left on device" in second["failing"]["said"]
    assert "process 1: OSError: [Errno 28] No space left on device" in first["failing"]["said"]
    alone = promise_at_resume(offline(tmp_path / "one").args, verify(tmp_path / "run" / "checkpoint-6"))
    assert alone.level == 3
    assert "written by 2 processes, resumed by 1" in alone.reasons
