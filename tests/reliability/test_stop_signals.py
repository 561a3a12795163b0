"""A run that is told to stop finishes its step and writes a checkpoint; the run that goes on from it is the same."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file

from prefopt.cli import main
from prefopt.trainers import stop_signals
from prefopt.trainers.games.play import GameConfig, play_game
from prefopt.trainers.stop_signals import StopSignals, TrainingStopped
from scripts.faults.stop_signals import PLACES, SETTINGS, resumed, told_to_stop
from scripts.faults.tiny_trainers import TRAINERS, questions, same_end
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs that were never stopped, each trained once."""
    known: dict[str, Any] = {}

    def of(kind: str, **settings: Any) -> Any:
        name = json.dumps([kind, settings], sort_keys=True)
        if name not in known:
            known[name] = TRAINERS[kind](tmp_path_factory.mktemp("whole"), **settings)
            known[name].train()
        return known[name]

    return of


@pytest.fixture(autouse=True)
def usual_handlers() -> Any:
    """As a process has them that was started at a terminal, whatever started this one."""
    before = [(number, signal.signal(number, handler)) for number, handler in USUAL]
    yield
    for number, handler in before:
        signal.signal(number, handler)


USUAL = [(signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)]


def evaluated(trainer: Any) -> list[int]:
    """Steps that were evaluated after."""
    return [line["step"] for line in trainer.state.log_history if "eval_loss" in line]


LAST_STEP = {"generation": 2, "scoring": 2, "backward": 2, "optimiser": 2, "saving": 3, "evaluation": 2}


@pytest.mark.parametrize(("kind", "place"), [(kind, place) for place, kinds in PLACES.items() for kind in kinds])
def test_the_step_in_hand_is_the_last(kind: str, place: str, tmp_path: Path, whole: Any) -> None:
    """A SIGTERM in the second step, in the evaluation after step 2, or while step 3 is saved: status 143, one
    checkpoint of that very step, and the resumed run ends at the same bits.

    An evaluation has a batch, or two of 4 completions, so the first of them belongs to step 2. Two prompts of 4
    completions make two evaluation batches online.
    """
    settings = SETTINGS
    call = {"saving": 1, "evaluation": 1}.get(place, 2)
    stopped, status = told_to_stop(kind, tmp_path, place, call, **settings)
    assert status == 143
    assert stopped.state.global_step == LAST_STEP[place]
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == [f"checkpoint-{LAST_STEP[place]}"]
    once, again = whole(kind, **settings), resumed(kind, tmp_path, **settings)
    assert same_end(once, again)
    assert evaluated(once) == evaluated(again) == [2, 4, 6]


