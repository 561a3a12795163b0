"""VeRPO: from which tests a program passes to a dense reward and to advantages, for the attempts at one problem."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reward_models.errors import DataError
from reward_models.verifiable.dense_rewards import DenseRewards, SuiteWeights

NARROWEST = 1e-8


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
        """Return the weights of tests with pass rates ``(..., M)``; NaN = no verdict."""
        rates = pass_rates.double()
        present = ~torch.isnan(rates)
        mean = _mean(rates, present, -1)
        sigma = (self.bandwidth * _mean((rates - mean) ** 2, present, -1).sqrt()).clamp(min=NARROWEST)
        difficulty = (-self.alpha * rates).exp()
        # Few pass rates are different, so that tests are compared with these, not each with every other.
        levels, level = torch.unique(rates.nan_to_num(-1), return_inverse=True)
        tests = rates.new_zeros(*rates.shape[:-1], len(levels)).scatter_add_(-1, level, present.double())
        gaps = (rates[..., None] - levels) / sigma[..., None]
        density = ((-(gaps**2) / 2).exp() * tests[..., None, :]).sum(-1)
        weights = (difficulty / (density + self.delta) if self.density else difficulty).where(present, 0.0)
        if self.sum_to_one:
            weights = weights / weights.sum(-1, keepdim=True)
        return SuiteWeights(rates, difficulty, density, weights)

    def __call__(self, results: Tensor, turns: Tensor | None = None) -> DenseRewards:
        """Return weights, rewards and advantages of the attempts at one problem, or at each of P problems.

        Args:
            results: ``(N, M)``, or ``(N, S, M)`` with a submission a turn; 1 passed, 0 failed, NaN no verdict (all NaN:
                no such test, no such turn). ``(P, N, S, M)`` for several problems, shorter ones padded with NaN; every
                tensor that is returned then begins with P. turns: ``(N,)`` or ``(P, N)``, how many turns each attempt
                has; by default up to the last with a verdict.

        Raises:
            DataError: results that are neither 0, 1 nor NaN, or of another number of dimensions.
        """
        if results.ndim not in (2, 3, 4):
            raise DataError(f"results has shape {tuple(results.shape)}, expected (N, M), (N, S, M) or (P, N, S, M)")
        cube = results.double() if results.ndim > 2 else results.double()[:, None]
        known = ~torch.isnan(cube)
        passed = torch.where(known, cube, 0.0)
        if not ((passed == 0) | (passed == 1)).all():
            raise DataError("results must be 1 (passed), 0 (failed) or NaN (no verdict)")
        present = known.any(-2).any(-2)
        counted, taken = _submissions(known, present, turns)
        attempts = counted.any(-1)
        submissions = counted.sum((-1, -2))[..., None]
        rates = (passed * counted[..., None]).sum((-2, -3)) / submissions
        tests = self.weigh(rates.where(present & (submissions > 0), torch.nan))
        rewards = (passed * tests.weights[..., None, None, :]).sum(-1)
        last = (taken - 1).clamp(0, cube.shape[-2] - 1)[..., None, None].expand(*taken.shape, 1, cube.shape[-1])
        solved = ((passed.gather(-2, last)[..., 0, :] == 1) | ~present[..., None, :]).all(-1)
        outcome = solved * self.gamma ** taken.double()
        compared = attempts & (attempts.sum(-1, keepdim=True) > 1)
        turn_advantages = self._relative(rewards, counted & compared[..., None], 2)
        trajectory_advantages = self._relative(outcome, compared, 1)
        advantages = self.beta * turn_advantages + float(self.anchor) * trajectory_advantages[..., None]
        rewards, outcome = rewards.where(counted, torch.nan), outcome.where(attempts, torch.nan)
        found = (rewards, turn_advantages, advantages)
        rewards, turn_advantages, advantages = found if results.ndim > 2 else [one[:, 0] for one in found]
        return DenseRewards(tests, rewards, outcome, turn_advantages, trajectory_advantages, advantages)

    def _relative(self, values: Tensor, counted: Tensor, dimensions: int) -> Tensor:
        """Return values minus the mean of those that count, exactly 0 where those are all the same; NaN elsewhere.

        The last ``dimensions`` belong to one problem.
        """
        flat, chosen = values.flatten(-dimensions), counted.flatten(-dimensions)
        centred = flat - _mean(flat, chosen, -1)
        uniform = flat.where(chosen, -torch.inf).amax(-1) <= flat.where(chosen, torch.inf).amin(-1)
        centred = centred.where(~uniform[..., None], 0.0)
        if self.normalise:
            freedom = (chosen.sum(-1, keepdim=True) - 1).clamp(min=1)
            centred = centred / (((centred**2).where(chosen, 0.0).sum(-1, keepdim=True) / freedom).sqrt() + 1e-6)
        return centred.where(chosen, torch.nan).reshape(values.shape)


def _mean(values: Tensor, where: Tensor, dimension: int) -> Tensor:
    """Return the mean over a dimension, which is kept, of the values that count; NaN where none does."""
    return values.where(where, 0.0).sum(dimension, keepdim=True) / where.sum(dimension, keepdim=True)


def _submissions(known: Tensor, present: Tensor, turns: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return which submissions count, ``(..., N, S)``, and how many turns each attempt has, ``(..., N)``."""
    longest = known.shape[-2]
    numbers = torch.arange(1, longest + 1, device=known.device)
    some = known.any(-1)
    judged = (known | ~present[..., None, None, :]).all(-1) & some
    taken = (some * numbers).amax(-1)
    taken = taken if turns is None else torch.maximum(taken, turns.to(taken))
    expected = numbers <= taken[..., None]
    complete = (judged | ~expected).all(-1) & (taken > 0) & (taken <= longest)
    return expected & complete[..., None], taken
