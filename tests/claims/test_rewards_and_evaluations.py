"""Every recipe that makes or judges rewards is listed, and the page of claims has something to show of it."""

from __future__ import annotations

import json

import pytest

from prefopt.cli import main
from prefopt.recipes.claims import claim_status
from scripts.claims.experiment import stored
from scripts.claims.report import on_real_data, page

REWARDS = {
    "armo", "bradley_terry", "focal", "goal_conditioned", "groupwise_pairwise", "hybrid_reward", "multi_level",
    "policy_discriminator", "process_advantage", "process_reward", "rao_kupper", "safety", "warm",
}  # fmt: skip
EVALUATIONS = {
    "eval_statistics", "flip_report", "imperfect_verifier", "ranking_accuracy", "reward_bench", "rm_regret",
}  # fmt: skip
OF_ANOTHER_KIND = {"log_sigmoid": "weighting", "social_welfare": "weighting", "high_confidence": "weighting"}
VARIANTS = {
    "focal": "Bradley-Terry with another weight of easy pairs",
    "rao_kupper": "Bradley-Terry with ties",
    "safety": "the cost model of high_confidence, whose claim is shown",
}
ON_REAL_DATA = {
    "reward_bench": ("evaluation", "RewardBench, Chat Hard"),
    "eval_statistics": ("verdicts", "any of two right"),
    "flip_report": ("verdicts", "mean rises by"),
}


def test_all_are_listed(capsys):
    """`prefopt methods` names them under their kinds, no more and no fewer."""
    assert main(["methods", "--json"]) == 0
    kinds = {row["name"]: row["kind"] for row in json.loads(capsys.readouterr().out)}
    assert {name for name, kind in kinds.items() if kind == "reward"} == REWARDS
    assert {name for name, kind in kinds.items() if kind == "eval"} == EVALUATIONS
    assert {name: kinds[name] for name in OF_ANOTHER_KIND} == OF_ANOTHER_KIND


@pytest.mark.parametrize("name", sorted({*REWARDS, *EVALUATIONS, *OF_ANOTHER_KIND} - set(VARIANTS)))
def test_each_has_a_claim_or_a_figure(name):
    """A claim that was tried, or a row of a table on real data."""
    if name in ON_REAL_DATA:
        file, row = ON_REAL_DATA[name]
        (found,) = (one for one in on_real_data() if one["name"] == file)
        assert any(row in cells[0] for cells in found["rows"])
        assert f'id="real-{file}"' in page({}, [found])
    else:
        assert name in stored()
        assert claim_status(name)["verdict"] in ("reproduced", "partly", "not reproduced")
