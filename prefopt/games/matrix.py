"""A preference game on finitely many answers, in the tabular form: a matrix of win rates and a reference policy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TOLERANCE = 1e-9


@dataclass(frozen=True)
class MatrixGame:
    """``preference`` ``(..., n, n)``: ``P[i, j]`` is the probability that answer i beats answer j, ``P + P^T = 1``.

    ``reference`` ``(..., n)``: the policy that the regularised game stays near; uniform unless given. Leading
    dimensions are games side by side, one a seed say. Everything is computed in the matrix's dtype; take float64.

    Raises:
        ValueError: no square matrix, win rates outside [0, 1] or that do not add up to 1, a reference that is no
            distribution or gives an answer probability 0.
    """

    preference: Tensor
    reference: Tensor | None = None

    def __post_init__(self) -> None:
        table = self.preference
        if table.ndim < 2 or table.shape[-1] != table.shape[-2] or not table.is_floating_point():
            raise ValueError(f"preference must be float (..., n, n), not {table.dtype} {tuple(table.shape)}")
        outside = ~((table >= 0) & (table <= 1))
        if outside.any():
            *game, i, j = outside.nonzero()[0].tolist()
            where = f"P[{', '.join(map(str, (*game, i, j)))}]"
            raise ValueError(f"{where} is {float(table[(*game, i, j)]):g}: a win rate lies outside [0, 1]")
        apart = (table + table.mT - 1).abs()
        if (apart > TOLERANCE).any():
            i, j = apart.reshape(-1, *table.shape[-2:])[0].nonzero()[0].tolist() if table.ndim == 2 else ("i", "j")
            raise ValueError(
                f"P[{i}, {j}] + P[{j}, {i}] is not 1; give (P + 1 - P^T) / 2 where two answers were compared twice"
            )
        if self.reference is None:
            object.__setattr__(self, "reference", torch.full_like(table[..., 0], 1 / table.shape[-1]))
        else:
            check_policy(self.reference, table.shape[-1], "reference")
            if not (self.reference > 0).all():
                raise ValueError("the reference gives an answer probability 0; every regularised policy would too")

    @property
    def answers(self) -> int:
        """n."""
        return self.preference.shape[-1]

    @property
    def ref(self) -> Tensor:
        """The reference, never None."""
        assert self.reference is not None
        return self.reference

    def win_rates(self, opponent: Tensor) -> Tensor:
        """Return ``(P pi)_i`` ``(..., n)``: how often each answer beats one drawn from ``opponent``."""
        return (self.preference @ opponent[..., None])[..., 0]


def check_policy(policy: Tensor, answers: int, name: str = "policy") -> None:
    """Raise ``ValueError`` for what is no distribution over the answers."""
    if policy.shape[-1] != answers:
        raise ValueError(f"{name} has {policy.shape[-1]} answers, the game {answers}")
    if not torch.isfinite(policy).all():
        *game, answer = (~torch.isfinite(policy)).nonzero()[0].tolist()
        of_game = f" of game {game[0] if len(game) == 1 else game}" if game else ""
        raise ValueError(f"{name}{of_game} gives answer {answer} the probability {float(policy[(*game, answer)])}")
    if (policy < 0).any() or ((policy.sum(-1) - 1).abs() > 1e-6).any():
        raise ValueError(f"{name} is no distribution: its entries must be non-negative and add up to 1")
