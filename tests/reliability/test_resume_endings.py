"""Where a resumed run begins and ends: log lines, evaluations, counts of callbacks, nothing beyond the last step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import EarlyStoppingCallback

from prefopt.errors import UserError
from prefopt.trainers.checkpointing.data_fingerprint import fingerprint
from prefopt.trainers.checkpointing.manifest import hash_of
from prefopt.trainers.checkpointing.promise import promise_at_resume
from prefopt.trainers.checkpointing.verification import verify
from prefopt.trainers.guards.mixin import NonFiniteError
from prefopt.trainers.history import read_history
from scripts.faults.resuming import offline_cases as offline
from scripts.faults.resuming import online_cases as online
from scripts.faults.resuming import reward_cases as reward
from scripts.faults.resuming.equality import Ran, differences, everything, resume, run

EVERY_STEP = {"eval_strategy": "steps", "eval_steps": 1}
AT_EPOCHS = {"eval_strategy": "epoch", "logging_strategy": "epoch"}
MAKE: dict[str, Callable[..., Any]] = {
    "reward": lambda folder, **more: reward.trainer(folder, "bradley_terry", **more),
    "offline": lambda folder, **more: offline.trainer(folder, **{"recipe": "bco", **more}),
    "online": lambda folder, **more: online.trainer(folder, "grpo", **more),
}
LAST = {"reward": 9, "offline": 8, "online": 8}
EPOCH = {"reward": 7, "offline": 5, "online": 10}
"""Steps of an epoch."""


def both(make: Callable[[Path], Any], folder: Path, step: int) -> tuple[Ran, Ran]:
    """Return the uninterrupted run and the one that was resumed after a step."""
    whole = run(make, folder / "whole")
    return whole, resume(make, folder / "whole", folder / f"from-{step}", step)


@pytest.mark.parametrize(("kind", "ends"), [("reward", "last"), ("online", "last"), ("offline", "epoch")])
def test_nothing_is_left(kind: str, ends: str, tmp_path: Path) -> None:
    """Resumed after its last step, in the middle of an epoch or at its end, a run trains on nothing.

    What comes after training, such as an evaluation that samples, is at the same random numbers.
    """
    step = LAST[kind] if ends == "last" else EPOCH[kind]
    whole, again = both(lambda folder: MAKE[kind](folder, max_steps=step), tmp_path, step)
    assert again.batches == []
    assert differences(whole, again, step) == []


@pytest.mark.parametrize("kind", MAKE)
def test_a_resume_of_a_resume(kind: str, tmp_path: Path) -> None:
    """Stopped after step 2, and again after step 5."""
    make = MAKE[kind]
    whole, _ = both(make, tmp_path, 2)
    again = resume(make, tmp_path / "from-2", tmp_path / "from-5", 5)
    assert differences(whole, again, 5) == []


@pytest.mark.parametrize(
    ("kind", "further", "save"),
    [("reward", 0, "steps"), ("offline", 0, "steps"), ("offline", 0, "epoch"), ("offline", -1, "steps"),
     ("online", -4, "steps")],
)  # fmt: skip
def test_lines_and_evaluations_of_epochs(kind: str, further: int, save: str, tmp_path: Path) -> None:
    """A checkpoint of an epoch's last step holds the epoch's line and evaluation; one before it, the sums so far."""
    step = EPOCH[kind] + further
    more: dict[str, Any] = {"save_strategy": save, **({"max_steps": 12} if kind == "online" else {})}
    whole, again = both(lambda folder: MAKE[kind](folder, **AT_EPOCHS, **more), tmp_path, step)
    assert next(line["step"] for line in whole.trainer.state.log_history if "eval_loss" in line) == EPOCH[kind]
    assert differences(whole, again, step) == []


@pytest.mark.parametrize("kind", ["reward", "offline"])
def test_an_evaluation_on_start_is_made_once(kind: str, tmp_path: Path) -> None:
    """A resumed run has had it: its callbacks would count it again."""
    more = {**EVERY_STEP, "eval_on_start": True}
    whole, again = both(lambda folder: MAKE[kind](folder, **more), tmp_path, 3)
    assert differences(whole, again, 3) == []


def _patient(folder: Path, patience: int = 2) -> Any:
    """Return a trainer whose evaluations never get better."""
    found = MAKE["reward"](folder, **EVERY_STEP, metric_for_best_model="loss", greater_is_better=True)
    found.add_callback(EarlyStoppingCallback(patience, early_stopping_threshold=10.0))
    return found


@pytest.mark.parametrize("step", [1, 2])
def test_patience_goes_on(step: int, tmp_path: Path) -> None:
    """Patience 2, and no evaluation is better by 10 than the first: the run ends at step 2 or 3 as it did.

    The first evaluation is better than none. transformers begins to count anew after a resume.
    """
    whole, again = both(_patient, tmp_path, step)
    assert whole.trainer.state.global_step < 4
    assert differences(whole, again, step) == []


def test_a_run_whose_patience_ended_has_ended(tmp_path: Path) -> None:
    """Nothing is trained; with more patience than before it goes on."""
    whole = run(_patient, tmp_path / "whole")
    end = whole.trainer.state.global_step
    again = resume(_patient, tmp_path / "whole", tmp_path / "again", end)
    assert differences(whole, again, end) == []
    more = resume(lambda folder: _patient(folder, 4), tmp_path / "whole", tmp_path / "more", end)
    assert more.trainer.state.global_step == end + 2


def test_a_callback_that_was_not_there(tmp_path: Path) -> None:
    """transformers stops at the first save with a KeyError."""
    plain = lambda folder: MAKE["reward"](folder, **EVERY_STEP, metric_for_best_model="loss")  # noqa: E731
    run(plain, tmp_path / "whole")
    again = resume(_patient, tmp_path / "whole", tmp_path / "again", 3)
    assert again.trainer.state.global_step > 3


@pytest.mark.parametrize("kind", ["reward", "offline"])
def test_the_best_model(kind: str, tmp_path: Path) -> None:
    """The best of all evaluations, of before the stop as well, is loaded at the end."""
    more = {**EVERY_STEP, "load_best_model_at_end": True, "metric_for_best_model": "loss", "learning_rate": 0.3}
    whole, again = both(lambda folder: MAKE[kind](folder, **more, greater_is_better=True), tmp_path, 4)
    assert whole.trainer.state.best_global_step < LAST[kind]
    assert differences(whole, again, 4) == []


class Spoils:
    """Makes the losses of some steps not finite."""

    def __init__(self, trainer: Any, steps: set[int]) -> None:
        self.trainer, self.steps, self.original = trainer, steps, trainer.compute_loss
        trainer.compute_loss = self

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Compute the loss."""
        loss: Tensor = self.original(*args, **kwargs)
        return loss * torch.nan if self.trainer.state.global_step + 1 in self.steps else loss


