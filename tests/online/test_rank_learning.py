"""Worked numbers of effective rank, its growth, and the bonus made of them."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.batch import Rollouts
from prefopt.online.adjust import RankBonus
from prefopt.online.effective_rank import effective_rank, rank_figures, rank_growth

STATE = {
    "rank": torch.tensor(10.0),
    "velocity": torch.tensor(1.0),
    "acceleration": torch.tensor(0.4),
    "score": torch.tensor(0.5),
    "steps": torch.tensor(1),
}
FIGURES = torch.tensor([[12.0, 1.5, 0.5]], dtype=torch.float64)


def test_effective_rank():
    """Rows (2, 0), (-2, 0), (0, 1), (0, -1): values sqrt(8) and sqrt(2), p = (2/3, 1/3), exp(0.63651) = 1.8899."""
    states = torch.tensor([[2.0, 0], [-2, 0], [0, 1], [0, -1]])
    assert effective_rank(states) == pytest.approx(1.8899, abs=5e-5)
    assert effective_rank(states + 7) == pytest.approx(1.8899, abs=5e-5)
    assert effective_rank(torch.nn.functional.pad(states, (0, 9))) == pytest.approx(1.8899, abs=5e-5)


def test_effective_rank_from_either_gram_matrix():
    """The values are those of a singular value decomposition, for more rows than columns and the other way round."""
    for shape in ((40, 6), (6, 40)):
        states = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        values = torch.linalg.svdvals(states - states.mean(0))
        share = values / values.sum()
        share = share[share > 1e-12]
        assert effective_rank(states) == pytest.approx(float((-(share * share.log()).sum()).exp()), rel=1e-6)


def test_degenerate_ranks():
    """One state, or none, has rank 0; states that are all alike have no direction: p = 0 everywhere, exp(0) = 1."""
    assert effective_rank(torch.ones(1, 3)) == 0
    assert effective_rank(torch.ones(0, 3)) == 0
    assert effective_rank(torch.ones(4, 3)) == 1


def test_growth():
    """m = (2, 3, 5, 4): d = (3 - 2, 5 - 2.5, 4 - 10/3) = (1, 2.5, 0.6667), mean 1.3889.

    Differences (1.5, -1.8333), mean -0.1667.
    """
    assert rank_growth([2.0, 3, 5, 4]) == pytest.approx((1.3889, -0.1667), abs=5e-5)
    assert rank_growth([2.0, 3]) == (1, 0)
    assert rank_growth([2.0]) == rank_growth([]) == (0, 0)


def test_prefixes():
    """Seven states, stride 2: prefixes of 3, 5 and 7 states; in a window of 5 they are of 3 and 5 of the last five."""
    states = torch.randn(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = effective_rank(states)
    for window, ends in ((512, (3, 5, 7)), (5, (3, 5))):
        last = states[-window:]
        growth = rank_growth([effective_rank(last[:end]) for end in ends])
        assert rank_figures(states, 2, window) == pytest.approx((whole, *growth))


def test_potential():
    """Deviations 0.2, 0.5, 0.25: b = sigmoid(0.5) = 0.6225, Phi = 0.6225 tanh(0.2) + 0.3775 tanh(0.5) = 0.2973.

    With a running score of 0.5 the factor is 1 - 0.75.
    """
    assert RankBonus().potential(FIGURES, STATE).item() == pytest.approx(0.2973, abs=5e-5)
    assert RankBonus(scored=True).potential(FIGURES, STATE).item() == pytest.approx(0.2973 / 4, abs=5e-5)


class Given(RankBonus):
    """A bonus whose figures are given: (12, 1.5, 0.5) for every completion."""

    def _figures(self, rollouts: Rollouts) -> torch.Tensor:
        return FIGURES.expand(len(rollouts), 3)


def given(advantages: list[float], tokens: int = 1, **settings: object) -> list[list[float]]:
    rows = len(advantages)
    mask = torch.ones(rows, tokens, dtype=torch.bool)
    batch = Rollouts(torch.zeros(rows), mask, torch.zeros(rows, 1), torch.zeros(rows, tokens))
    return Given(**settings)(torch.tensor(advantages)[:, None].expand(rows, tokens), torch.zeros(rows), batch,
                             state=STATE).tolist()  # fmt: skip


def test_bonus():
    """Phi = 0.2973 lies below |A| / 2 for A = 1 and -1: 1.2973 and -0.7027. A = 0 stays, 0.1 gets half of itself."""
    found = [row[0] for row in given([1.0, -1, 0, 0.1])]
    assert found == pytest.approx([1.2973, -0.7027, 0, 0.15], abs=5e-5)


def test_last_token():
    """The released code raises the last token only."""
    assert given([1.0], 3, reach="last_token")[0] == pytest.approx([1, 1, 1.2973], abs=5e-5)


def test_state():
    """The first step shapes nothing and gives the means; the second moves them by 0.3. The score starts at 0.

    Ranks 2 and 1 of the two completions (see below), rewards 1 and 0: rank 1.5, score 0.15, then 0.255.
    """
    square = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])  # two equal singular values: rank 2
    line = torch.tensor([[1.0, 0], [-1, 0], [2, 0], [-2, 0]])  # one direction: rank 1
    batch = Rollouts(
        torch.zeros(2),
        torch.ones(2, 4, dtype=torch.bool),
        torch.tensor([[1.0], [0.0]]),
        torch.zeros(2, 4),
        {"hidden_states": torch.stack([square, line])},
    )
    objective = recipes.build("rank_learning", eps=0.0)
    plain = recipes.build("grpo", eps=0.0).prepare(batch).advantages
    state = objective.init_state()
    prepared = objective.prepare(batch, state)
    assert torch.equal(prepared.advantages, plain)
    state = objective.update(state, prepared.statistics)
    assert state["adjust.0/rank"].item() == pytest.approx(1.5, abs=1e-5)
    assert state["adjust.0/score"].item() == pytest.approx(0.15)
    prepared = objective.prepare(batch, state)
    # b = 1/2; deviation (2 - 1.5) / 1.5 = 1/3: bonus tanh(1/3) / 2 = 0.16076, below 0.7071 / 2. The line has none.
    torch.testing.assert_close(prepared.advantages - plain, torch.tensor([[0.16076] * 4, [0.0] * 4]), atol=1e-4, rtol=0)
    state = objective.update(state, prepared.statistics)
    assert state["adjust.0/score"].item() == pytest.approx(0.7 * 0.15 + 0.3 * 0.5)
    assert state["adjust.0/rank"].item() == pytest.approx(1.5, abs=1e-5)
