"""A bonus for completions whose hidden states use more directions than usual, or gain them faster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.composition import State, StatefulPart
from prefopt.online.choice import check_choice
from prefopt.online.effective_rank import rank_figures
from prefopt.online.slots import Adjustment

Reach = Literal["sequence", "last_token"]
FIGURES = ("rank", "velocity", "acceleration")


@dataclass(frozen=True)
class RankBonus(Adjustment, StatefulPart):
    """``A <- A + min(relu(Phi), |A| / kappa)``.

    ``x`` stands for rank, velocity and acceleration of a completion (`effective_rank`), ``mu_x`` for its running mean
    over batches::

        dev_x = clip((x - mu_x) / (|mu_x| + 1e-8), -5, 5)
        b     = sigmoid(gain * dev_acceleration)
        Phi   = b * tanh(dev_rank) + (1 - b) * tanh(dev_velocity)

    Where ``A`` is negative the bonus takes some of the penalty away. The first step is not shaped; it gives the first
    means (in the released code those start at 0, which drives the first bonus to its bound).

    Attributes:
        gain: how sharply acceleration decides between rank (explore) and velocity (exploit).
        kappa: the bonus is at most ``|A| / kappa``.
        reach: ``sequence``: all tokens get the bonus, as in the paper; ``last_token``: only the last, as in the code.
        scored: multiply Phi by ``1 - (mean + 1) / 2``, ``mean`` the running mean of the signal, which starts at 0.
        stride, window: a prefix of the last ``window`` tokens ends at every ``stride``-th.
        momentum: of the running means.

    Reference: VERL, arXiv 2509.23808.
    """

    gain: float = 2.0
    kappa: float = 2.0
    reach: Reach = "sequence"
    scored: bool = False
    stride: int = 40
    window: int = 512
    momentum: float = 0.7
    needs: ClassVar[frozenset[str]] = frozenset({"hidden_states"})
    arxiv: ClassVar[str] = "2509.23808"

    def __post_init__(self) -> None:
        check_choice("reach", self.reach, Reach)
        if not self.kappa > 0:
            raise ValueError(f"kappa must be positive, not {self.kappa}")

    def init_state(self) -> State:
        """Return zero means after zero steps."""
        means = {name: torch.zeros((), dtype=torch.float64) for name in (*FIGURES, "score")}
        return {**means, "steps": torch.zeros((), dtype=torch.int64)}

    def __call__(self, advantages: Tensor, signal: Tensor, rollouts: Rollouts, *_: Any, **state: Any) -> Tensor:
        """Return ``(B, T)``; without a state, as before the first step."""
        return self.evaluate(advantages, signal, rollouts, **state)[0]

    def statistics(self, advantages: Tensor, signal: Tensor, rollouts: Rollouts, *_: Any, **state: Any) -> State:
        """Return the sums of the figures and the signal over rows that take part, and their number."""
        return self.evaluate(advantages, signal, rollouts, **state)[1]

    def evaluate(
        self, advantages: Tensor, signal: Tensor, rollouts: Rollouts, *, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Return advantages and statistics; both come from the ranks, which cost an eigenvalue problem a prefix."""
        counted = rollouts.mask.any(-1)
        figures = self._figures(rollouts)
        totals = {name: figures[counted, i].sum() for i, name in enumerate(FIGURES)}
        statistics = {**totals, "score": signal[counted].double().sum(), "count": counted.sum()}
        state = state or self.init_state()
        if state["steps"] == 0:
            return advantages, statistics
        bonus = torch.minimum(self.potential(figures, state).relu()[:, None], advantages.abs().double() / self.kappa)
        if self.reach == "last_token":
            bonus = bonus * (rollouts.mask & (rollouts.mask.flip(-1).cumsum(-1).flip(-1) == 1))
        return advantages + bonus, statistics

    def potential(self, figures: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        """Return Phi ``(B,)`` from rank, velocity and acceleration ``(B, 3)``."""
        means = torch.stack([state[name] for name in FIGURES]).to(figures)
        rank, velocity, acceleration = ((figures - means) / (means.abs() + 1e-8)).clamp(-5, 5).unbind(-1)
        explore = torch.sigmoid(self.gain * acceleration)
        found = explore * rank.tanh() + (1 - explore) * velocity.tanh()
        return found * (1 - (state["score"].to(found) + 1) / 2) if self.scored else found

    def update(self, state: State, statistics: Mapping[str, Tensor]) -> State:
        """Move the means; a batch without a row changes nothing."""
        count = statistics["count"]
        if count == 0:
            return state
        new = {"steps": state["steps"] + 1}
        for name in (*FIGURES, "score"):
            mean = (statistics[name] / count).to(state[name])
            first = state["steps"] == 0 and name != "score"
            new[name] = mean if first else self.momentum * state[name] + (1 - self.momentum) * mean
        return new

    def _figures(self, rollouts: Rollouts) -> Tensor:
        states = rollouts.extras["hidden_states"]
        rows = [
            rank_figures(row[here], self.stride, self.window) for row, here in zip(states, rollouts.mask, strict=True)
        ]
        return torch.tensor(rows, dtype=torch.float64, device=states.device)
