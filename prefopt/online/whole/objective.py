"""The online objective with terms that relate the completions of a prompt to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prefopt.batch import PolicyOutputs, Prepared, Rollouts
from prefopt.composition import IncompatibleParts
from prefopt.online.objective import OnlineObjective
from prefopt.online.slots import GroupTerm


@dataclass(frozen=True, kw_only=True)
class WholeGroupObjective(OnlineObjective):
    """`OnlineObjective` plus terms over whole groups; ``loss = its loss + sum over terms of term(policy, rollouts)``.

    Micro-batches have to hold whole groups. A method without a token surrogate takes the gate `NoSurrogate`.
    """

    together: tuple[GroupTerm, ...] = ()
    whole_groups: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.advantage.group_relative:
            raise IncompatibleParts(
                f"a term over whole groups needs completions that are judged within their group, and "
                f"{type(self.advantage).__name__} judges each alone"
            )

    def group_terms(self) -> tuple[GroupTerm, ...]:
        """Terms that relate the completions of a prompt to each other."""
        return self.together

    def loss(self, rollouts: Rollouts, prepared: Prepared, policy: PolicyOutputs) -> Tensor:
        """Return the scalar loss of a micro-batch of whole groups; see `OnlineMethod.loss`."""
        loss = super().loss(rollouts, prepared, policy)
        for number, term in enumerate(self.together):
            name, carried = type(term).__name__, prepared.carried[f"together.{number}"]
            loss = loss + term(policy.restrict(term.needs, name), rollouts.restrict(term.needs, name), carried)
        return loss
