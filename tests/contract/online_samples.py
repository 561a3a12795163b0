"""Rollouts that the contract suite feeds to every online recipe."""

from __future__ import annotations

import torch

from prefopt.batch import NEEDS, PolicyOutputs, Rollouts

SHAPES = {"(B, T)": lambda b, t: (b, t), "(B,)": lambda b, t: (b,)}


def rollouts(
    objective,
    *,
    groups: int = 3,
    size: int = 4,
    tokens: int = 5,
    sources: int = 2,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Rollouts:
    """Rollouts with completions of different length, rewards in [0, 1 / sources], and what ``objective`` needs."""
    generator = torch.Generator().manual_seed(seed)
    rows = groups * size
    lengths = torch.randint(1, tokens + 1, (rows,), generator=generator)
    extras = {
        name: -torch.rand(SHAPES[NEEDS[name].shape](rows, tokens), generator=generator, dtype=dtype)
        for name in objective.needs
        if NEEDS[name].holder == "rollouts"
    }
    return Rollouts(
        group=torch.arange(groups).repeat_interleave(size),
        mask=torch.arange(tokens) < lengths[:, None],
        rewards=torch.rand(rows, sources, generator=generator) / sources,
        logps=-torch.rand(rows, tokens, generator=generator, dtype=dtype),
        extras=extras,
    )


def policy(objective, batch: Rollouts, *, drift: float = 0.3, seed: int = 1) -> PolicyOutputs:
    """A policy whose log-probabilities lie within ``drift`` of the behaviour policy's, with gradient."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch.logps.shape, generator=generator, dtype=batch.logps.dtype)
    logps = (batch.logps + drift * noise).requires_grad_()
    extras = {
        name.removeprefix("policy."): torch.rand(batch.logps.shape, generator=generator, dtype=batch.logps.dtype)
        for name in objective.needs
        if NEEDS[name].holder == "policy"
    }
    return PolicyOutputs(logps, extras)
