"""The private seams of TRL on which the online trainer stands."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import trl
from trl import GRPOTrainer

from prefopt.errors import UserError
from prefopt.trainers import trl_hooks
from tests.trainers.online.support import prompts, trainer


@pytest.mark.parametrize("name", trl_hooks.HOOKS)
def test_signature(name: str) -> None:
    """TRL's method has exactly the parameters that were read when the hook was written."""
    assert tuple(inspect.signature(getattr(GRPOTrainer, name)).parameters) == trl_hooks.HOOKS[name]


def test_output_keys(tmp_path: Path) -> None:
    """TRL's own output has the listed keys; ours adds what the loss reads, one row a completion."""
    run = trainer(tmp_path, max_steps=1)
    rows = [dict(prompts()[i // 4]) for i in range(8)]
    batch = run._generate_and_score_completions(rows)
    assert set(batch) >= trl_hooks.OUTPUT_KEYS
    ours = {"weights", "penalty_weights", "sound", "group", "rewards", "row_names"}
    assert set(batch) - trl_hooks.OUTPUT_KEYS - {"sampling_per_token_logps"} == ours
    assert batch["advantages"].shape == batch["completion_ids"].shape == batch["weights"].shape
    assert batch["group"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_buffer_attributes(tmp_path: Path) -> None:
    """The position in a buffer is TRL's ``_step`` and ``_buffered_inputs``; both start empty."""
    run = trainer(tmp_path)
    assert (run._step, run._buffered_inputs) == (0, None)
    assert (run.micro_step, run.buffer, run.mid_buffer) == (0, None, False)


def test_untested_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another version of TRL is refused before a model is loaded, with both versions in the sentence."""
    monkeypatch.setattr(trl, "__version__", "1.17.0")
    with pytest.raises(UserError, match=r"tested with trl .*1\.16.*1\.17\.0 is installed"):
        trainer(tmp_path, model="no/such/model")


def test_nobody_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """TRL reports every run to its makers; ours reports none."""
    told: list[str] = []
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", lambda **about: told.append(about["topic"]))
    trainer(tmp_path)
    assert told == []


def test_each_epoch_has_an_order_of_its_own() -> None:
    """Order depends on seed and epoch alone: a sampler made anew at epoch 1 continues, TRL's would start over."""
    epoch = 0
    settings = {"data_source": list(range(8)), "mini_repeat_count": 1, "batch_size": 2, "seed": 3}
    sampler = trl_hooks.EpochSampler(epoch=lambda: epoch, **settings)
    orders = []
    for epoch in (0, 1):  # noqa: B007
        orders.append(list(sampler))
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(8))
    assert orders[0] != orders[1]
    assert list(trl_hooks.EpochSampler(epoch=lambda: 1, **settings)) == orders[1]
    assert list(trl_hooks.RepeatSampler(**settings)) == orders[0]
