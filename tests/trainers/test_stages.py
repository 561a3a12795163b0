"""A staged run does every stage once, whatever stops it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from prefopt.errors import UserError
from prefopt.trainers.checkpointing.choice import newest_whole_checkpoint
from prefopt.trainers.stages import RECORD, StagedRun, read_record


class Counting:
    """Work that counts its calls and fails at the first ``failures`` of them."""

    def __init__(self, failures: int = 0) -> None:
        self.calls, self.failures = 0, failures

    def __call__(self, folder: Path) -> dict[str, float]:
        self.calls += 1
        (folder / f"call_{self.calls}").touch()
        if self.calls <= self.failures:
            raise KeyboardInterrupt
        return {"value": 0.1 * self.calls}


def test_a_finished_stage_is_read_not_repeated(tmp_path):
    """The second start returns what the first found, 0.1, and calls nothing."""
    work = Counting()
    assert StagedRun(tmp_path).stage("one", {"a": 1}, work) == {"value": 0.1}
    assert StagedRun(tmp_path).stage("one", {"a": 1}, work) == {"value": 0.1}
    assert work.calls == 1


def test_a_stage_that_was_stopped_is_called_with_its_folder_as_it_was_left(tmp_path):
    """Stage one finished, stage two was stopped in its first call: only two is called again, and sees its file."""
    one, two = Counting(), Counting(failures=1)

    def start() -> list[dict]:
        run = StagedRun(tmp_path)
        return [dict(run.stage("one", {}, one)), dict(run.stage("two", {}, two))]

    with pytest.raises(KeyboardInterrupt):
        start()
    assert not read_record(tmp_path / "two").finished
    assert start() == [{"value": 0.1}, {"value": 0.2}]
    assert (one.calls, two.calls) == (1, 2)
    assert (tmp_path / "two" / "call_1").exists()


def test_a_loop_that_ends_on_what_it_finds_ends_at_the_same_place(tmp_path):
    """Iterations until the value reaches 0.3: three, and again three when the run is started again."""

    def loop(work: Counting) -> int:
        run = StagedRun(tmp_path)
        while not run.records or run.records[-1].result["value"] < 0.3:
            run.stage(f"iteration_{len(run.records):02d}", {}, work)
        return len(run.records)

    first, second = Counting(), Counting()
    assert (loop(first), loop(second)) == (3, 3)
    assert (first.calls, second.calls) == (3, 0)


def test_other_settings_are_refused_by_name(tmp_path):
    StagedRun(tmp_path).stage("one", {"beta": 0.1, "seed": 1}, Counting())
    with pytest.raises(UserError, match=r"one was run with beta = 0\.1, now it is 0\.2"):
        StagedRun(tmp_path).stage("one", {"beta": 0.2, "seed": 1}, Counting())


def test_a_stage_after_a_stage_that_was_run_anew_is_refused(tmp_path):
    """Its result came from a folder that is no more."""
    run = StagedRun(tmp_path)
    run.stage("one", {}, Counting())
    run.stage("two", {}, Counting())
    (tmp_path / "one" / RECORD).unlink()
    again = StagedRun(tmp_path)
    again.stage("one", {}, Counting())
    with pytest.raises(UserError, match="two was run after a stage that has been run anew"):
        again.stage("two", {}, Counting())


def test_a_name_twice_and_a_record_that_is_none(tmp_path):
    run = StagedRun(tmp_path)
    run.stage("one", {}, Counting())
    with pytest.raises(ValueError, match="called twice"):
        run.stage("one", {}, Counting())
    (tmp_path / "one" / RECORD).write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="no record of a stage"):
        StagedRun(tmp_path).stage("one", {}, Counting())


def test_a_checkpoint_that_was_not_written_to_its_end_is_passed_over(tmp_path):
    """Of plain checkpoints 2, 10, 11 and 12 the last has no state and the one before a torn one: 10 it is."""
    for step, text in ((2, "{}"), (10, json.dumps({"global_step": 10})), (11, '{"global'), (12, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        save_file({"weight": torch.ones(1)}, folder / "model.safetensors")
        if text is not None:
            (folder / "trainer_state.json").write_text(text, encoding="utf-8")
    assert newest_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    assert newest_whole_checkpoint(tmp_path / "checkpoint-2") is None


def test_weights_of_a_finished_stage_that_were_changed(tmp_path):
    """The next stage would begin from them: they are noticed when the run is started again."""

    def trains(place):
        save_file({"weight": torch.ones(4)}, place / "model.safetensors")
        return {}

    StagedRun(tmp_path).stage("one", {}, trains)
    weights = tmp_path / "one" / "model.safetensors"
    StagedRun(tmp_path).stage("one", {}, Counting(1))  # whole, not called
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=r"model.safetensors is missing or was changed since 'one' was finished"):
        StagedRun(tmp_path).stage("one", {}, Counting())


KILLED = """
import os, signal, sys
from pathlib import Path
from prefopt.trainers.stages import StagedRun
run = StagedRun(Path(sys.argv[1]))
run.stage("one", {}, lambda folder: {"value": 1})
run.stage("two", {}, lambda folder: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_killed_process_leaves_stage_one_finished_and_stage_two_begun(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert read_record(tmp_path / "one").finished
    two = Counting()
    run = StagedRun(tmp_path)
    assert run.stage("one", {}, Counting(failures=1)) == {"value": 1}
    assert run.stage("two", {}, two) == {"value": 0.1}
