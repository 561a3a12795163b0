"""Where one process of two is told to stop, both do, after the same step."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from scripts.faults.tiny_trainers import TRAINERS
from tests.reliability import stop_on_ranks
from tests.test_module_graph import ROOT
from tests.trainers.test_offline_two_processes import free_port


@pytest.mark.slow
def test_one_is_told_and_both_stop(tmp_path: Path) -> None:
    """Rank 1 is told in step 2: status 143 on both, after step 2, and the resumed run ends at the same bits."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-port", str(free_port()), stop_on_ranks.__file__, str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("Stopped by SIGTERM after step 2 of 5") == len(TRAINERS)
    for kind in TRAINERS:
        assert [(tmp_path / f"{kind}-{rank}.txt").read_text() for rank in (0, 1)] == ["143 after 2"] * 2
        whole, again = (load_file(tmp_path / f"{kind}-{name}.safetensors") for name in ("whole", "again"))
        assert all(torch.equal(value, again[name]) for name, value in whole.items())
