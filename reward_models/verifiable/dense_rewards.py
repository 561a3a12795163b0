"""What dense rewards from test results consist of."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class SuiteWeights:
    """M tests of a problem: ``pass_rates``, ``difficulty``, ``density`` and ``weights``, each ``(M,)``.

    NaN where no attempt has a verdict on the test, and 0 as its weight.
    """

    pass_rates: Tensor
    difficulty: Tensor
    density: Tensor
    weights: Tensor


@dataclass(frozen=True)
class DenseRewards:
    """What VeRPO gives for N attempts of up to S turns; ``(N,)`` in place of ``(N, S)`` where there are no turns.

    NaN for turns that do not exist and for attempts that lack a verdict.

    Attributes:
        tests: weights of the tests.
        turn_rewards: ``(N, S)``, R. outcome: ``(N,)``, the discounted outcome.
        turn_advantages: ``(N, S)``. trajectory_advantages: ``(N,)``. advantages: ``(N, S)``, both together.
    """

    tests: SuiteWeights
    turn_rewards: Tensor
    outcome: Tensor
    turn_advantages: Tensor
    trajectory_advantages: Tensor
    advantages: Tensor
