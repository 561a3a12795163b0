"""A run that is killed and resumed ends at the same bits as one that is not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from prefopt.errors import UserError
from prefopt.trainers.checkpointing.choice import checkpoint_to_resume, newest_whole_checkpoint
from prefopt.trainers.history import read_history
from tests.trainers.online.support import furthest, prompts, trainer, weights


def run(folder: Path, resume: bool = False, **settings: Any) -> Any:
    """Train with sampling on; ``resume`` goes on from the first checkpoint."""
    one = trainer(folder, fixed=False, temperature=1.3, save_strategy="steps", **settings)
    one.train(resume_from_checkpoint=str(sorted(folder.glob("checkpoint-*"))[0]) if resume else None)
    return one


CASES: dict[str, dict[str, Any]] = {
    "inside a buffer": {"steps_per_generation": 4, "save_steps": 3},
    "second pass over a buffer": {"num_iterations": 2, "save_steps": 3},
    "at the end of a buffer": {"steps_per_generation": 2, "save_steps": 4},
    "accumulation, inside": {"steps_per_generation": 4, "gradient_accumulation_steps": 2, "save_steps": 3},
    "in the second epoch": {"save_steps": 5, "data": prompts(8)},
    "with a reference": {"recipe": {"recipe": "grpo", "beta": 0.1}, "steps_per_generation": 2, "save_steps": 3},
    "mini-batch": {
        "recipe": {"recipe": "m2po", "threshold": 1e-9},
        "steps_per_generation": 4,
        "gradient_accumulation_steps": 2,
        "num_iterations": 2,
        "save_steps": 3,
    },
    "mini-batch, out of step with generation": {
        "recipe": {"recipe": "capo", "learning_rate": 1e-2},
        "steps_per_generation": 3,
        "gradient_accumulation_steps": 2,
        "save_steps": 3,
        "per_device_train_batch_size": 4,
    },
    "critic, inside": {
        "recipe": {"recipe": "gae", "value_bound": 0.2},
        "critic_learning_rate": 0.05,
        "steps_per_generation": 2,
        "save_steps": 3,
    },
    "soft thoughts": {"recipe": "soft_grpo", "soft_tokens": 2, "steps_per_generation": 2, "save_steps": 3},
    "candidates drawn in the loss": {"recipe": "intro", "answer_prompt": "answer", "save_steps": 3},
    "turn by turn, inside a pass": {
        "recipe": "seeupo",
        "steps": "regex:(?<=.)(?=.)",
        "num_iterations": 3,
        "steps_per_generation": 2,
        "save_steps": 3,
    },
    "hints": {"recipe": "adhint", "reference_answer": "answer", "steps_per_generation": 2, "save_steps": 3},
    "whole groups": {"recipe": "gvpo", "steps_per_generation": 2, "save_steps": 3},
    "with state": {"recipe": {"recipe": "reinforce", "baseline_momentum": 0.9}, "save_steps": 3},
    "with state, inside": {
        "recipe": {"recipe": "grpo", "advantage": {"recipe": "reinforce", "baseline_momentum": 0.9}},
        "steps_per_generation": 4,
        "save_steps": 3,
    },
}


@pytest.mark.parametrize("name", CASES)
def test_same_bits(name: str, tmp_path: Path) -> None:
    """Parameters, moments of Adam, objective state and logged figures equal those of the uninterrupted run."""
    settings = {"max_steps": 7, **CASES[name]}
    whole = run(tmp_path / "whole", **settings)
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    again = run(tmp_path / "again", resume=True, **settings)
    for (label, one), other in zip(weights(whole.model).items(), weights(again.model).values(), strict=True):
        assert torch.equal(one, other), label
    for one, other in zip(whole.optimizer.state.values(), again.optimizer.state.values(), strict=True):
        assert torch.equal(one["exp_avg_sq"], other["exp_avg_sq"])
    assert whole.objective_state.keys() == again.objective_state.keys()
    for label, value in whole.objective_state.items():
        assert torch.equal(value, again.objective_state[label]), label
    both = [read_history(tmp_path / part / "history.jsonl") for part in ("whole", "again")]
    for one, other in zip(*both, strict=True):
        drop = ("step_time",)
        assert {k: v for k, v in one.items() if k not in drop} == {k: v for k, v in other.items() if k not in drop}
    assert [line["step"] for line in both[0]] == list(range(1, 8))


class Dies(TrainerCallback):
    """Ends the process, as far as the trainer can tell, after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Raise what nothing catches."""
        if state.global_step == self.step:
            raise KeyboardInterrupt


def test_an_interrupted_run(tmp_path: Path) -> None:
    """Killed after step 5, resumed from step 3, inside a buffer: same parameters, every line of the history once.

    A checkpoint that was cut short (5, without the trainer's state) is passed over.
    """
    settings: dict[str, Any] = {"max_steps": 6, "steps_per_generation": 4, "save_steps": 3}
    whole = run(tmp_path / "whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "again", callbacks=[Dies(5)], **settings)
    assert [line["step"] for line in read_history(tmp_path / "again" / "history.jsonl")] == [1, 2, 3, 4]
    (tmp_path / "again" / "checkpoint-5").mkdir()
    assert newest_whole_checkpoint(tmp_path / "again") == str(tmp_path / "again" / "checkpoint-3")
    again = run(tmp_path / "again", resume=True, **settings)
    assert furthest(weights(whole.model), weights(again.model)) == 0
    lines = [read_history(tmp_path / part / "history.jsonl") for part in ("whole", "again")]
    assert [line["step"] for line in lines[1]] == [1, 2, 3, 4, 5, 6]
    assert [line["loss"] for line in lines[0]] == [line["loss"] for line in lines[1]]


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.trainers.online.test_resume import Dies, run

class Killed(Dies):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)

run(Path(sys.argv[1]), callbacks=[Killed(5)], max_steps=6, steps_per_generation=4, save_steps=3)
"""


@pytest.mark.slow
def test_a_killed_run(tmp_path: Path) -> None:
    """The same with a process of its own that is killed with signal 9."""
    settings: dict[str, Any] = {"max_steps": 6, "steps_per_generation": 4, "save_steps": 3}
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "again")]
    assert subprocess.run(command, cwd=root, env=environment, capture_output=True).returncode == -signal.SIGKILL
    again = run(tmp_path / "again", resume=True, **settings)
    whole = run(tmp_path / "whole", **settings)
    assert furthest(weights(whole.model), weights(again.model)) == 0