def spoilt(folder: Path, *steps: int) -> Any:
    """Return a trainer whose loss is not finite in these steps."""
    trainer = MAKE["offline"](folder)
    Spoils(trainer, set(steps))
    return trainer


def test_skipped_steps_are_counted_on(tmp_path: Path) -> None:
    """Steps 2 and 5 are skipped: the line of step 6 says two, and its loss is the mean of the steps that were taken."""
    whole, again = both(lambda folder: spoilt(folder, 2, 5), tmp_path, 4)
    assert whole.history[1]["skipped_steps"] == 2
    assert differences(whole, again, 4) == []


def test_three_in_a_row_across_a_stop(tmp_path: Path) -> None:
    """Steps 3, 4 and 5 are bad, the run was stopped after 4: both end at step 5."""
    folders = tmp_path / "whole", tmp_path / "again"
    with pytest.raises(NonFiniteError, match="stopped at step 5"):
        run(lambda folder: spoilt(folder, 3, 4, 5, 6, 7), folders[0])
    with pytest.raises(NonFiniteError, match="stopped at step 5"):
        resume(lambda folder: spoilt(folder, 3, 4, 5, 6, 7), *folders, 4)


@pytest.mark.parametrize("lora", [False, True])
def test_weights_come_from_the_checkpoint(lora: bool, tmp_path: Path) -> None:
    """A model with other weights is given: those of the checkpoint are trained, whole or an adapter's."""

    def moved(folder: Path) -> Any:
        found = offline.trainer(folder, recipe="simpo", lora=lora)
        with torch.no_grad():
            for parameter in found.model.parameters():
                parameter.add_(0.1 * parameter.requires_grad)
        return found

    whole = run(lambda folder: offline.trainer(folder, recipe="simpo", lora=lora), tmp_path / "whole")
    again = resume(moved, tmp_path / "whole", tmp_path / "again", 3)
    assert differences(whole, again, 3) == []


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: MAKE["offline"](folder), "the reference, which is the model that the run began with"),
        (lambda folder: online.trainer(folder, "grpo, reference"), "the reference, which is"),
        (lambda folder: MAKE["offline"](folder, recipe="simpo", lora=True), "the model under the adapter, has other"),
    ],
    ids=["offline", "online", "adapter"],
)
def test_weights_that_no_checkpoint_holds(make: Callable[[Path], Any], said: str, tmp_path: Path) -> None:
    """A reference or an adapter's base that is not that of the run is refused before the first step."""

    def moved(folder: Path) -> Any:
        found = make(folder)
        model = found.model if found.reference is None else found.reference.model
        with torch.no_grad():
            next(one for one in model.parameters() if not one.requires_grad)[0] += 0.1
        return found

    run(lambda folder: _stopping(make(folder)), tmp_path / "whole")
    with pytest.raises(UserError, match=said):
        resume(moved, tmp_path / "whole", tmp_path / "again", 1)


