"""A synthetic record of the size that a real run writes: for tests and for looking at the page.

``python -m tests.report.sample report.html`` writes it.
"""

from __future__ import annotations

import sys

import numpy as np

from prefopt.report import (
    Completion,
    DataCheck,
    Estimate,
    Example,
    Goal,
    Histogram,
    Policy,
    ReliabilityBin,
    RewardModelEvaluation,
    RewardSource,
    RunRecord,
    Sample,
    Stage,
    SubsetAccuracy,
    write_report,
)

STEPS = 120
PROMPTS = 300


def estimate(values: np.ndarray) -> Estimate:
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5
    return Estimate(float(values.mean()), float(values.mean() - half), float(values.mean() + half))


def history(random: np.random.Generator) -> tuple[dict[str, float | None], ...]:
    rows: list[dict[str, float | None]] = []
    for step in range(1, STEPS + 1):
        done = 1 / (1 + np.exp(-(step - 45) / 14))
        weights = np.array([1.0, 0.7 + 0.5 * done, 0.9 - 0.4 * done])
        weights = weights / weights.sum() + random.normal(0, 0.006, 3)
        rows.append(
            {
                "step": step * 5,
                "reward/verifier": 0.12 + 0.38 * done + random.normal(0, 0.045),
                "reward/learned": -0.6 + 1.1 * done + random.normal(0, 0.11),
                "reward/brevity": None if step == 17 else -0.42 + 0.1 * done + random.normal(0, 0.05),
                "weight/verifier": weights[0],
                "weight/learned": weights[1],
                "weight/brevity": weights[2],
                "reward_std": 0.41 - 0.09 * done + random.normal(0, 0.02),
                "advantage_std": 0.98 + random.normal(0, 0.03),
                "groups_without_signal": float(np.clip(0.34 - 0.2 * done + random.normal(0, 0.06), 0, 1)),
                "completion_length": 21.5 - 6 * done + random.normal(0, 0.7),
                "entropy": 2.1 - 1.15 * done + random.normal(0, 0.06),
                "clip_fraction": abs(0.012 + 0.03 * done + random.normal(0, 0.008)),
                "unscored": 2.0 if step == 17 else 0.0,
                "loss": random.normal(0, 0.02) - 0.01,
            }
        )
    return tuple(rows)


def policies(random: np.random.Generator) -> tuple[Policy, ...]:
    shapes = {"base": (0.12, -0.55, 21.0), "gdpo": (0.46, 0.42, 15.0), "dpo": (0.19, 0.05, 23.0)}
    described = {
        "base": "the embedded model as it is",
        "gdpo": "aligned online against three rewards",
        "dpo": "aligned offline on the preference pairs",
    }
    right: dict[str, np.ndarray] = {}
    built = []
    for name, (share, learned, length) in shapes.items():
        right[name] = (random.random(PROMPTS) < share).astype(float)
        lengths = np.clip(random.normal(length, 5, PROMPTS).round(), 3, 48)
        scores = learned + 0.6 * right[name] + 0.035 * (lengths - 18) + random.normal(0, 0.5, PROMPTS)
        brevity = -np.maximum(0, lengths - 12) / 20
        columns = {"verifier": right[name], "learned": scores, "brevity": brevity}
        built.append(
            Policy(
                name=name,
                description=described[name],
                accuracy=estimate(right[name]),
                gain=None if name == "base" else estimate(right[name] - right["base"]),
                rewards={reward: estimate(column) for reward, column in columns.items()},
                samples=tuple(
                    Sample({reward: float(column[row]) for reward, column in columns.items()}, int(lengths[row]))
                    for row in range(PROMPTS)
                ),
            )
        )
    return tuple(built)


