"""In-token rationality optimisation."""

from __future__ import annotations

from prefopt.online.advantage import Verdict
from prefopt.online.gate import LogProbability
from prefopt.online.objective import OnlineObjective
from prefopt.online.policy_weight import AnswerConditioned
from prefopt.online.regularise import CandidateImitation
from prefopt.online.sampling import ByOutcome
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="05/intro",
    confidence="B",
    arxiv="2511.09865",
    claim="Weights by what one would say who knew the answer make rationales right more often, and shorter.",
)
def intro(candidates: int = 5, cap: float = 200.0, threshold: float = 0.5) -> OnlineObjective:
    """Likelihood of tokens of correct rationales, each weighted by its probability given the answer over that without.

    ``candidates`` tokens at every position count, the one that was taken among them. How the answer is put into the
    prompt is not known and left to the trainer.
    """
    if candidates < 1:
        raise ValueError(f"candidates counts the token that was taken and is at least 1, not {candidates}")
    return OnlineObjective(
        advantage=Verdict(threshold=threshold),
        policy_weight=(AnswerConditioned(cap, candidates > 1),),
        gate=LogProbability(),
        regularise=(CandidateImitation(cap, candidates - 1),) if candidates > 1 else (),
        sampling=(ByOutcome("correct", threshold),),
    )
