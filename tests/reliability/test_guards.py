"""The guard itself: when it skips, what it costs, what it says, what it leaves on disk, and engines that step alone."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.utils import DistributedType
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Trainer
from transformers.training_args import OptimizerNames

from prefopt import recipes
from prefopt.batch import Rollouts
from prefopt.errors import UserError
from prefopt.trainers.guards import report, skipped_steps
from prefopt.trainers.guards.finite_rows import sound_rollouts
from prefopt.trainers.guards.finite_state import updated
from prefopt.trainers.guards.mixin import FiniteStepsMixin, NonFiniteError, SkipNonFiniteSteps
from prefopt.trainers.guards.skipped_steps import dump, read_skipped
from prefopt.trainers.offline_config import OfflineConfig
from prefopt.trainers.online_config import OnlineConfig
from prefopt.trainers.reward_config import RewardConfig
from prefopt.trainers.step_counts import StepCounts
from scripts.faults.non_finite import offline_trainer, reward_trainer
from scripts.faults.poisoning import places
from scripts.faults.poisoning.steps import Plan, Spoilt
from tests.reliability.guard_bench import ALONE, Bench, same

NAN, INFINITE = float("nan"), float("inf")
START = torch.tensor([[1.0, -2.0], [0.5, 3.0]])


OPTIMISERS: dict[str, Any] = {
    "sgd with momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1),
    "adamw, fused": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.1, weight_decay=0.1),
}


def of_ours(name: str, **settings: Any) -> Any:
    """An optimiser of a recipe, on one matrix."""

    def make(parameters: list[nn.Parameter]) -> Any:
        model = nn.Module()
        model.register_parameter("theta", parameters[0])
        return recipes.build(name, **settings)(model, lr=0.1, weight_decay=0.1)

    return make


OURS = {"lift": of_ours("lift"), **{f"mgup, {form}": of_ours("mgup", form=form) for form in ("adamw", "lion", "muon")}}


@pytest.mark.parametrize("bad", [NAN, INFINITE, -INFINITE])
@pytest.mark.parametrize("name", [*OPTIMISERS, *OURS])
def test_no_optimiser_moves_anything_in_a_skipped_step(name: str, bad: float) -> None:
    """Momentum and weight decay would move a parameter with zero gradient; one without a gradient stays, bit for bit.

    The loss is ``sum(theta) * bad``: its gradient is ``bad`` everywhere. A finite loss is stepped on before and after.
    """
    bench = Bench(START, (OPTIMISERS | OURS)[name])
    assert bench.step(bench.theta.square().sum())
    before = bench.everything()
    assert not bench.step(bench.theta.sum() * bad)
    assert same(before, bench.everything())
    assert bench.step(bench.theta.square().sum())
    assert not torch.equal(before["theta"], bench.theta.detach())


def test_a_loss_whose_gradient_hides_it() -> None:
    """``where(false, 1, NaN)`` gives NaN with gradient zero: only the loss tells. An unsound row is told by itself."""
    bench = Bench(START)
    before = bench.everything()
    hidden = torch.where(torch.tensor(False), bench.theta.sum(), torch.tensor(NAN))
    assert not bench.step(hidden + 0 * bench.theta.sum())
    assert not bench.step(bench.theta.sum(), sound=torch.tensor([True, False]))
    assert same(before, bench.everything())


def test_a_gradient_that_its_loss_hides() -> None:
    """``sqrt(0)`` is 0 and its slope infinite; times 0 that is NaN, while the loss is 0."""
    bench = Bench(torch.zeros(2, 2))
    before = bench.everything()
    assert not bench.step((bench.theta.abs().sqrt() * 0).sum())
    assert same(before, bench.everything())


class Waits(TorchDispatchMode):
    """Counts how often the host asks the device for a number."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Pass on."""
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_a_step_waits_for_the_device_once() -> None:
    """200 parameters, four micro-batches of three watched passes: one number is read, in ``decide``."""
    model = nn.ParameterList(nn.Parameter(torch.ones(3)) for _ in range(200))
    for parameter in model:
        parameter.grad = torch.ones(3)
    guard = SkipNonFiniteSteps(SimpleNamespace(**ALONE))
    with Waits() as waits:
        for _ in range(4):
            guard.begin()
            for _ in range(3):
                guard.watch({}, torch.tensor([True, True]))
            guard.observe(torch.tensor(1.0), {})
        norm = guard.decide(model, 1)
    assert waits.count == 1
    torch.testing.assert_close(norm, torch.tensor(600.0**0.5))