def test_nothing_to_resume_from(tmp_path: Path) -> None:
    """Said in a sentence."""
    with pytest.raises(UserError, match="holds no checkpoint that was written to its end"):
        checkpoint_to_resume(True, str(tmp_path))


def test_the_state_is_what_the_definition_says(tmp_path: Path) -> None:
    """RunningBaseline advances once an optimiser step with the mean of the batch's rewards.

    One generation batch with two steps (`steps_per_generation` 2), momentum 0.5, reward 1 everywhere:
    0 -> 0.5 -> 0.75 after two steps, and `steps` is 2.
    """
    one = trainer(
        tmp_path,
        rewards=[lambda prompts, completions, **_: [1.0] * len(prompts)],
        recipe={"recipe": "reinforce", "baseline_momentum": 0.5},
        steps_per_generation=2,
        max_steps=2,
    )
    one.train()
    assert one.objective_state["advantage/mean"].item() == 0.75
    assert one.objective_state["advantage/steps"].item() == 2


def test_no_pickle_of_ours(tmp_path: Path) -> None:
    """Beside the files of transformers' optimiser and random states, everything is safetensors or text."""
    run(tmp_path, max_steps=3, steps_per_generation=4, save_steps=3)
    binary = {".pt", ".pth", ".bin", ".pkl"}
    found = {path.name for path in (tmp_path / "checkpoint-3").iterdir() if path.suffix in binary}
    assert found == {"optimizer.pt", "scheduler.pt", "rng_state.pth"}
    assert (tmp_path / "checkpoint-3" / "online_state_0.safetensors").stat().st_size > 1000


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    """The state of one recipe is not silently dropped by another."""
    settings = {"max_steps": 3, "save_steps": 2}
    run(tmp_path, recipe={"recipe": "reinforce", "baseline_momentum": 0.9}, **settings)
    with pytest.raises(UserError, match=r"holds the state of recipe 'reinforce' \(advantage/mean.*this run's.*none"):
        run(tmp_path, resume=True, recipe="grpo", **settings)


def test_a_checkpoint_without_rollouts_is_continued_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A checkpoint of another trainer has no rollouts: said, and generation goes on in phase, at micro-step 2 * 1."""
    run(tmp_path, max_steps=3, save_steps=2)
    checkpoint = tmp_path / "checkpoint-2"
    for path in (*checkpoint.glob("online_state_*"), checkpoint / "manifest.json", checkpoint / "training_args.json"):
        path.unlink()
    again = run(tmp_path, resume=True, max_steps=3, save_steps=9)
    assert "has no rollouts and no objective state" in caplog.text
    assert again.micro_step == 3
