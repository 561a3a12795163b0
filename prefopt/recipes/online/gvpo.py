"""Group variance policy optimisation."""

from __future__ import annotations

from prefopt.online.advantage import GroupCentred
from prefopt.online.aggregate import SequenceSum
from prefopt.online.gate import NoSurrogate
from prefopt.online.whole import GroupVariance, WholeGroupObjective
from prefopt.online.whole.group_variance import Anchor
from prefopt.recipes.registry import recipe


@recipe(
    kind="online",
    card="04/gvpo",
    confidence="A",
    arxiv="2504.19599",
    claim="It converges to the KL-regularised optimum from completions of any sampler.",
)
def gvpo(beta: float = 0.1, anchor: Anchor = "behaviour", average_prompts: bool = True) -> WholeGroupObjective:
    """Squared distance of a group's centred, beta-scaled log-ratios to the anchor from its centred rewards.

    No ratio, no clip, no deviation. ``anchor="reference"`` keeps one anchor for the whole run, as off-policy use does;
    ``average_prompts=False`` sums over the batch's prompts, as the released code does.
    """
    return WholeGroupObjective(
        advantage=GroupCentred(),
        gate=NoSurrogate(),
        aggregate=SequenceSum(),
        together=(GroupVariance(beta, anchor, average_prompts),),
    )