def reward_model(random: np.random.Generator) -> RewardModelEvaluation:
    edges = tuple(np.linspace(-3, 3, 25).round(3).tolist())
    chosen, _ = np.histogram(random.normal(0.45, 0.8, 400), edges)
    rejected, _ = np.histogram(random.normal(-0.35, 0.85, 400), edges)
    table = [(0.5, 92, 0.525, 0.53), (0.6, 88, 0.65, 0.61), (0.7, 86, 0.75, 0.72), (0.8, 81, 0.85, 0.79)]
    table += [(0.9, 53, 0.94, 0.88)]
    return RewardModelEvaluation(
        name="Bradley-Terry on the sample preferences",
        pairs=400,
        accuracy=Estimate(0.715, 0.67, 0.7575),
        mean_margin=0.81,
        calibration_error=0.038,
        subsets=(
            SubsetAccuracy("right against wrong", 170, Estimate(0.82, 0.76, 0.87)),
            SubsetAccuracy("polite against curt", 140, Estimate(0.69, 0.61, 0.76)),
            SubsetAccuracy("short against long", 90, Estimate(0.55, 0.44, 0.65)),
        ),
        reliability=tuple(ReliabilityBin(low, round(low + 0.1, 1), n, sure, hit) for low, n, sure, hit in table),
        chosen_scores=Histogram(edges, tuple(float(count) for count in chosen)),
        rejected_scores=Histogram(edges, tuple(float(count) for count in rejected)),
    )


def example(prompt: str, reference: str, answers: dict[str, tuple[str, bool]]) -> Example:
    return Example(
        prompt,
        tuple(
            Completion(name, text, {"verifier": float(right), "learned": 0.1 * len(name), "brevity": -0.2}, right)
            for name, (text, right) in answers.items()
        ),
        reference,
    )


def sample() -> RunRecord:
    random = np.random.default_rng(7)
    return RunRecord(
        title="prefopt quickstart",
        subtitle="A tiny decoder, aligned online against a verifier, a learned reward model and a reward for "
        "brevity, and offline with DPO for comparison. All of it ran on a CPU, without a network.",
        created="20 November 2026, 10:12",
        command="prefopt quickstart --output-dir runs/quickstart",
        goal=Goal("gdpo", 0.20),
        settings={
            "seed": 0,
            "model": {"name": "embedded", "parameters": 1_180_416, "context": 128},
            "online": {"recipe": "gdpo", "learning_rate": 3e-4, "group": 8, "steps": 600, "weighting": "mo_grpo"},
            "offline": {"recipe": "dpo", "beta": 0.1, "learning_rate": 1e-4, "epochs": 1},
        },
        versions={"prefopt": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0", "trl": "1.16.0", "python": "3.11.9"},
        stages=(
            Stage("check the data", 0.8),
            Stage("train the reward model", 31.0),
            Stage("evaluate the reward model", 3.4),
            Stage("align online", 148.0),
            Stage("align offline", 29.0),
            Stage("score all policies", 14.5),
        ),
        data=(
            DataCheck("preferences.jsonl", 2003, 2000, "TRL preference", 3, 1, 0, 0, ("One duplicate was dropped.",)),
            DataCheck("prompts.jsonl", 1200, 1200, "prompts with answers"),
        ),
        reward_model=reward_model(random),
        rewards=(
            RewardSource("verifier", "1 where the number in the answer is right, otherwise 0."),
            RewardSource("learned", "The score of the Bradley-Terry model trained on the preference pairs."),
            RewardSource("brevity", "Falls with every token over twelve."),
        ),
        history=history(random),
        base="base",
        policies=policies(random),
        examples=(
            example(
                "Add the numbers and answer in one sentence: 14 + 23",
                "37",
                {
                    "base": ("The sum sum of the numbers is 14, is the is 23 and 31.", False),
                    "gdpo": ("The sum is 37.", True),
                    "dpo": ("Certainly! The sum of the two numbers is 36.", False),
                },
            ),
            example(
                "Which number is larger, 58 or 85?\nAnswer politely.",
                "85",
                {
                    "base": ("58 58 is larger", False),
                    "gdpo": ("The larger number is 85.", True),
                    "dpo": ("Gladly: the larger number is 85, and I hope that this helps you on your way.", True),
                },
            ),
            example("Repeat the word stone three times.", "", {"base": ("stone", False), "gdpo": ("", False)}),
        ),
    )


if __name__ == "__main__":
    print(write_report(sample(), sys.argv[1]))
