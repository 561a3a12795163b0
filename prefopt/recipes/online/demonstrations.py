"""Switches between learning from rollouts and from demonstrations."""

from __future__ import annotations

from typing import Literal

from prefopt.online.advantage import OwnGroup
from prefopt.online.aggregate import HybridSum, PromptMean
from prefopt.online.choice import check_choice
from prefopt.online.gate import Clip, LogProbability
from prefopt.online.objective import OnlineObjective
from prefopt.online.ratio import ReferenceRatio, TokenRatio
from prefopt.online.regularise import Imitation
from prefopt.online.sampling import DemonstrationSwitch
from prefopt.online.whole import SuccessPairs, WholeGroupObjective
from prefopt.recipes.online.penalties import entropy_bonus
from prefopt.recipes.registry import recipe

RatioTo = Literal["reference", "behaviour"]


@recipe(
    kind="online",
    card="05/hpt",
    confidence="A",
    arxiv="2509.04419",
    aliases=("upge",),
    claim="A switch on the prompt's own success rate beats fine-tuning, rollouts, and one after the other.",
)
def hpt(
    most_successes: int = 0,
    sft: float = 1.0,
    correct_above: float = 0.5,
    entropy: float = 1e-3,
    max_length: int | None = None,
) -> OnlineObjective:
    """Fine-tuning on the demonstration where at most ``most_successes`` rollouts succeed, REINFORCE elsewhere.

    Rollouts: group-centred, no clip, summed over rows and tokens and divided by the longest length; demonstrations: a
    mean over tokens. The paper's gate ``most_successes`` is 0 for Qwen and 2 for Llama, of 8 rollouts. A demonstration
    is one more row of its group, ``from_expert``.
    """
    return OnlineObjective(
        advantage=OwnGroup(),
        gate=LogProbability(),
        aggregate=HybridSum(max_length),
        regularise=(Imitation(sft), *entropy_bonus(entropy)),
        sampling=(DemonstrationSwitch(most_successes, correct_above),),
    )


@recipe(
    kind="online",
    card="05/dypo",
    confidence="A",
    arxiv="2604.08926",
    claim="Pairs of own successes and failures lower the gradient's variance below that of GRPO.",
)
def dypo(
    alpha: float = 0.5,
    pair_beta: float = 1.0,
    sft: float = 1.0,
    correct_above: float = 0.5,
    ratio_to: RatioTo = "reference",
    per_token: bool = False,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    ddof: int = 1,
    eps: float = 1e-4,
) -> WholeGroupObjective:
    """Unsolved prompts imitate a teacher, mixed ones learn by GRPO and by pairs of their answers, solved ones drop out.

    The paper draws one of several teachers' answers; here all of them are rows ``from_expert`` and their mean, which is
    the draw's expectation, is taken. It gives no weight for imitation; 1 is our choice. Its ratio is written against
    the reference; ``ratio_to="behaviour"`` is the usual one. ``per_token`` keeps pairs of long answers from saturating.
    """
    check_choice("ratio_to", ratio_to, RatioTo)
    return WholeGroupObjective(
        advantage=OwnGroup(ddof, eps),
        ratio=ReferenceRatio() if ratio_to == "reference" else TokenRatio(),
        gate=Clip(clip_low, clip_high),
        aggregate=PromptMean(alpha),
        regularise=(Imitation(sft),),
        sampling=(DemonstrationSwitch(0, correct_above, drop_solved=True),),
        together=(SuccessPairs(1 - alpha, pair_beta, correct_above, per_token),),
    )
