"""Model-written asserts: for each of many problems a matrix of 100 programs by M asserts, and VeRPO's weights on it."""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from prefopt.report.palette import LIGHT
from reward_models.verifiable import UnitTests, VeRPO
from reward_models.verifiable.pass_matrix import pass_matrix
from scripts.bench.harness import RESULTS
from scripts.verifiable_real.programs import cut, problems, written, written_asserts

PROBLEMS, ASSERTS, FEWEST, SECONDS, TOGETHER = 24, 40, 10, 1.0, 10.0
PLOT = RESULTS / "verpo_weights.png"


def measure(count: int = PROBLEMS, plot: Path = PLOT) -> dict[str, Any]:
    """Build the matrices of the first problems with ten asserts and a program of each kind, and draw the weights."""
    verifier, weigh, found = UnitTests(timeout=SECONDS, suite_timeout=TOGETHER), VeRPO(), []
    for row, problem in enumerate(problems()):
        asserts = written_asserts(problem, row, ASSERTS)
        if len(asserts) < FEWEST or len(found) == count:
            continue
        programs = [cut(sample) for sample in written()[row]]
        tests = [{"assert": one, "timeout": SECONDS} for one in asserts]
        results = verifier.results(programs, programs, [tests] * len(programs), [problem.prefix] * len(programs))
        matrix = pass_matrix(results)
        dense = weigh(matrix)
        kept = ~dense.tests.pass_rates.isnan()
        found.append(
            {
                "problem": problem.name,
                "programs": matrix.shape[0],
                "asserts": matrix.shape[1],
                "without_verdict": int(matrix.isnan().sum()),
                "pass_rates": dense.tests.pass_rates[kept].tolist(),
                "weights": dense.tests.weights[kept].tolist(),
                "distinct_rewards": len(set(dense.turn_rewards[~dense.turn_rewards.isnan()].tolist())),
                "distinct_outcomes": len(set(dense.outcome[~dense.outcome.isnan()].tolist())),
            }
        )
    draw(found, plot)
    return {
        "problems": len(found),
        "cells": sum(one["programs"] * one["asserts"] for one in found),
        "cells_without_verdict": sum(one["without_verdict"] for one in found),
        "groups_with_signal_from_outcome": sum(one["distinct_outcomes"] > 1 for one in found),
        "groups_with_signal_from_tests": sum(one["distinct_rewards"] > 1 for one in found),
        "mean_distinct_rewards": mean(one["distinct_rewards"] for one in found),
        "plot": plot.name,
        "by_problem": found,
    }


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Left: each test's weight against its pass rate. Right: what all tests of a tenth of pass rates weigh together."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    single, together = figure.subplots(1, 2)
    rates = [rate for one in found for rate in one["pass_rates"]]
    weights = [weight for one in found for weight in one["weights"]]
    single.scatter(rates, weights, s=10, alpha=0.5, color=LIGHT["blue"], edgecolors="none")
    single.set(xlabel="pass rate of a test", ylabel="weight w'", yscale="log")
    tenths = [[k for k, rate in enumerate(rates) if min(9, int(rate * 10)) == tenth] for tenth in range(10)]
    middles = [0.05 + tenth / 10 for tenth in range(10)]
    share = [len(k) / len(rates) for k in tenths]
    weight = [sum(weights[k] for k in ks) / sum(weights) for ks in tenths]
    together.bar([x - 0.02 for x in middles], share, 0.04, color=LIGHT["faint"], label="share of the tests")
    together.bar([x + 0.02 for x in middles], weight, 0.04, color=LIGHT["vermilion"], label="share of the weight")
    together.set(xlabel="pass rate of a test")
    together.legend(frameon=False)
    figure.savefig(path, dpi=110)
