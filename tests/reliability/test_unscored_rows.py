"""A completion without a score: in no baseline, loss or mean, counted by kind, and never a 0 on the way."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from prefopt import recipes
from prefopt.batch import PolicyOutputs, Prepared, Rollouts
from prefopt.trainers.rewards.answers import ABSTAINED, BY_INFRASTRUCTURE, BY_UNGRADABLE, SCORED
from prefopt.trainers.rewards.scores import RewardSourceError
from prefopt.trainers.rewards.unscored import UnscoredLimit
from reward_models.failures import InfrastructureError, Ungradable
from reward_models.patience import Patience
from tests.trainers.online.support import token_mean, trainer

NONE = math.nan
ALONE = [[1.0], [NONE], [0.0], [1.0], [1.0], [NONE], [NONE], [NONE]]
"""Two groups of four: 1, None, 0, 1 and 1, None, None, None."""


def prepared(recipe: str, rewards: list[list[float]], **settings: Any) -> tuple[Any, Rollouts, Prepared]:
    """What a recipe learns from groups of four completions with two tokens each."""
    found = recipes.build(recipe, **settings)
    count = len(rewards)
    rollouts = Rollouts(
        group=torch.arange(count) // 4,
        mask=torch.ones(count, 2, dtype=torch.bool),
        rewards=torch.tensor(rewards),
        logps=torch.full((count, 2), -1.0),
    )
    return found, rollouts, found.prepare(rollouts, found.init_state())


Z = 1 / 3 / (1 / math.sqrt(3) + 1e-4)


@pytest.mark.parametrize(
    ("recipe", "settings", "advantages", "weight", "dropped"),
    [
        ("grpo", {}, [Z, 0, -2 * Z, Z, 0, 0, 0, 0], 1 / 3, 1),
        ("dr_grpo", {}, [1 / 3, 0, -2 / 3, 1 / 3, 0, 0, 0, 0], 1 / 3, 1),
        ("rloo", {}, [0.5, 0, -1, 0.5, 0, 0, 0, 0], 2 / 3, 1),
        ("reinforce", {"baseline_momentum": 0.9}, [1, 0, 0, 1, 1, 0, 0, 0], 1 / 2, 0),
    ],
)
def test_one_reward(
    recipe: str, settings: dict[str, Any], advantages: list[float], weight: float, dropped: int
) -> None:
    """Rewards 1, None, 0, 1: mean 2/3 and unbiased deviation sqrt(1/3) of the three that are scored.

    GRPO: 1/3 over sqrt(1/3), twice that below. Leave-one-out: 1 - (0 + 1) / 2, and 0 - 1. As a 0 the missing one would
    make the mean 1/2 and the advantages 0.866. A group with one score says nothing: dropped, counted. REINFORCE
    compares with no group: four rows are scored, none is dropped. Weights are those of means over the rows that count:
    both tokens of a row together 1/3 of three, or 2/3 where a row's tokens are summed, and 2/4 of four.
    """
    objective, rollouts, found = prepared(recipe, ALONE, **settings)
    torch.testing.assert_close(
        found.advantages[:, 0], torch.tensor(advantages, dtype=torch.float32), atol=1e-5, rtol=1e-5
    )
    counts = [not math.isnan(row[0]) and not (dropped and number > 3) for number, row in enumerate(ALONE)]
    counted = torch.tensor(counts).float()
    torch.testing.assert_close(found.weights.sum(1), counted * weight)
    metrics = {name: (float(total), float(count)) for name, (total, count) in found.metrics.items()}
    assert metrics["reward.0"] == (3.0, 4.0)
    assert metrics["unscored.0"] == (4.0, 8.0)
    assert metrics["rows_unscored"] == (5.0 if dropped else 4.0, 8.0)
    assert metrics["groups_dropped"] == (dropped, 2.0)
    # Whatever the policy says of the rows that do not count, the loss is the same and has no gradient there.
    logps = torch.full((8, 2), -1.0, requires_grad=True)
    objective.loss(rollouts, found, PolicyOutputs(logps)).backward()
    assert logps.grad is not None
    assert (logps.grad.abs().sum(1) > 0).tolist() == [bool(value) for value in advantages]


TWO = [[1.0, 2.0], [NONE, 2.0], [0.0, 0.0], [1.0, NONE]]


def gdpo_numbers() -> list[float]:
    """Each reward by itself: 1, None, 0, 1 as above; 2, 2, 0, None has mean 4/3 and unbiased deviation sqrt(4/3)."""
    first, second = Z, 2 / 3 / (math.sqrt(4 / 3) + 1e-4)
    total = torch.tensor([first + second, second, -2 * first - 2 * second, first])
    return ((total - total.mean()) / (total.std() + 1e-4)).tolist()


@pytest.mark.parametrize(
    ("recipe", "expected", "unscored"),
    [
        ("grpo", [3 / 2 / (math.sqrt(9 / 2) + 1e-4), 0, -3 / 2 / (math.sqrt(9 / 2) + 1e-4), 0], 2),
        ("rloo", [3, 0, -3, 0], 2),
        ("gdpo", gdpo_numbers(), 0),
    ],
)
def test_two_rewards(recipe: str, expected: list[float], unscored: int) -> None:
    """Rewards (1, 2), (None, 2), (0, 0), (1, None).

    A sum needs both: rows 1 and 3 are out, and 3 is compared with 0: mean 3/2, deviation sqrt(9/2). Were None 0, row 3
    would have a 1 and row 1 a 2. GDPO takes each reward by itself: a missing one adds nothing to its row, and is in no
    mean of its column.
    """
    _, _, found = prepared(recipe, TWO)
    torch.testing.assert_close(
        found.advantages[:, 0], torch.tensor(expected, dtype=torch.float32), atol=1e-4, rtol=1e-4
    )
    assert float(found.metrics["rows_unscored"][0]) == unscored
    assert [float(found.metrics[f"reward.{k}"][0]) for k in (0, 1)] == [2.0, 4.0]
    assert [float(found.metrics[f"reward.{k}"][1]) for k in (0, 1)] == [3.0, 3.0]


def judge(prompts: Any, completions: Any, completion_ids: Any) -> list[Any]:
    """Completions of 2, 3, 4 and 5 tokens: 1.5, away, unreadable, None."""
    answers = {2: 1.5, 3: InfrastructureError("judge is away"), 4: Ungradable("unreadable"), 5: None}
    return [answers[len(ids)] for ids in completion_ids]


def line_of(folder: Path, may_abstain: bool) -> dict[str, Any]:
    """The log line of one step with two groups that each have completions of 2, 3, 4 and 5 tokens."""
    source = {"source": judge, "name": "judge", "weight": 2.0, "may_abstain": may_abstain, "retries": 0}
    return first_line(folder, source)


def first_line(folder: Path, source: dict[str, Any]) -> dict[str, Any]:
    """The log line of a step with this source beside one that scores everything."""
    rewards = [{"source": token_mean, "name": "plain"}, source]
    run = trainer(folder, rewards, weighting="gdpo", max_steps=1, max_unscored=1.0)
    run.train()
    return run.state.log_history[0]


def test_what_is_logged(tmp_path: Path) -> None:
    """Two groups with one score, one outage, one unreadable and one None each; the mean is 1.5, not 0.375.

    None is ungradable, or, of a source that may abstain, apart. Nothing of TRL's own figures, which weigh what is
    missing as 0, is in the line.
    """
    plain = line_of(tmp_path / "plain", may_abstain=False)
    assert plain["reward/judge"] == 1.5
    assert (plain["unscored/judge"], plain["unscored/plain"], plain["unscored"]) == (6.0, 0.0, 6.0)
    assert plain["unscored_by_infrastructure/judge"] == 2.0
    assert plain["unscored_ungradable/judge"] == 4.0
    assert "abstained/judge" not in plain
    assert not [name for name in plain if name.startswith("rewards/") or name in ("reward", "frac_reward_zero_std")]
    apart = line_of(tmp_path / "apart", may_abstain=True)
    assert (apart["unscored/judge"], apart["unscored"]) == (4.0, 4.0)
    assert apart["unscored_by_infrastructure/judge"] == apart["unscored_ungradable/judge"] == 2.0
    assert apart["abstained/judge"] == 2.0
    assert apart["reward/judge"] == 1.5


def test_a_group_with_one_score_is_dropped(tmp_path: Path) -> None:
    """Of both groups one completion of four has a score: nothing to compare, so the step has no gradient."""
    source = {"source": judge, "name": "judge", "retries": 0}
    run = trainer(tmp_path, [source], max_steps=1, max_unscored=1.0)
    run.train()
    line = run.state.log_history[0]
    assert (line["groups_dropped"], line["rows_unscored"], line["grad_norm"]) == (2.0, 8.0, 0.0)


def kinds(*rows: int) -> Tensor:
    return torch.tensor(rows, dtype=torch.int8)[:, None]


def observe(limit: UnscoredLimit, found: Tensor, may_abstain: bool = False, words: str = "") -> None:
    rewards = torch.where(found == SCORED, 1.0, torch.nan)
    limit.observe(rewards, ["judge"], [may_abstain], found, {"judge": words} if words else {})


def test_the_message_says_what_and_what_to_do() -> None:
    """Half of 10 rows may be missing within one batch of it: 6 are, four by infrastructure."""
    limit = UnscoredLimit(0.5, 1)
    found = kinds(*[BY_INFRASTRUCTURE] * 4, *[BY_UNGRADABLE] * 2, *[SCORED] * 4)
    with pytest.raises(RewardSourceError) as caught:
        observe(limit, found, words="infrastructure: status 503: no room (after 6 attempts)")
    words = str(caught.value)
    assert "'judge' left 6 of 10 completions unscored in the last 1 generation batches" in words
    assert "(4 by infrastructure, 2 ungradable; the last one: infrastructure: status 503: no room" in words
    assert "max_unscored=0.5 allows 5 within 1" in words
    assert "resume from the last checkpoint" in words
    assert "look at the columns that it reads" in words
    with pytest.raises(RewardSourceError) as caught:
        observe(UnscoredLimit(0.5, 1), kinds(*[BY_INFRASTRUCTURE] * 4))
    assert "look at the columns" not in str(caught.value)


def test_a_source_that_may_abstain_may_not_fail() -> None:
    """All abstain: fine. All fail: an outage, whoever may abstain."""
    observe(UnscoredLimit(0.05, 10), kinds(*[ABSTAINED] * 20), may_abstain=True)
    for kind in (BY_INFRASTRUCTURE, BY_UNGRADABLE):
        with pytest.raises(RewardSourceError, match="'judge' left 20 of 20"):
            observe(UnscoredLimit(0.05, 10), kinds(*[kind] * 20), may_abstain=True)


def test_a_window_of_an_older_checkpoint() -> None:
    """Its counts are not told apart: 6 of 20, and 4 of 20, with 1 more of 20 are 11 where 10 are allowed."""
    limit = UnscoredLimit(0.05, 10, deque([(20, [6]), (20, [[1, 3]])]))
    with pytest.raises(RewardSourceError, match=r"left 11 of 60 .*\(2 by infrastructure, 9 ungradable\).* allows 10"):
        observe(limit, kinds(BY_INFRASTRUCTURE, *[SCORED] * 19))


def away_twice(prompts: Any, completions: Any, completion_ids: Any) -> list[Any]:
    """Of each group the completion of 3 tokens is away: two of eight."""
    return [InfrastructureError("away") if len(ids) == 3 else 1.0 + len(ids) for ids in completion_ids]


away_twice.patience = Patience(retries=0)  # type: ignore[attr-defined]


def test_the_window_is_in_a_checkpoint(tmp_path: Path) -> None:
    """Two missing a batch, and 8 rows a batch: a share of 0.25 of ten batches allows 20, so the eleventh would stop.

    At 0.12 it is 9.6: the fifth batch stops a run, resumed after the third or not.
    """
    settings: dict[str, Any] = {"max_steps": 8, "max_unscored": 0.12, "save_strategy": "steps", "save_steps": 3}
    whole = trainer(tmp_path, [away_twice], **settings)
    with pytest.raises(RewardSourceError, match=r"left 10 of 40 .*\(10 by infrastructure, 0 ungradable; the last one"):
        whole.train()
    again = trainer(tmp_path, [away_twice], **settings)
    with pytest.raises(RewardSourceError, match="left 10 of 40"):
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert list(again.scorer.limit.seen)[:3] == [(8, [[2, 0]])] * 3


def test_a_missing_score_of_a_transformed_source_stays_missing(tmp_path: Path) -> None:
    """A clip to [2, 3] acts on the score that is there, 1.5, and makes no number of what is missing."""
    source = {"source": judge, "name": "judge", "retries": 0, "transform": {"name": "clip", "low": 2, "high": 3}}
    line = first_line(tmp_path, source)
    assert (line["reward/judge"], line["unscored/judge"]) == (2.0, 6.0)


def test_a_row_without_score_is_not_there() -> None:
    """The loss of a batch is that of the batch without the row, whatever its log-probabilities are."""
    objective, rollouts, found = prepared("grpo", ALONE[:4])
    rest = torch.tensor([0, 2, 3])
    alone = replace(rollouts, group=rollouts.group[rest], mask=rollouts.mask[rest], rewards=rollouts.rewards[rest],
                    logps=rollouts.logps[rest])  # fmt: skip
    logps = torch.tensor([[-0.5, -1.5], [9.0, -9.0], [-2.0, -0.1], [-1.0, -1.0]])
    loss = objective.loss(rollouts, found, PolicyOutputs(logps))
    without = objective.loss(alone, objective.prepare(alone, objective.init_state()), PolicyOutputs(logps[rest]))
    torch.testing.assert_close(loss, without)
