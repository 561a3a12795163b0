"""Turns learned one after the other: a run of the trainer against a loop written out, and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prefopt.errors import UserError
from prefopt.online.objective import OnlineObjective
from prefopt.trainers.supply.turns import Turns
from tests.tiny import tiny_llama
from tests.trainers.online import support
from tests.trainers.online.support import fixed_rollouts, furthest, token_mean, trainer, weights

RATE = 0.1


def two_tokens_a_turn(prompts: Any, completions: Any, completion_ids: list[list[int]], **_: Any) -> list[list[int]]:
    """Completions of 2 to 5 tokens have one to three turns."""
    return [[place // 2 for place in range(len(ids))] for ids in completion_ids]


def turnwise(folder: Path, **settings: Any) -> Any:
    """Plain gradient descent, so that a step can be written out."""
    own = {
        "recipe": {"recipe": "seeupo", "beta": 0.1, "clip_low": 0.2, "clip_high": 0.2},
        "rewards": [token_mean],
        "inputs": {"turn_ids": two_tokens_a_turn},
        "num_iterations": 3,
        "optim": "sgd",
        "learning_rate": RATE,
        "max_grad_norm": 0.0,
    }
    return trainer(folder, **{**own, **settings})


def logps_of(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Log-probabilities of the completions, from a left-padded pass of all rows."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    width = batch["completion_ids"].shape[1]
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    found = nn.Module.__call__(model, input_ids=ids, attention_mask=mask, position_ids=positions)
    log_p = found.logits[:, -width - 1 : -1].log_softmax(-1)
    return log_p.gather(-1, batch["completion_ids"][..., None])[..., 0]


def learn_by_hand(model: nn.Module, batch: dict[str, Tensor]) -> tuple[list[Tensor], list[float]]:
    """Three passes over one batch of two groups of four; return M before each, and each pass's mean advantage size.

    A_i = (r_i - mean of the group's rows that reached the turn, or r_i alone), normalised over all such rows, cut at
    3, times M_i; s_i = exp(mean over the turn of log pi - log pi_old); loss = -mean over rows of min(s A, clip(s) A),
    plus 0.1 times the mean over rows of the mean over the turn of exp(d) - d - 1, d = log pi_ref - log pi.
    """
    with torch.no_grad():
        reference = logps_of(model, batch)
    reward, place = batch["rewards"][:, 0].double(), torch.arange(batch["completion_ids"].shape[1])
    m, corrections, sizes = torch.ones(8), [], []
    for turn in (2, 1, 0):
        mask = (batch["completion_mask"] * (place // 2 == turn)).bool()
        active, count = mask.any(1), mask.sum(1).clamp(min=1)
        x = torch.zeros(8, dtype=torch.float64)
        for group in batch["group"].unique():
            rows = active & (batch["group"] == group)
            x[rows] = reward[rows] - (reward[rows].mean() if rows.sum() > 1 else 0.0)
        a = torch.where(active, (x - x[active].mean()) / x[active].std(), 0.0).clamp(-3, 3) * m
        corrections.append(m.clone())
        sizes.append(float(a.abs().sum()))
        now = logps_of(model, batch)
        old = now.detach()
        s = ((now - old) * mask).sum(1).div(count).exp()
        gap = (reference - now) * mask
        penalty = ((gap.exp() - gap - 1) * mask).sum(1) / count
        surrogate = torch.minimum(s * a, s.clamp(0.8, 1.2) * a)
        loss = ((0.1 * penalty - surrogate) * active).sum() / active.sum()
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= RATE * parameter.grad
            gap = ((logps_of(model, batch) - old) * mask).sum(1).div(count)
            m = (m * gap.clamp(-10, 10).exp().clamp(0.8, 1.2)).clamp(0.8, 1.2)
    return corrections, sizes


@pytest.mark.parametrize("split", [{}, {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}], ids=str)
def test_passes_equal_a_loop_written_out(split: dict[str, Any], tmp_path: Path) -> None:
    """One generation batch, three turns: the same corrections, advantages and weights as `learn_by_hand`."""
    run = turnwise(tmp_path, max_steps=3, **split)
    model, seen = copy.deepcopy(tiny_llama()), []
    begin = run.turns._begin

    def watched(number: int, parts: list[dict[str, Any]]) -> None:
        begin(number, parts)
        together = {
            name: torch.cat([part[name] for part in parts]).clone()
            for name in (
                "prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "group", "rewards", "advantages",
                "extra.turn_correction", "tool_mask",
            )
        }  # fmt: skip
        seen.append(together)

    run.turns._begin = watched
    run.train()
    corrections, sizes = learn_by_hand(model, seen[0])
    assert len(seen) == 3
    for one, correction, size in zip(seen, corrections, sizes, strict=True):
        torch.testing.assert_close(one["extra.turn_correction"], correction, atol=1e-5, rtol=1e-5)
        # Advantages stand on each token of the turn.
        per_row = one["advantages"].abs().amax(1)
        assert float(per_row.sum()) == pytest.approx(size, rel=1e-4)
    assert (corrections[2] - 1).abs().max() > 0.01
    assert furthest(weights(run.model), weights(model)) < 2e-5


def test_a_single_turn_is_a_single_pass(tmp_path: Path) -> None:
    """Without tools, M = 1 and the run is that of the same parts with nothing turn by turn: equal weights."""
    from prefopt import recipes

    one = recipes.build("seeupo", beta=0.0)
    flat = OnlineObjective(advantage=one.advantage, ratio=one.ratio, gate=one.gate)
    runs = []
    for number, objective in enumerate((one, flat)):
        run = turnwise(tmp_path / str(number), objective=objective, inputs={}, num_iterations=1, max_steps=3)
        run.train()
        runs.append(weights(run.model))
    assert furthest(*runs) < 1e-6


def test_turns_that_a_batch_lacks_change_nothing(tmp_path: Path) -> None:
    """Five iterations for three turns, Adam with momentum: the weights after the third are those at the end."""
    seen: list[dict[str, Tensor]] = []
    run = turnwise(tmp_path, num_iterations=5, max_steps=5, optim="adamw_torch", learning_rate=1e-2)
    begin = run.turns._begin

    def watched(number: int, parts: list[dict[str, Any]]) -> None:
        seen.append(weights(run.model))
        begin(number, parts)

    run.turns._begin = watched
    run.train()
    assert furthest(seen[2], seen[3]) > 1e-4
    assert furthest(seen[3], seen[4]) == 0
    assert furthest(seen[3], weights(run.model)) == 0


def test_steps_as_turns(tmp_path: Path) -> None:
    """Every character a step, two iterations: turn 0 is the first token, turn 1 all that follow."""
    run = turnwise(tmp_path, inputs={}, steps="regex:(?<=.)(?=.)", num_iterations=2, max_steps=1)
    run.train()
    ids, mask = run.buffer[0]["extra.turn_ids"], run.buffer[0]["completion_mask"].bool()
    assert isinstance(run.turns, Turns)
    assert ids.shape == mask.shape
    assert set(ids[mask].tolist()) == {0, 1}
    assert not ids[:, 0].any()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"inputs": {}}, "a completion without tools is a single one: leave num_iterations at 1"),
        (
            {"gradient_accumulation_steps": 2, "steps_per_generation": 1, "per_device_train_batch_size": 8},
            "steps_per_generation=1 must be a multiple of it",
        ),
        ({"tools": [len], "fixed": False, "inputs": {}}, "set max_tool_calling_iterations"),
    ],
    ids=["single turn", "straddles", "tools"],
)
def test_refused(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    """Before a model is loaded, with what to change."""
    from prefopt.trainers.compose import choose_objective
    from tests.trainers.online.support import config

    tools = {"tools": settings.pop("tools", None)}
    settings.pop("fixed", None)
    given = {"recipe": "seeupo", "inputs": {"turn_ids": two_tokens_a_turn}, "num_iterations": 3, **settings}
    with pytest.raises(UserError, match=words):
        choose_objective(config(tmp_path, **given), None, [], tools)


def test_more_turns_than_passes(tmp_path: Path) -> None:
    """Three turns, two iterations: said when the first such batch arrives."""
    with pytest.raises(UserError, match=r"a completion has 3 turns, and num_iterations=2"):
        turnwise(tmp_path, num_iterations=2).train()


def test_turns_between_answers_of_an_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second token is the environment's: turn 0 is the first, turn 1 all behind it, and it is learned first.

    Completions of 2 to 5 tokens: those of 2 have one turn.
    """

    def answered(asked: list[str], run: Any) -> dict[str, Any]:
        found = fixed_rollouts(asked, run)
        return found | {"env_mask": [[int(place != 1) for place in range(len(ids))] for ids in found["completion_ids"]]}

    monkeypatch.setattr(support, "fixed_rollouts", answered)
    run, seen = turnwise(tmp_path, inputs={}, num_iterations=2, max_steps=2), []
    begin = run.turns._begin

    def watched(number: int, parts: list[dict[str, Any]]) -> None:
        begin(number, parts)
        seen.append({name: parts[0][name].clone() for name in ("tool_mask", "completion_mask", "weights")})

    run.turns._begin = watched
    run.train()
    place = torch.arange(seen[0]["completion_mask"].shape[1])
    for one, turn in zip(seen, (place > 1, place < 1), strict=True):
        assert torch.equal(one["tool_mask"].bool(), one["completion_mask"].bool() & turn)
        assert torch.equal(one["weights"] > 0, one["tool_mask"].bool())
    assert sorted(seen[0]["tool_mask"].sum(1).tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]
