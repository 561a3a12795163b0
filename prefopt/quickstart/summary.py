"""The figures of a run: ``summary.json`` for programs, a short table for people."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from prefopt.quickstart.record import Findings
from prefopt.quickstart.settings import BASE, ONLINE, Settings
from prefopt.report import Estimate, Policy, RunRecord


def summary(record: RunRecord, found: Findings, settings: Settings) -> dict[str, Any]:
    """Return the figures as plain values; on one machine, all but ``seconds`` follow from the seed."""
    gain = _named(record, ONLINE).gain
    assert gain is not None
    assert record.reward_model is not None
    return {
        "seed": settings.seed,
        "held_out_prompts": len(found.data.held_out_prompts),
        "samples_per_prompt": settings.evaluation.samples_per_prompt,
        "goal": {"policy": ONLINE, "gain": settings.evaluation.goal, "reached": reached(gain, settings)},
        "policies": {policy.name: _policy(policy, found) for policy in record.policies},
        "reward_model": {
            "accuracy": asdict(record.reward_model.accuracy),
            "pairs": record.reward_model.pairs,
            "mean_margin": record.reward_model.mean_margin,
            "expected_calibration_error": record.reward_model.calibration_error,
        },
        "seconds": {
            **{name: round(s, 2) for name, s in found.seconds.items()},
            "total": round(sum(found.seconds.values()), 2),
        },
        "versions": dict(record.versions),
    }


def reached(gain: Estimate, settings: Settings) -> bool:
    """Whether the measured gain is at least the goal."""
    return gain.value >= settings.evaluation.goal


def write_summary(figures: dict[str, Any], path: Path) -> None:
    """Write strict JSON."""
    path.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def print_summary(record: RunRecord, figures: dict[str, Any], console: Console) -> None:
    """Print one line a policy, the reward model's accuracy, and whether the goal was reached."""
    table = Table(title="Held-out prompts", title_justify="left")
    table.add_column("policy")
    for heading in ("right", "95 % interval", "gain", *(reward.name for reward in record.rewards[1:]), "tokens"):
        table.add_column(heading, justify="right")
    for policy in record.policies:
        assert policy.accuracy is not None
        gain = "" if policy.gain is None else f"{100 * policy.gain.value:+.1f}"
        rewards = [f"{policy.rewards[reward.name].value:.2f}" for reward in record.rewards[1:]]
        tokens = f"{figures['policies'][policy.name]['mean_length']:.1f}"
        table.add_row(
            policy.name, f"{100 * policy.accuracy.value:.1f} %", _range(policy.accuracy), gain, *rewards, tokens
        )
    console.print(table)
    console.print(
        _reward_model_line(figures["reward_model"]["accuracy"]), _goal_line(record, figures["goal"]), sep="\n"
    )


def _reward_model_line(accuracy: dict[str, float]) -> str:
    interval = _range(Estimate(**accuracy))
    return f"Reward model: {100 * accuracy['value']:.1f} % of held-out pairs in the right order ({interval})."


def _goal_line(record: RunRecord, goal: dict[str, Any]) -> str:
    gain = _named(record, ONLINE).gain
    assert gain is not None
    word = "Reached" if goal["reached"] else "NOT reached"
    return (
        f"{word}: the goal is {100 * goal['gain']:.0f} points over the {BASE} policy; online alignment gained "
        f"{100 * gain.value:.1f} ({_range(gain)})."
    )


def _policy(policy: Policy, found: Findings) -> dict[str, Any]:
    judged = found.judged[policy.name]
    assert policy.accuracy is not None
    return {
        "accuracy": asdict(policy.accuracy),
        "greedy_accuracy": float(judged.greedy_right.double().mean()),
        "gain": None if policy.gain is None else asdict(policy.gain),
        "rewards": {name: asdict(mean) for name, mean in policy.rewards.items()},
        "mean_length": sum(judged.completions.lengths) / len(judged.completions.lengths),
    }


def _range(found: Estimate) -> str:
    return "" if found.low is None or found.high is None else f"{100 * found.low:.1f} to {100 * found.high:.1f}"


def _named(record: RunRecord, name: str) -> Policy:
    return next(policy for policy in record.policies if policy.name == name)
