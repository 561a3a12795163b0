"""Dense rewards from unit tests."""

from __future__ import annotations

from prefopt.online.advantage.suite import SuiteAdvantage, TurnSuiteAdvantage
from prefopt.online.gate import Clip
from prefopt.online.objective import OnlineObjective
from prefopt.recipes.registry import recipe
from reward_models.verifiable.verpo import VeRPO


@recipe(
    kind="online",
    card="02/2",
    confidence="B",
    arxiv="2601.03525",
    claim="Tests weighted by difficulty and density, with an outcome anchor, learn faster than pass rate or outcome.",
)
def verpo(
    alpha: float = 2.0,
    bandwidth: float = 0.5,
    delta: float = 1e-8,
    gamma: float = 0.995,
    beta: float = 1.0,
    multi_turn: bool = False,
    density: bool = True,
    anchor: bool = True,
    sum_to_one: bool = False,
    normalise: bool = False,
    other_rewards: float = 0.0,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> OnlineObjective:
    """GRPO whose advantage is that of the outcome plus that of each turn's tests, weighted by difficulty and density.

    With ``multi_turn`` every turn is a submission with results of its own. The paper's ablations: ``beta=0`` (no turn
    advantage), ``anchor=False`` (no trajectory advantage), ``normalise=True``, ``density=False`` (difficulty only),
    ``alpha=0, density=False, sum_to_one=True`` (plain pass rate). gamma and beta are those of a re-implementation.
    """
    tests = VeRPO(alpha, bandwidth, delta, gamma, beta, density, anchor, sum_to_one, normalise)
    part = TurnSuiteAdvantage if multi_turn else SuiteAdvantage
    return OnlineObjective(advantage=part(tests, other_rewards), gate=Clip(clip_low, clip_high))
