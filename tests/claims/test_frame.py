"""The frame of the claim experiments: intervals, comparisons, storing, and what an installed package knows of them."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from prefopt import recipes
from prefopt.cli import main
from prefopt.recipes import claims
from scripts.claims import plots, report, status
from scripts.claims.experiment import EXPERIMENTS, Experiment, Measured, Verdict, experiment, judge, run, store, stored
from scripts.claims.numbers import Number, each_seed, first_step, interval
from scripts.claims.table import experiments


def rule(numbers):
    """Reproduced where a is below b."""
    return Verdict.REPRODUCED if numbers["a"].below(numbers["b"]) else Verdict.NOT_REPRODUCED


def example(values) -> Experiment:
    def measure(seeds):
        curve = np.outer(np.ones(len(seeds)), np.arange(100.0))
        drawn = (plots.lines("Growth <b>", "step", "value", range(100), {"a": curve}), plots.bars("All", "v", values))
        return Measured(values, drawn, ("A note.",))

    return Experiment("grpo", "a is smaller than b.", rule, 3, measure)


def test_t_interval():
    """1, 2, 3: mean 2, unbiased s 1, t_{0.975, 2} = 4.3027: half width 4.3027 / sqrt(3) = 2.4841."""
    found = [float(part) for part in interval(np.array([1.0, 2.0, 3.0]))]
    assert found == pytest.approx([2, 2 - 2.4841, 2 + 2.4841], abs=1e-4)


def test_one_seed_has_no_interval():
    assert math.isnan(Number((1.0,)).low)
    assert not Number((1.0,)).below(0.5)


def test_comparison_is_paired():
    """Differences -1, -1.1, -0.9: mean -1, s 0.1, half width 0.2484, so below; the ranges themselves overlap.

    The other way round, and against the mean of 2, nothing is beyond doubt.
    """
    a, b = Number((1.0, 2.0, 3.0)), Number((2.0, 3.1, 3.9))
    assert (a.below(b), b.below(a), b.above(a), a.below(2.0)) == (True, False, True, False)


def test_equal_values_are_neither_above_nor_below():
    """Differences of exactly 0 have an interval of width 0 at 0; a constant gap of 1 is one without doubt."""
    a, b = Number((1.0, 1.0)), Number((2.0, 2.0))
    assert (a.below(a), a.above(a), a.below(b)) == (False, False, True)


def test_first_step():
    """Curve .1 .6 .4 exceeds .5 at step 1; one that never does counts with its last step, 2; measured every 5 steps."""
    assert first_step(np.array([[0.1, 0.6, 0.4], [0.1, 0.2, 0.3]]), 0.5, every=5).tolist() == [5, 10]


def test_each_seed_stacks():
    found = each_seed(lambda seed: {"x": seed, "curve": [seed, seed + 1]}, [3, 5])
    assert found["x"].tolist() == [3, 5]
    assert found["curve"].tolist() == [[3, 4], [5, 6]]


def test_result_round_trip(tmp_path):
    """What is stored judges itself the same, draws its plots, and escapes what stands in names."""
    one = example({"a": [1.0, 2.0, 3.0], "b": [2.0, 3.1, 3.9]})
    result = run(one)
    assert (result["verdict"], result["seeds"], result["rule"]) == ("reproduced", [0, 1, 2], rule.__doc__)
    store(result, tmp_path)
    again = stored(tmp_path)
    assert again == {"grpo": json.loads(json.dumps(result))}
    assert judge(one, again["grpo"]) == "reproduced"
    page = report.page(again)
    assert page.count("<figure>") == 2
    for text in ("a is smaller than b.", "1 claims: 1 reproduced", "Growth &lt;b&gt;", "A note.", "-0.4841 to 4.484"):
        assert text in page
    assert not re.search(r'(?:src|href)="(?!#)|url\((?!#)', page)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize(
    ("values", "message"),
    [({"a": [1.0, 2.0]}, "'a' has shape .2,., expected one value a seed"), ({"a": [1, np.inf, 2]}, "seed number 1")],
)
def test_values_that_are_none(values, message):
    with pytest.raises(ValueError, match=message):
        run(example(values))


def test_a_claim_is_registered_with_seeds_and_words():
    with pytest.raises(ValueError, match="at least 3 seeds"):
        experiment(claim="x", rule=rule, seeds=2)
    with pytest.raises(ValueError, match="needs a docstring"):
        experiment(claim="x", rule=lambda numbers: Verdict.PARTLY, seeds=3)
    with pytest.raises(recipes.UnknownRecipe):
        experiment(claim="x", rule=rule, seeds=3, recipe="no_such_recipe")(lambda seeds: Measured({}))


def test_package_and_results_say_the_same():
    """``prefopt/recipes/claims.json`` is what ``scripts/claims/results`` says; every run writes it."""
    assert status.PACKAGED.read_text(encoding="utf-8") == status.text(stored())


@pytest.mark.parametrize("name", sorted(stored()))
def test_every_verdict_follows_from_its_numbers(name):
    """Today's rule, applied to the stored values, gives the stored verdict; claim and rule are those of the file."""
    result, one = stored()[name], experiments()[name]
    assert result["verdict"] == judge(one, result)
    assert (result["claim"], result["rule"]) == (one.claim, one.rule_in_words)
    assert len(result["seeds"]) == one.seeds


@pytest.mark.claims
@pytest.mark.parametrize("name", sorted(experiments()))
def test_experiment_again(name):
    """Run anew, the verdict is the stored one."""
    assert run(EXPERIMENTS[name])["verdict"] == stored()[name]["verdict"]


def test_methods_show_what_was_found(monkeypatch, capsys):
    """A recipe with a stored result shows verdict and figures, in text and JSON; one without was not tried."""
    found = json.loads(status.text({"grpo": run(example({"a": [1.0, 2.0, 3.0], "b": [2.0, 3.1, 3.9]}))}))
    monkeypatch.setattr(claims, "_stored", lambda: found)
    assert main(["methods", "grpo", "--json"]) == 0
    page = json.loads(capsys.readouterr().out)
    assert page["claim_status"]["verdict"] == page["claim_verdict"] == "reproduced"
    assert page["claim_status"]["numbers"]["a"]["mean"] == 2
    assert main(["methods", "--json"]) == 0
    verdicts = {row["name"]: row["claim_verdict"] for row in json.loads(capsys.readouterr().out)}
    assert (verdicts["grpo"], verdicts["rloo"]) == ("reproduced", "not tried")
    assert main(["methods", "grpo"]) == 0
    assert "On a small problem: reproduced (3 seeds" in " ".join(capsys.readouterr().out.split())
    assert main(["methods", "grpo", "--full"]) == 0
    assert "a 2 " in " ".join(capsys.readouterr().out.split())
