"""VeRPO: from which tests a program passes to a dense reward and to advantages, for the attempts at one problem."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reward_models.errors import DataError

NARROWEST = 1e-8


@dataclass(frozen=True)
class SuiteWeights:
    """M tests of a problem: ``pass_rates``, ``difficulty``, ``density`` and ``weights``, each ``(M,)``.

    NaN where no attempt has a verdict on the test, and 0 as its weight.
    """

    pass_rates: Tensor
    difficulty: Tensor
    density: Tensor
    weights: Tensor


@dataclass(frozen=True)
class DenseRewards:
    """What VeRPO gives for N attempts of up to S turns; ``(N,)`` in place of ``(N, S)`` where there are no turns.

    NaN for turns that do not exist and for attempts that lack a verdict.

    Attributes:
        tests: weights of the tests.
        turn_rewards: ``(N, S)``, R. outcome: ``(N,)``, the discounted outcome.
        turn_advantages: ``(N, S)``. trajectory_advantages: ``(N,)``. advantages: ``(N, S)``, both together.
    """

    tests: SuiteWeights
    turn_rewards: Tensor
    outcome: Tensor
    turn_advantages: Tensor
    trajectory_advantages: Tensor
    advantages: Tensor


@dataclass(frozen=True)
class VeRPO:
    """Dense rewards from test results, weighted by how hard a test is and by how many others are as hard.

    For N attempts at one problem with ``M_x`` submissions in all (one a turn), ``p^j`` the verdict of test j::

        q_j     = mean of p^j over the M_x submissions           pass rate
        w_j     = exp(-alpha q_j)                                difficulty
        n_j     = sum_k exp(-(q_j - q_k)^2 / (2 sigma^2))        density, a soft count of tests like j
        w'_j    = w_j / (n_j + delta)
        R_{i,t} = sum_j w'_j p^j_{i,t}                           reward of turn t
        O_i     = 1[the last submission passes every test] * gamma^(number of turns)
        A_{i,t} = (O_i - mean O) + beta (R_{i,t} - mean R)

    ``sigma = bandwidth * std(q)``, of the population; a test counts in its own density. R of a turn is neither
    discounted nor summed over turns, its mean is that of all M_x submissions; nothing is divided by a deviation.
    Where all pass rates are equal (or there is one test) the density is the number of tests. A test that nobody
    passes adds nothing but counts in the density of its like. Equal submissions give exactly 0. An attempt with a
    submission that lacks a verdict on any test takes no part in any mean; with fewer than two attempts left,
    advantages are NaN.

    Example: four attempts that pass ``1111, 1110, 1100, 1000`` of four tests::

        q = (1, .75, .5, .25), sigma = .1398, n = (1.2036, 1.4055, 1.4055, 1.2036)
        w' = (.1124, .1588, .2618, .5039), R = (1.0369, .5330, .2712, .1124), mean .4884
        O = (.995, 0, 0, 0), A = (1.2948, -.2042, -.4659, -.6247)

    Attributes:
        alpha: how much more a hard test weighs; 0 = all alike. bandwidth: of the density, in standard deviations.
        delta: added to the density. gamma: discount a turn of the outcome. beta: weight of the turns' advantage.
        density: False = ``w' = w``. anchor: False = without the outcome. sum_to_one: divide ``w'`` by its sum; with
            ``alpha=0, density=False`` R is then the plain pass rate. normalise: divide each advantage by its unbiased
            standard deviation (the paper's ablation; which deviation it means is not known).

    Reference: VeRPO, arXiv 2601.03525. gamma and beta are those of a re-implementation.
    """

    alpha: float = 2.0
    bandwidth: float = 0.5
    delta: float = 1e-8
    gamma: float = 0.995
    beta: float = 1.0
    density: bool = True
    anchor: bool = True
    sum_to_one: bool = False
    normalise: bool = False

    def __post_init__(self) -> None:
        for name, low in (("alpha", 0.0), ("bandwidth", 0.0), ("delta", 0.0), ("beta", 0.0)):
            if not getattr(self, name) >= low:
                raise ValueError(f"{name} must be at least {low:g}, not {getattr(self, name)}")
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gamma must lie in (0, 1], not {self.gamma}")
        if not self.anchor and not self.beta:
            raise ValueError("anchor=False with beta=0 leaves no advantage at all")

    def weigh(self, pass_rates: Tensor) -> SuiteWeights:
        """Return the weights of tests with pass rates ``(M,)``; NaN = no verdict."""
        rates = pass_rates.double()
        present = ~torch.isnan(rates)
        known = rates[present]
        sigma = max(self.bandwidth * float(known.std(correction=0)) if len(known) else 0.0, NARROWEST)
        difficulty = (-self.alpha * rates).exp()
        alike = (-((known[:, None] - known) ** 2) / (2 * sigma**2)).exp().sum(1)
        density = torch.full_like(rates, torch.nan).masked_scatter(present, alike)
        weights = (difficulty / (density + self.delta) if self.density else difficulty).where(present, 0.0)
        if self.sum_to_one:
            weights = weights / weights.sum()
        return SuiteWeights(rates, difficulty, density, weights)

    def __call__(self, results: Tensor, turns: Tensor | None = None) -> DenseRewards:
        """Return weights, rewards and advantages of the attempts at one problem.

        Args:
            results: ``(N, M)``, or ``(N, S, M)`` with a submission a turn; 1 passed, 0 failed, NaN no verdict (all NaN:
                no such test, no such turn). turns: ``(N,)``, how many turns each attempt has; by default up to the last
                with a verdict.

        Raises:
            DataError: results that are neither 0, 1 nor NaN, or of another number of dimensions.
        """
        if results.ndim not in (2, 3):
            raise DataError(f"results has shape {tuple(results.shape)}, expected (N, M) or (N, S, M)")
        cube = results.double() if results.ndim == 3 else results.double()[:, None]
        known = ~torch.isnan(cube)
        passed = torch.where(known, cube, 0.0)
        if not torch.isin(passed, torch.tensor([0.0, 1.0], dtype=passed.dtype, device=passed.device)).all():
            raise DataError("results must be 1 (passed), 0 (failed) or NaN (no verdict)")
        counted, taken = _submissions(known, turns)
        attempts, present = counted.any(1), known.any(1).any(0)
        tests = self.weigh(passed[counted].mean(0).where(present, torch.nan))
        rewards = (passed * tests.weights).sum(-1)
        last = passed[torch.arange(len(cube), device=cube.device), (taken - 1).clamp(0, cube.shape[1] - 1)]
        solved = ((last == 1) | ~present).all(-1)
        outcome = solved * self.gamma ** taken.double()
        enough = attempts.sum() > 1
        turn_advantages = self._relative(rewards, counted & enough)
        trajectory_advantages = self._relative(outcome, attempts & enough)
        advantages = self.beta * turn_advantages + float(self.anchor) * trajectory_advantages[:, None]
        rewards, outcome = rewards.where(counted, torch.nan), outcome.where(attempts, torch.nan)
        found = (rewards, turn_advantages, advantages)
        rewards, turn_advantages, advantages = found if results.ndim == 3 else [one[:, 0] for one in found]
        return DenseRewards(tests, rewards, outcome, turn_advantages, trajectory_advantages, advantages)

    def _relative(self, values: Tensor, counted: Tensor) -> Tensor:
        """Return values minus the mean of those that count, exactly 0 where those are all the same; NaN elsewhere."""
        chosen = values[counted]
        if not len(chosen):
            return torch.full_like(values, torch.nan)
        centred = values - chosen.mean() if chosen.max() > chosen.min() else torch.zeros_like(values)
        if self.normalise and len(chosen) > 1:
            centred = centred / (chosen.std() + 1e-6)
        return centred.where(counted, torch.nan)


def _submissions(known: Tensor, turns: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return which submissions count, ``(N, S)``, and how many turns each attempt has, ``(N,)``."""
    tests, numbers = known.any(1).any(0), torch.arange(1, known.shape[1] + 1, device=known.device)
    judged = (known | ~tests).all(-1) & known.any(-1)
    taken = (known.any(-1) * numbers).amax(1)
    taken = taken if turns is None else torch.maximum(taken, turns.to(taken))
    expected = numbers <= taken[:, None]
    complete = (judged | ~expected).all(1) & (taken > 0) & (taken <= known.shape[1])
    return expected & complete[:, None], taken
