"""Which inputs of the current policy are read when: over the whole mini-batch, or in every micro-batch."""

from __future__ import annotations

from prefopt.online.method import OnlineMethod

POLICY = "policy."


def refine_needs(objective: OnlineMethod) -> frozenset[str]:
    """Return what ``refine`` reads: needs of the parts of scope "batch", and of the ratio that they are given."""
    if objective.scope == "row":
        return frozenset()
    read = [part for slot, part in objective.parts() if getattr(part, "scope", "row") == "batch" or slot == "ratio"]
    return frozenset().union(*(part.needs for part in read))


def loss_needs(objective: OnlineMethod) -> frozenset[str]:
    """Return what ``loss`` reads: everything but what parts of scope "batch" alone declare."""
    parts = [part for _, part in objective.parts()]
    own = objective.needs - frozenset().union(*(part.needs for part in parts))
    rows = (part.needs for part in parts if getattr(part, "scope", "row") == "row")
    return own.union(*rows)


def of_policy(needs: frozenset[str]) -> frozenset[str]:
    """Return the names of the current policy's inputs among ``needs``, without their prefix."""
    return frozenset(name.removeprefix(POLICY) for name in needs if name.startswith(POLICY))