@pytest.mark.parametrize(
    ("make", "settings"), [(offline_trainer, {}), (offline_trainer, {"max_grad_norm": 0.0}), (reward_trainer, {})]
)
def test_a_run_without_a_fault_is_the_run_without_a_guard(make: Any, settings: Any, tmp_path: Path) -> None:
    """Parameters and losses are bit for bit transformers' own; what it costs is one number read a step."""

    class Unguarded(type(make(tmp_path / "unused"))):  # type: ignore[misc]
        training_step = Trainer.training_step
        _clip_grad_norm, _get_grad_norm = Trainer._clip_grad_norm, Trainer._get_grad_norm

        def watch(self, batch: Any, sound: Tensor) -> None:
            """Nobody does."""

    found = []
    for guarded in (True, False):
        trainer = make(tmp_path, max_steps=3, gradient_accumulation_steps=2, **settings)
        if not guarded:
            trainer.__class__ = Unguarded
            trainer.remove_callback(trainer.finite_steps)
        with Waits() as waits:
            trainer.train()
        losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
        weights = {name: one.detach().clone() for name, one in trainer.model.named_parameters()}
        found.append((weights, losses, waits.count))
    assert same(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
    assert found[0][2] - found[1][2] == 3


class Scaled(Bench):
    """With a gradient scaler of float16, which works on a CPU as well."""

    def __init__(self, scale: float) -> None:
        super().__init__(START)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=10**6)
        self.told = SimpleNamespace(**{**ALONE, "scaler": self.scaler})
        self.told.unscale_gradients = lambda: self.scaler.unscale_(self.optimiser)
        self.guard = SkipNonFiniteSteps(self.told, max_consecutive=2)

    def step(self, loss: Tensor, sound: Tensor | None = None) -> bool:
        """As accelerate steps with a scaler."""
        self.guard.begin()
        self.scaler.scale(loss).backward()
        self.guard.observe(loss, {})
        self.guard.decide(self, 1, self.optimiser)
        if not self.guard.skipping:
            self.scaler.unscale_(self.optimiser)
        before = self.theta.detach().clone()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.told.optimizer_step_was_skipped = torch.equal(before, self.theta.detach())
        state = SimpleNamespace(global_step=0)
        self.guard.on_optimizer_step(None, state, None, model=self)
        self.optimiser.zero_grad()
        return not self.told.optimizer_step_was_skipped


def test_a_float16_scaler_keeps_its_own_skips() -> None:
    """An overflow at scale 4 halves the scale to 2 and counts for nothing; a loss that is NaN is the guard's."""
    bench = Scaled(4.0)
    before = bench.everything()
    assert not bench.step(bench.theta.sum() * 1e38)  # times 4 above the largest float
    assert (bench.guard.skipped, bench.scaler.get_scale()) == (0, 2.0)
    assert not bench.step(bench.theta.sum().detach() * NAN + bench.theta.sum() * 0)
    assert bench.guard.skipped == 1
    assert same(before, bench.everything())
    assert bench.step(bench.theta.square().sum())


def test_a_scale_below_one_is_no_overflow() -> None:
    """Gradients that are infinite at scale 1 halve it to 1/2, and again to 1/4: that was no overflow; two stop."""
    bench = Scaled(1.0)
    before = bench.everything()
    bench.theta.register_hook(lambda gradient: gradient * INFINITE)
    assert not bench.step(bench.theta.sum())
    assert bench.guard.skipped == 1
    with pytest.raises(NonFiniteError, match="not finite in 2 steps in a row"):
        bench.step(bench.theta.sum())
    assert same(before["theta"], bench.theta.detach())


