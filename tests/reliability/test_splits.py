"""One optimiser step on the same rows is one step, over any number of micro-batches, passes and processes.

Float32 and plain gradient descent at rate 0.1: what differs is the order of sums, so parameters, of size 1
at most, agree to some units of their last place after three steps; 1.2e-7 is the most that was found. The bound is
1e-6, and each case moves its parameters by a thousand times that, see `play`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.reliability import splits_on_ranks
from tests.reliability.splits_on_ranks import CASES, CUTS, furthest, play
from tests.test_module_graph import ROOT
from tests.trainers.test_offline_two_processes import free_port

BOUND = 1e-6


@pytest.mark.parametrize("case", CASES)
def test_micro_batches_and_passes(case: str, tmp_path: Path) -> None:
    """Eight rows at once; in two micro-batches, each of them in passes too; and in four."""
    whole = play(tmp_path / "one", case, "one")
    for cut in list(CUTS)[1:]:
        assert furthest(whole, play(tmp_path / cut, case, cut)) < BOUND, cut


@pytest.mark.slow
def test_processes(tmp_path: Path) -> None:
    """Two processes (gloo) with half of the rows each, in one micro-batch, in two, and those in passes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-port", str(free_port()), splits_on_ranks.__file__, str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    wrong = {}
    for case in CASES:
        whole = play(tmp_path / f"{case} alone", case, "one")
        for cut in ("one", "two", "two, in passes"):
            difference = furthest(whole, load_file(tmp_path / f"{case} {cut}.safetensors"))
            if difference >= BOUND:
                wrong[f"{case}, {cut}"] = difference
    assert wrong == {}
