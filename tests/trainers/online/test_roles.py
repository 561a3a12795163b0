"""Judges and costs among the reward sources: said where a source is named, known to parts that treat them apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefopt.errors import UserError
from prefopt.trainers.compose import choose_objective, compose, with_roles, with_weights
from prefopt.trainers.online_config import OnlineConfig
from prefopt.trainers.rewards.reading import read_source, read_sources


def judge(prompts: Any, completions: Any, **_: Any) -> list[bool]:
    return [len(text) < 4 for text in completions]


def test_a_source_says_its_role() -> None:
    """A reward unless said; an unknown role names the known ones."""
    assert read_source(judge).role == "reward"
    assert read_source({"source": judge, "role": "judge"}).role == "judge"
    with pytest.raises(UserError, match=r"rewards\[0\]: role must be one of reward, judge, cost, not 'verdict'"):
        read_sources([{"source": judge, "role": "verdict"}])


@pytest.mark.parametrize("role", ["judge", "cost"])
def test_a_weight_that_nobody_reads(role: str) -> None:
    """-1 would not turn a cost round, nor a verdict: refused, in place of a weight without effect."""
    read_source({"source": judge, "role": role, "weight": 1})
    for weight in (-1.0, [1.0, 2.0]):
        with pytest.raises(UserError, match=f"the weight of a {role} is not read.* leave `weight` out"):
            read_source({"source": judge, "role": role, "weight": weight})


@pytest.mark.parametrize("optimiser", ["crpg", "codpo", "crraft"])
def test_judges_are_numbered(optimiser: str) -> None:
    """Sources 0 and 2 judge: the weighting and the term over whole groups know, and read the same weights."""
    objective = compose({"recipe": "mixture_of_judges", "optimiser": optimiser})
    filled = with_roles(with_weights(objective, [1.0, 2.0, 1.0]), ["judge", "reward", "judge"])
    readers = [part for _, part in filled.parts() if hasattr(part, "judges")]
    assert len(readers) == (1 if optimiser == "crpg" else 2)
    assert all(part.judges == (0, 2) and part.weights == (1.0, 2.0, 1.0) for part in readers)


def test_what_the_recipe_says_stays() -> None:
    """Judges that stand in the recipe are not replaced."""
    objective = compose({"recipe": "mixture_of_judges", "judges": [1]})
    assert with_roles(objective, ["judge", "reward"]).weighting.judges == (1,)


def test_the_cost_is_numbered() -> None:
    """Source 0 gives costs; two costs are refused, as one is bounded."""
    objective = compose("high_confidence")
    assert with_roles(objective, ["cost", "reward"]).weighting.cost == 0
    assert with_roles(objective, ["reward", "reward"]) == objective
    with pytest.raises(UserError, match="2 reward columns have `role: cost`, and high_confidence bounds one"):
        with_roles(objective, ["cost", "cost", "reward"])


def test_a_role_that_nobody_reads() -> None:
    """GRPO would add the verdict to the rewards: refused, with recipes that know what to do."""
    for role, example in (("judge", "mixture_of_judges"), ("cost", "high_confidence")):
        with pytest.raises(UserError, match=f"has `role: {role}`, and no part .* such as {example}"):
            with_roles(compose("grpo"), ["reward", role])


def test_a_threshold_for_each_column(tmp_path: Path) -> None:
    """Two thresholds for one source: refused before a model is loaded."""
    recipe = {"recipe": "constrained", "thresholds": [0.1, 0.2]}
    config = OnlineConfig(output_dir=str(tmp_path), recipe=recipe, use_cpu=True)
    with pytest.raises(UserError, match="2 thresholds for 1 reward sources"):
        choose_objective(config, None, read_sources([judge]), {})