class Engine(FiniteStepsMixin):
    """What of a trainer under DeepSpeed the guard touches."""

    kind, optim = DistributedType.DEEPSPEED, "adamw_torch"

    def __init__(self, folder: Path, norm: float = 1.0) -> None:
        self.model = nn.Linear(2, 1)
        self.args = SimpleNamespace(max_non_finite=3, output_dir=str(folder), optim=self.optim)
        self.state = SimpleNamespace(global_step=4)
        self.optimizer = None
        self.steps: list[float] = []
        own = {"distributed_type": self.kind, "mixed_precision": "bf16"}
        self.accelerator = SimpleNamespace(**{**ALONE, **own}, backward=lambda loss: self.steps.append(float(loss)))
        self.norm = norm
        FiniteStepsMixin.__init__(self)

    def add_callback(self, callback: Any) -> None:
        """Nobody calls it."""


class Plain:
    """The class below the guard's."""

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> float:
        return self.norm  # type: ignore[attr-defined]


class DeepSpeedRun(Engine, Plain):
    """In the order in which a trainer inherits."""


def test_deepspeed_never_backwards_a_bad_loss(tmp_path: Path) -> None:
    """It steps inside its backward pass: a loss that is not finite stops the run before, a gradient norm after it."""
    run = DeepSpeedRun(tmp_path)
    run.finite_steps.begin()
    run.accelerator.backward(torch.tensor(2.0))
    assert run.steps == [2.0]
    with pytest.raises(NonFiniteError, match=r"stopped at step 5: loss or gradient was not finite"):
        run.accelerator.backward(torch.tensor(NAN))
    assert run.steps == [2.0]
    run = DeepSpeedRun(tmp_path)
    run.finite_steps.begin()
    run.finite_steps.watch({"row": [3, 8]}, torch.tensor([True, False]))
    with pytest.raises(NonFiniteError, match="the last rows were row 9"):
        run.accelerator.backward(torch.tensor(1.0))
    assert run.steps == []
    run = DeepSpeedRun(tmp_path, norm=NAN)
    with pytest.raises(NonFiniteError, match="stopped at step 5"):
        run._get_grad_norm(run.model)
    run = DeepSpeedRun(tmp_path, norm=NAN)
    run.accelerator.mixed_precision = "fp16"  # its own scaler has left the step out
    run._get_grad_norm(run.model)


@pytest.mark.parametrize("optim", ["lomo", "adalomo", "galore_adamw_layerwise", OptimizerNames.APOLLO_ADAMW_LAYERWISE])
def test_optimisers_that_step_in_backward_never_see_a_bad_loss(optim: str, tmp_path: Path) -> None:
    """They move a parameter as soon as it has a gradient: what is not finite must not be backwarded."""
    run = type("Run", (DeepSpeedRun,), {"kind": DistributedType.NO, "optim": optim})(tmp_path)
    run.finite_steps.begin()
    run.accelerator.backward(torch.tensor(2.0))
    with pytest.raises(NonFiniteError, match=r"stopped at step 5: loss or gradient was not finite"):
        run.accelerator.backward(torch.tensor(NAN))
    assert run.steps == [2.0]


def test_means_are_over_the_steps_that_were_taken() -> None:
    """Four steps with losses 1, 2, skipped, 6: 9 over 4 is logged as 3. None taken: NaN. None skipped: as it is."""
    counts = StepCounts()
    counts.begin(0, goes_on=False)
    counts.skip()
    assert counts.mean_of_taken(9 / 4, 4) == 3.0
    assert counts.mean_of_taken(1.5, 8) == 1.5
    counts.skip()
    assert torch.tensor(counts.mean_of_taken(0.0, 9)).isnan()
    # 9 steps of the run, two of them skipped: the losses of seven.
    assert counts.mean_of_taken(14 / 9, 9, whole_run=True) == pytest.approx(2.0)


