"""A small literal record: every figure in the tests' expectations can be read off here."""

from __future__ import annotations

from prefopt.report import (
    Completion,
    Estimate,
    Example,
    Goal,
    Policy,
    ReliabilityBin,
    RewardModelEvaluation,
    RewardSource,
    RunRecord,
    Sample,
    Stage,
    SubsetAccuracy,
)


def samples(verifier: list[float | None], lengths: list[int]) -> tuple[Sample, ...]:
    return tuple(
        Sample({"verifier": score, "brevity": -length / 10}, length)
        for score, length in zip(verifier, lengths, strict=True)
    )


def literal(gain: Estimate | None = Estimate(0.31, 0.24, 0.37), goal: Goal | None = Goal("tuned", 0.2)) -> RunRecord:
    return RunRecord(
        title="literal",
        goal=goal,
        stages=(Stage("train", 61.2), Stage("score", 4.0)),
        rewards=(RewardSource("verifier", "Right or wrong."), RewardSource("brevity", "Short or long.")),
        reward_model=RewardModelEvaluation(
            name="pairs",
            pairs=200,
            accuracy=Estimate(0.7, 0.63, 0.77),
            mean_margin=0.5,
            calibration_error=0.03,
            subsets=(
                SubsetAccuracy("easy", 100, Estimate(0.85, 0.78, 0.92)),
                SubsetAccuracy("hard", 100, Estimate(0.55, 0.45, 0.65)),
            ),
            reliability=(
                ReliabilityBin(0.5, 0.75, 100, 0.6, 0.55),
                ReliabilityBin(0.75, 1.0, 100, 0.9, 0.85),
            ),
        ),
        history=tuple(
            {
                "step": step,
                "reward/verifier": 0.1 if step < 10 else 0.5,
                "reward/brevity": None if step == 3 else -1.0,
                "weight/verifier": 0.5 + 0.01 * step,
                "weight/brevity": 0.5 - 0.01 * step,
                "groups_without_signal": 0.4 if step < 10 else 0.25,
                "unscored": 1.0 if step == 3 else 0.0,
            }
            for step in range(20)
        ),
        base="base",
        policies=(
            Policy(
                "base",
                accuracy=Estimate(0.12, 0.08, 0.16),
                rewards={"verifier": Estimate(0.12, 0.08, 0.16), "brevity": Estimate(-1.0, -1.1, -0.9)},
                samples=samples([0, 0, 0, 1], [8, 10, 12, 10]),
            ),
            Policy(
                "tuned",
                accuracy=Estimate(0.43, 0.37, 0.49),
                gain=gain,
                rewards={"verifier": Estimate(0.43, 0.37, 0.49), "brevity": Estimate(-1.4, -1.5, -1.3)},
                samples=samples([1, None, 0, 1, 1], [12, 14, 16, 14, 14]),
            ),
        ),
        examples=(Example("2 + 2?", (Completion("base", "5", {"verifier": 0.0}, False),), "4"),),
    )