def _stopping(trainer: Any) -> Any:
    """Return a trainer that makes one step."""
    trainer.args.max_steps = 1
    return trainer


def test_experts_come_from_the_checkpoint(tmp_path: Path) -> None:
    """A mixture of experts is written under other names than it is held: none of its weights is that of the start."""
    whole, again = both(lambda folder: offline.trainer(folder, recipe="dpo", experts=True), tmp_path, 5)
    assert differences(whole, again, 5) == []
    assert [name for name in everything(whole) if "experts" in name]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 7}, "seed was 42 and is 7"),
        ({"per_device_train_batch_size": 5}, "per_device_train_batch_size was 2 and is 5"),
        ({"learning_rate": 1.0}, "learning_rate was 0.01 and is 1.0"),
        ({"count": 9}, "other training data: 10 rows then, 9 now"),
        ({}, ""),
    ],
    ids=["seed", "batch", "rate", "rows", "nothing"],
)
def test_what_breaks_the_promise_is_said(changed: dict[str, Any], said: str, one_step: Path, tmp_path: Path) -> None:
    """The order or the number of the rows, the schedule: L3 with the reason; where nothing was changed, L1."""
    trainer = MAKE["offline"](tmp_path / "again", max_steps=1, **changed)
    promise = promise_at_resume(trainer.args, verify(one_step / "checkpoint-1"), fingerprint(trainer.train_dataset))
    assert promise.level == (3 if said else 1)
    assert said in str(promise)


@pytest.fixture(scope="module")
def one_step(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step."""
    folder = tmp_path_factory.mktemp("one") / "run"
    run(lambda place: MAKE["offline"](place, max_steps=1), folder)
    return folder


def test_a_history_that_is_gone(tmp_path: Path) -> None:
    """The checkpoint knows the lines before it: a run that is resumed elsewhere has them all."""
    make = MAKE["offline"]
    whole = run(make, tmp_path / "whole")
    again = run(make, tmp_path / "elsewhere", tmp_path / "whole" / "checkpoint-7")
    assert again.history == whole.history
    assert [line["step"] for line in read_history(tmp_path / "elsewhere" / "history.jsonl")] == [3, 6]


@pytest.mark.parametrize("kind", MAKE)
def test_saving_changes_nothing(kind: str, tmp_path: Path) -> None:
    """A run that writes no checkpoint is at the same bits as one that writes one at each step."""
    one = run(MAKE[kind], tmp_path / "saved")
    other = run(lambda folder: MAKE[kind](folder, save_strategy="no"), tmp_path / "plain")
    assert differences(one, other, 0) == []


def test_a_state_of_one_element() -> None:
    """What is cut out of a longer tensor has its stride, and the same bytes as a tensor of its own."""
    cut = torch.arange(10).as_strided((1,), (5,))
    assert hash_of({"count": cut}) == hash_of({"count": torch.zeros(1, dtype=torch.int64)})