def test_counts_survive_a_checkpoint() -> None:
    """Two skipped in a row at step 7, the last line at step 5 with one: the next line is of steps 6 to 8."""
    counts = StepCounts(skipped=2, consecutive=2, logged=(5, 1))
    again = StepCounts()
    again.restore(json.loads(json.dumps(counts.as_json())))
    again.begin(7, goes_on=True)
    assert (again.skipped, again.consecutive) == (2, 2)
    # Three steps, one of them skipped.
    assert again.mean_of_taken(2.0, 8) == 3.0


def test_a_logged_loss_does_not_lie(tmp_path: Path) -> None:
    """A line every third step, step 2 spoilt: the line has the mean of steps 1 and 3, which a run without it has.

    Skipping moves nothing, so the spoilt run's step 3 is the fresh run's step 3 with the parameters of step 1. Its loss
    is the one that a line a step shows.
    """
    lines = {}
    for every in (1, 3):
        trainer = offline_trainer(tmp_path / str(every), max_steps=3, logging_steps=every)
        places.policy_offline(trainer, Plan({2: Spoilt(NAN, 0)}))
        trainer.train()
        lines[every] = [line for line in trainer.state.log_history if "loss" in line]
        (end,) = [line for line in trainer.state.log_history if "train_loss" in line]
        assert end["skipped_steps"] == 1
    first, second, third = (line["loss"] for line in lines[1])
    assert second != second
    assert lines[3][0]["loss"] == pytest.approx((first + third) / 2, rel=1e-6)
    assert end["train_loss"] == pytest.approx((first + third) / 2, rel=1e-6)
    assert "rewards/margin" not in lines[1][1], "figures of the step that was left out are left out"


def test_a_second_run_of_a_trainer_counts_its_own(tmp_path: Path) -> None:
    """Step 2 of the first run is skipped; the second, from step 0 on, skips none and speaks of none."""
    trainer = offline_trainer(tmp_path, max_steps=2)
    plan = Plan({2: Spoilt(NAN, 0)})
    places.policy_offline(trainer, plan)
    trainer.train()
    plan.steps.clear()
    trainer.train()
    assert trainer.finite_steps.skipped == 0
    assert not any("skipped_steps" in line for line in trainer.state.log_history)