STRATEGIES = {
    "every epoch": {"save_strategy": "epoch", "eval_strategy": "epoch"},
    "no saving": {"save_strategy": "no", "eval_strategy": "epoch"},
    "the best of epochs": {
        "save_strategy": "best", "eval_strategy": "epoch", "metric_for_best_model": "loss", "greater_is_better": True,
    },
    "the best of steps": {
        "save_strategy": "best", "eval_strategy": "steps", "eval_steps": 1, "metric_for_best_model": "loss",
        "greater_is_better": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", STRATEGIES)
def test_whatever_is_saved_otherwise(name: str, step: int, tmp_path: Path, whole: Any) -> None:
    """Epochs of two steps: stopped in the middle of one and at its end, the checkpoint is there, and evaluations are
    neither lost nor repeated. The loss falls, and greater counts as better, so that after the first evaluation none is
    the best: the strategies alone would write nothing.
    """
    settings = {**STRATEGIES[name], "learning_rate": 1e-3}
    stopped, status = told_to_stop("offline", tmp_path, "backward", step, **settings)
    assert (status, stopped.state.global_step) == (143, step)
    assert (tmp_path / f"checkpoint-{step}").is_dir()
    once, again = whole("offline", **settings), resumed("offline", tmp_path, **settings)
    assert same_end(once, again)
    assert evaluated(once) == evaluated(again)


def test_sampling_in_an_epochs_evaluation_is_drawn_once(tmp_path: Path, whole: Any) -> None:
    """Evaluation samples, and so moves the generator: stopped at an epoch's end it has been done, once, before the
    checkpoint. Eight prompts of 4 completions in batches of 4 are epochs of 8 steps.
    """
    settings = {"eval_strategy": "epoch", "save_strategy": "epoch", "max_steps": 10}
    _, status = told_to_stop("online", tmp_path, "backward", 8, **settings)
    assert status == 143
    once, again = whole("online", **settings), resumed("online", tmp_path, **settings)
    assert evaluated(once)[0] == 8
    assert evaluated(once) == evaluated(again)
    assert same_end(once, again)


def test_a_signal_during_an_epochs_evaluation(tmp_path: Path, whole: Any) -> None:
    """It comes in the evaluation after epoch 1, step 2: that is the last step."""
    settings = STRATEGIES["every epoch"]
    stopped, status = told_to_stop("offline", tmp_path, "evaluation", 1, **settings)
    assert (status, stopped.state.global_step) == (143, 2)
    assert same_end(whole("offline", **settings), resumed("offline", tmp_path, **settings))


def test_what_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One sentence when the signal comes, one that names the checkpoint and the way to go on."""
    told_to_stop("reward", tmp_path, "backward", 2)
    said = capfd.readouterr().err
    assert "SIGTERM: finishing the step in hand and writing a checkpoint; a second signal stops at once." in said
    assert f"Stopped by SIGTERM after step 2 of 6; {tmp_path}/checkpoint-2 holds it all." in said
    assert "To go on: the same call with resume_from=True." in said


def test_a_checkpoint_that_could_not_be_written_is_not_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full when step 2 is saved, and the run may go on without: nothing is said to hold that step."""
    monkeypatch.setattr(torch, "save", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
    _, status = told_to_stop("offline", tmp_path, "backward", 2, on_failed_save="continue")
    said = capfd.readouterr().err
    assert status == 143
    assert not list(tmp_path.glob("checkpoint-*"))
    assert "holds it all" not in said
    assert "Stopped by SIGTERM after step 2 of 6, of which no checkpoint could be written" in said


def test_a_second_signal_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does what it did before: here it raises, amid a backward pass. An echo of the first is no second one."""
    before = signal.signal(signal.SIGTERM, _raise)
    try:
        with StopSignals() as stop:
            trainer = TRAINERS["offline"](tmp_path, callbacks=[stop])

            def signals(gradient: torch.Tensor) -> None:
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGTERM)
                monkeypatch.setattr(stop_signals, "SAME", 0.0)
                signal.raise_signal(signal.SIGTERM)

            next(trainer.model.parameters()).register_hook(signals)
            with pytest.raises(ConnectionAbortedError):
                trainer.train()
        assert trainer.state.global_step == 0
        assert signal.getsignal(signal.SIGTERM) is _raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _raise(number: int, frame: Any) -> None:
    raise ConnectionAbortedError


def test_outside_of_training(capfd: pytest.CaptureFixture[str]) -> None:
    """There is no step to finish: SIGTERM ends the run with 143, Ctrl-C is the interrupt that it always was."""
    with StopSignals(signal.SIGTERM, signal.SIGINT), pytest.raises(SystemExit) as stopped:
        signal.raise_signal(signal.SIGTERM)
    assert stopped.value.code == 143
    said = capfd.readouterr().err
    assert "outside of training" in said
    assert "To go on from the last checkpoint, where there is one: the same call" in said
    with StopSignals(signal.SIGTERM, signal.SIGINT), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_notebook_keeps_its_interrupt(tmp_path: Path) -> None:
    """By default only SIGTERM is heard: an interrupt in a step is ``KeyboardInterrupt``, at once."""
    with StopSignals() as stop:
        trainer = TRAINERS["reward"](tmp_path, callbacks=[stop])
        next(trainer.model.parameters()).register_hook(lambda gradient: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            trainer.train()


def test_what_is_ignored_stays_ignored() -> None:
    """A run that was begun with nohup is not to hear of the terminal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopSignals(signal.SIGTERM, signal.SIGINT):
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_another_thread_hears_nothing(tmp_path: Path) -> None:
    """Python gives signals to the main thread alone: in another one training runs, and no handler is touched."""
    before, ended = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with StopSignals() as stop:
            trainer = TRAINERS["reward"](tmp_path, callbacks=[stop])
            trainer.train()
            ended.append((trainer.state.global_step, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [(6, before)]


def test_a_child_dies_of_it() -> None:
    """A process that a trainer forks, such as a pool's, is ended by SIGTERM as it would be without the handler."""
    with StopSignals():
        child = os.fork()
        if child == 0:
            signal.raise_signal(signal.SIGTERM)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


REWARD = """
import os, signal
from pathlib import Path

calls = 0

def told(prompts, completions, **columns):
    global calls
    calls += 1
    if calls == 2 and (Path(__file__).parent / "stop").exists():
        os.kill(os.getpid(), signal.{name})
    return [len(set(text)) for text in completions]
"""


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_the_command(name: str, status: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """``prefopt align-online`` is told to stop by its own reward function in step 2, and goes on with ``--resume``:
    the policy's file is, byte for byte, that of a run that was not stopped.
    """
    save_tiny(tmp_path / "policy", tiny_llama(hidden=16, layers=1), tiny_tokenizer())
    (tmp_path / "mine.py").write_text(REWARD.replace("{name}", name))
    rows = [{"prompt": f"{i} plus {i}?"} for i in range(4)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(out: str, *flags: str) -> int:
        words = ["--model", str(tmp_path / "policy"), "--data", str(tmp_path / "prompts.jsonl")]
        words += [
            "--rewards",
            json.dumps([{"source": f"{tmp_path}/mine.py:told"}]),
            "--output-dir",
            str(tmp_path / out),
        ]
        words += ["--num-generations", "4", "--per-device-train-batch-size", "4", "--max-completion-length", "4"]
        words += ["--max-steps", "4", "--save-strategy", "no", "--use-cpu", "true", "--disable-tqdm", "true"]
        return main(["align-online", *words, *flags])

    assert run("whole") == 0
    (tmp_path / "stop").touch()
    assert run("stopped") == status
    assert not (tmp_path / "stopped" / "model.safetensors").exists()
    said = capfd.readouterr().err
    assert re.search(rf"Stopped by {name} after step 2 of 4; \S+stopped/checkpoint-2 holds it all", said)
    assert "To go on: the same command with --resume." in said
    (tmp_path / "stop").unlink()
    assert run("stopped", "--resume") == 0
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    ends = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("whole", "stopped")]
    assert ends[0] == ends[1]


@pytest.mark.parametrize("where", [pytest.param("judge", marks=pytest.mark.slow), "training"])
def test_a_game(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped while candidates are judged, and in a training step; the same call again ends at the same policy."""
    start = save_tiny(tmp_path / "base", tiny_llama(hidden=16, layers=1), tiny_tokenizer())
    judged = 0

    def judge(prompts: Any, completions: Any) -> list[float]:
        nonlocal judged
        judged += 1
        if where == "judge" and stopping and judged == 2:
            signal.raise_signal(signal.SIGTERM)
        return [sum(ord(letter) % 7 for letter in text) / (1 + len(text)) for text in completions]

    def play(folder: str) -> Any:
        config = GameConfig(
            output_dir=str(tmp_path / folder), recipe="inpo", iterations=2, max_completion_length=4, use_cpu=True,
            disable_tqdm=True, save_strategy="no", learning_rate=1e-3, per_device_train_batch_size=2,
            completions_at_once=4,
        )  # fmt: skip
        return play_game(start, Dataset.from_dict({"prompt": list(questions(6)["prompt"])}), judge, config)

    stopping = False
    play("whole")
    stopping, judged = True, 0
    original = torch.optim.AdamW.step

    def step(self: Any, *given: Any, **named: Any) -> Any:
        if where == "training" and stopping:
            signal.raise_signal(signal.SIGTERM)
        return original(self, *given, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with StopSignals(), pytest.raises(TrainingStopped):
        play("stopped")
    stopping = False
    play("stopped")
    ends = [load_file(tmp_path / folder / "model.safetensors") for folder in ("whole", "stopped")]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
