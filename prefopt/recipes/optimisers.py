"""Optimiser recipes, for ``optimiser:`` in the settings of any trainer."""

from __future__ import annotations

from typing import Literal, get_args

from torch.optim import Optimizer

from prefopt.optimisers import LIFT, MGUPAdamW, MGUPLion, MGUPMuon, OptimiserChoice
from prefopt.recipes.registry import recipe

Form = Literal["adamw", "lion", "muon"]
FORMS: dict[str, type[Optimizer]] = {"adamw": MGUPAdamW, "lion": MGUPLion, "muon": MGUPMuon}


@recipe(
    kind="optimiser",
    card="05/mgup",
    confidence="A",
    arxiv="2606.17526",
    claim="At tuned learning rates the loss after a fixed number of steps is no higher than the base optimiser's.",
)
def mgup(
    form: Form = "adamw",
    share: float = 0.5,
    large: float | None = None,
    small: float | None = None,
    cautious: bool = False,
    betas: tuple[float, float] | None = None,
) -> OptimiserChoice:
    """AdamW, Lion or Muon with a longer step where momentum and gradient agree most, a shorter one elsewhere.

    Factors are 1 / share and share, as in the paper; ``small=0.1`` is the released code's. ``betas`` are the form's own
    unless given.
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(get_args(Form))}, not '{form}'")
    settings = {"share": share, "large": large, "small": small, "cautious": cautious}
    return OptimiserChoice(FORMS[form], settings | ({"betas": tuple(betas)} if betas else {}))


@recipe(
    kind="optimiser",
    card="05/lift",
    confidence="A",
    arxiv="2506.00772",
    claim="Tuning principal weights alone learns as well as any choice of as many, and forgets less than full tuning.",
)
def lift(
    budget_rank: int = 128,
    filter_rank: int = 128,
    interval: int = 400,
    betas: tuple[float, float] = (0.9, 0.95),
    eps: float = 1e-6,
) -> OptimiserChoice:
    """AdamW on those entries of each matrix that are largest in its low-rank approximation, and on all vectors."""
    settings = {"budget_rank": budget_rank, "filter_rank": filter_rank, "interval": interval}
    return OptimiserChoice(LIFT, settings | {"betas": tuple(betas), "eps": eps})