@pytest.mark.parametrize("error", [SafetensorError("No space left on device"), KeyError("prompt"), OSError("disk")])
def test_a_page_that_cannot_be_written_ends_nothing(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """safetensors has an error of its own for a full disk; a text may not be had. The step is skipped all the same."""

    def fails(*args: Any) -> str:
        raise error

    monkeypatch.setattr(report, "dump", fails)
    trainer = offline_trainer(tmp_path, max_steps=2)
    plan = Plan({1: Spoilt(NAN, 2)})
    places.policy_offline(trainer, plan)
    with caplog.at_level(logging.WARNING):
        trainer.train()
    assert trainer.finite_steps.skipped == 1
    assert f"the batch of step 1 could not be written: {type(error).__name__}: " in caplog.text
    assert f"rows: {plan.expected[1][0]}" in caplog.text


def test_the_last_step_may_be_bad(tmp_path: Path) -> None:
    """Step 2 of 2 is skipped: the run ends, and what is left are the parameters after step 1."""
    trainer = offline_trainer(tmp_path, max_steps=2)
    places.policy_offline(trainer, Plan({2: Spoilt(INFINITE, 1)}))
    trainer.train()
    other = offline_trainer(tmp_path / "one", max_steps=1)
    other.train()
    pairs = zip(trainer.model.parameters(), other.model.parameters(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)


def test_an_evaluation_says_its_rows_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A held-out pair whose log-probability is NaN: the log has NaN and names the sixth row; training goes on."""
    trainer = offline_trainer(tmp_path, max_steps=2, eval_strategy="steps", eval_steps=1, held_out=True)
    inner = trainer.outputs

    def outputs(model: Any, batch: Any) -> Any:
        policy, reference, pairs = inner(model, batch)
        if not model.training:
            policy.chosen_logps[batch["row"] == 5, 0] = NAN
        return policy, reference, pairs

    trainer.outputs = outputs
    with caplog.at_level(logging.WARNING):
        trainer.train()
    assert trainer.state.global_step == 2
    assert trainer.finite_steps.skipped == 0
    assert "evaluation at step 1: eval_loss is not finite; rows: row 6" in caplog.text


def test_three_in_a_row_name_rows_dump_and_checkpoint(tmp_path: Path) -> None:
    """Steps 3, 4, 5 are bad and `max_non_finite` is 3: checkpoint-4 is named. As steps 3 and 4 moved nothing, it holds
    the parameters of checkpoint-2, which are those that the model has at the end."""
    trainer = offline_trainer(tmp_path, max_steps=8, max_non_finite=3, save_strategy="steps", save_steps=2)
    places.policy_offline(trainer, Plan({step: Spoilt(NAN, 0) for step in (3, 4, 5)}))
    with pytest.raises(NonFiniteError) as stopped:
        trainer.train()
    said = str(stopped.value)
    assert "stopped at step 5: loss or gradient was not finite in 3 steps in a row; the last rows were row " in said
    assert f"Their batch is in {tmp_path / 'skipped_steps' / 'step-5.json'}." in said
    assert f"the last good checkpoint is {tmp_path / 'checkpoint-4'}" in said
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]
    for folder in ("checkpoint-2", "checkpoint-4"):
        saved = load_file(tmp_path / folder / "model.safetensors")
        now = dict(trainer.model.named_parameters())
        assert saved.keys() <= now.keys()
        assert all(torch.equal(value, now[name]) for name, value in saved.items())


def test_a_model_that_comes_broken_is_to_blame_itself(tmp_path: Path) -> None:
    """A parameter that is NaN before the first step: no row is blamed."""
    trainer = offline_trainer(tmp_path, max_steps=4, max_non_finite=2)
    with torch.no_grad():
        trainer.model.model.norm.weight[0] = NAN
    with pytest.raises(NonFiniteError, match=r"The parameter model\.norm\.weight itself is not finite"):
        trainer.train()


def test_what_a_dump_holds(tmp_path: Path) -> None:
    """Tokens as the model saw them, texts, loss, and the gradients by name; read back by `read_skipped`."""
    trainer = offline_trainer(tmp_path, max_steps=2)
    plan = Plan({1: Spoilt(NAN, 2)})
    places.policy_offline(trainer, plan)
    trainer.train()
    about, tensors = read_skipped(tmp_path / "skipped_steps" / "step-1.json")
    assert [row["row"] for row in about["rows"] if not row["finite"]] == plan.expected[1]
    assert len(about["rows"]) == 4
    bad = next(row for row in about["rows"] if not row["finite"])
    number = int(bad["row"].split()[1]) - 1
    assert bad["prompt"].startswith(f"Q{number}:")
    assert bad["chosen"].startswith(f"Because {number}.")
    assert about["losses"] == ["nan"]
    assert about["gradients_not_finite"] == len(list(trainer.model.parameters()))
    assert len(about["first_gradients"]) == 8
    assert about["first_gradients"][0]["parameter"] == "model.embed_tokens.weight"
    assert torch.equal(tensors["0.row"], torch.tensor([int(row["row"].split()[1]) - 1 for row in about["rows"]]))
    assert tensors["0.trees.input_ids"].dtype == torch.int64
    assert set(about) == {
        "step", "process", "processes", "losses", "gradient_norm", "gradients_not_finite", "first_gradients", "rows",
        "left_out",
    }  # fmt: skip


def test_dumps_are_few_and_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten at most, written again where a resumed run skips the same step; what is too large is listed by its shape."""
    monkeypatch.setattr(skipped_steps, "MOST_BYTES", 100)
    batch = {"small": torch.arange(5), "large": torch.zeros(30), "more": [torch.ones(3)], "name": "x"}
    for step in range(1, 13):
        page = dump(tmp_path, step, 0, 1, {"losses": [INFINITE]}, [batch])
        assert bool(page) == (step <= 10)
    assert dump(tmp_path, 4, 0, 1, {}, [batch])
    about, tensors = read_skipped(tmp_path / "skipped_steps" / "step-3.json")
    assert about["losses"] == ["inf"]
    assert about["left_out"] == {"0.large": [30]}
    assert tensors.keys() == {"0.small", "0.more.0"}
    assert len(list((tmp_path / "skipped_steps").iterdir())) == 20


@pytest.mark.parametrize("kind", [OfflineConfig, RewardConfig, OnlineConfig])
def test_all_trainers_have_the_setting(kind: Any, tmp_path: Path) -> None:
    """One name, one default, one check; and transformers' filter, which would put older losses in place, is off."""
    config = kind(output_dir=str(tmp_path), use_cpu=True)
    assert config.max_non_finite == 3
    assert config.logging_nan_inf_filter is False
    with pytest.raises(UserError, match="max_non_finite must be at least 1, not 0"):
        kind(output_dir=str(tmp_path), use_cpu=True, max_non_finite=0)


def test_a_state_is_never_made_unusable(caplog: pytest.LogCaptureFixture) -> None:
    """A running mean that would become NaN stays 0.25, and the log names it; one that was infinite may be finite."""

    def update(state: dict[str, Tensor], statistics: Any) -> dict[str, Tensor]:
        return {"mean": state["mean"] * 0.5 + statistics["slot"]["reward"] * 0.5, "best": torch.zeros(())}

    objective: Any = SimpleNamespace(update=update)
    state = {"mean": torch.tensor(0.0), "best": torch.tensor(-INFINITE)}
    state = updated(objective, state, {"slot": {"reward": torch.tensor(0.5)}})
    assert (state["mean"].item(), state["best"].item()) == (0.25, 0.0)
    again = updated(objective, state, {"slot": {"reward": torch.tensor(NAN)}})
    assert again is state
    assert "the state of the objective stays as it was: mean would not be finite" in caplog.text


def test_a_resumed_run_knows_what_was_skipped(tmp_path: Path) -> None:
    """Step 2 of 4 is skipped and checkpoint-2 written: resumed from there, the count goes on from 1.

    With a line every fourth step, that line is the uninterrupted run's: the mean of steps 1, 3 and 4.
    """
    lines = []
    for resume in (None, str(tmp_path / "checkpoint-2")):
        trainer = offline_trainer(tmp_path, max_steps=4, save_strategy="steps", save_steps=2, logging_steps=4)
        places.policy_offline(trainer, Plan({2: Spoilt(NAN, 0)}))
        trainer.train(resume_from_checkpoint=resume)
        assert trainer.finite_steps.skipped == 1
        lines += [line for line in trainer.state.log_history if "loss" in line]
    assert lines[0]["loss"] == lines[1]["loss"]
    assert lines[0]["skipped_steps"] == lines[1]["skipped_steps"] == 1


def test_an_experts_answer_ends() -> None:
    """NaN behind its end is as it should be; inside it, in all of it, or an infinite number is not."""
    nan, inf = torch.nan, torch.inf
    logps = torch.tensor([[-1.0, -2.0, nan], [-1.0, nan, -2.0], [nan, nan, nan], [-1.0, inf, nan], [-1.0, -1.0, -1.0]])
    mask = torch.ones(5, 3, dtype=torch.bool)
    rollouts = Rollouts(
        torch.zeros(5, dtype=torch.long), mask, torch.zeros(5, 1), torch.zeros(5, 3), {"expert_logps": logps}
    )
    assert sound_rollouts(rollouts).tolist() == [True, False, False, False, True]
