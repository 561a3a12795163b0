"""A loss or gradient that is not finite never reaches the parameters."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from prefopt.trainers.guards.mixin import NonFiniteError
from tests.trainers.online.support import losses, trainer, weights


def poison(run: Any, steps: set[int]) -> list[dict[str, torch.Tensor]]:
    """Put NaN into the log-probabilities of the micro-batches ``steps``; return the parameters before each step."""
    original, seen = run.token_outputs, []

    def spy(model: Any, batch: Any, rows_at_once: int | None = None, **wanted: Any) -> Any:
        logps, entropies, balance = original(model, batch, rows_at_once, **wanted)
        if rows_at_once is None:
            seen.append(weights(run.model))
            if run.micro_step in steps:
                logps = logps * torch.nan
        return logps, entropies, balance

    run.token_outputs = spy
    return seen


def test_a_bad_step_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Step 2 of 4 has NaN: parameters, Adam's state and the objective's state stay, its rows are named, step 3 learns.

    The baseline's ``steps`` is 3 after four steps, one of them skipped.
    """
    recipe = {"recipe": "reinforce", "baseline_momentum": 0.9}
    run = trainer(tmp_path, recipe=recipe)
    seen = poison(run, {1})
    with caplog.at_level(logging.WARNING):
        run.train()
    assert all(torch.equal(seen[1][name], seen[2][name]) for name in seen[1])
    assert any(not torch.equal(seen[2][name], seen[3][name]) for name in seen[2])
    assert run.objective_state["advantage/steps"].item() == 3
    assert run.finite_steps.skipped == 1
    assert "step 2 skipped" in caplog.text
    assert "completion 1 of '" in caplog.text
    assert all(torch.isfinite(value).all() for value in weights(run.model).values())


def test_three_in_a_row_stop_the_run(tmp_path: Path) -> None:
    """Steps 3, 4 and 5 are bad: the run stops and names rows; the checkpoint of step 2 has the last good weights."""
    run = trainer(tmp_path, max_steps=8, save_strategy="steps", save_steps=2)
    poison(run, {2, 3, 4})
    with pytest.raises(NonFiniteError, match=r"step 5.*3 steps in a row; the last rows were completion \d+ of '\d+\+"):
        run.train()
    saved = load_file(tmp_path / "checkpoint-2" / "model.safetensors")
    for name, value in weights(run.model).items():
        if name in saved:
            assert torch.equal(saved[name], value)


def test_the_limit_is_a_setting(tmp_path: Path) -> None:
    """``max_non_finite`` 1 stops at the first."""
    run = trainer(tmp_path, max_non_finite=1)
    poison(run, {0})
    with pytest.raises(NonFiniteError, match="step 1: "):
        run.train()


def test_a_row_without_a_score_is_no_number_anywhere(tmp_path: Path) -> None:
    """NaN rewards are missing scores: the row leaves the loss, which equals that of the other rows alone.

    Group of 4 with one unscored row: its advantage and weights are 0, the weights of the 7 others are 1 / (7 T).
    """

    def some(prompts: Any, completions: Any, completion_ids: list[list[int]], **_: Any) -> list[float | None]:
        return [None if place == 5 else float(len(ids)) for place, ids in enumerate(completion_ids)]

    run = trainer(tmp_path, [some], max_steps=1, max_unscored=1.0)
    run.train()
    batch = run.buffer[0]
    row = int(torch.isnan(batch["rewards"][:, 0]).nonzero())
    assert not batch["weights"][row].any()
    assert not batch["advantages"][row].any()
    lengths = batch["completion_mask"].sum(-1)
    for other in set(range(8)) - {row}:
        torch.testing.assert_close(batch["weights"][other].sum(), torch.tensor(1 / 7))
        assert batch["weights"][other, 0].item() == pytest.approx(1 / (7 * int(lengths[other])))
    line = run.state.log_history[0]
    assert (line["unscored"], line["rows_unscored"], line["rows_dropped"]) == (1.0, 1.0, 1.0)
    assert torch.isfinite(torch.tensor(losses(run))).all()


def test_a_group_with_one_scored_row_is_dropped_and_counted(tmp_path: Path) -> None:
    """Three of four rows unscored: the fourth has nobody to be compared with, so all four are dropped."""

    def some(prompts: Any, completions: Any, completion_ids: list[list[int]], **_: Any) -> list[float | None]:
        return [None if place in (0, 1, 2) else float(len(ids)) for place, ids in enumerate(completion_ids)]

    run = trainer(tmp_path, [some], max_steps=1, max_unscored=1.0)
    run.train()
    assert run.state.log_history[0]["rows_dropped"] == 4.0
    assert run.state.log_history[0]["unscored"] == 3.0
