"""The queue alone, with a model that is a function of the row: what is shared, what is split, what is refused."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor

from reward_models.batching import token_budget_batches
from reward_models.formatting import Encoded
from reward_models.prefix_tree import Bundle
from reward_models.serving import MicroBatcher, ServingSettings
from reward_models.serving.errors import RequestError


class Sums:
    """A model that scores a row with its sum and its length, and fails on 13; the first pass can be held back."""

    def __init__(self, held: bool = False) -> None:
        self.passes: list[list[list[int]]] = []
        self.go = threading.Event()
        self.begun = threading.Event()
        if not held:
            self.go.set()

    def batches(self, rows: list[Encoded], budget: int) -> list[Bundle]:
        return [Bundle(batch, []) for batch in token_budget_batches([len(r.input_ids) for r in rows], budget)]

    def score_encoded(self, encoded: list[Encoded], batch_size: int) -> Tensor:
        assert batch_size == len(encoded)
        rows = [row.input_ids for row in encoded]
        self.passes.append(rows)
        self.begun.set()
        assert self.go.wait(10)
        if any(13 in row for row in rows):
            raise RuntimeError("unlucky")
        return torch.tensor([[float(sum(row)), float(len(row))] for row in rows])


def batcher(score: Sums, **settings: float) -> MicroBatcher:
    return MicroBatcher(score, ServingSettings(**{"max_wait_ms": 0.0, **settings}))


def rows(*ids: list[int]) -> list[Encoded]:
    return [Encoded(row, 0) for row in ids]


def queued(score: Sums, found: MicroBatcher) -> None:
    """Occupy the worker, so that what is submitted next waits together."""
    found.submit(rows([0]))
    assert score.begun.wait(10)


def test_requests_share_a_pass_and_get_their_own_rows_in_order() -> None:
    """Two requests wait while the worker is busy. Their four rows go through in one pass, longest first (lengths 4, 4,
    4, 3: 4 rows of width 4 = 16 tokens, the budget), and each request gets its rows in its own order."""
    score = Sums(held=True)
    found = batcher(score, max_batch_tokens=16)
    queued(score, found)
    first, second = found.submit(rows([1] * 3, [1] * 4)), found.submit(rows([2] * 4, [3] * 4))
    score.go.set()
    assert first.result(10) == [[3.0, 3.0], [4.0, 4.0]]
    assert second.result(10) == [[8.0, 4.0], [12.0, 4.0]]
    assert [len(one) for one in score.passes] == [1, 4]
    assert [len(row) for row in score.passes[1]] == [4, 4, 4, 3]
    found.close()


def test_the_token_budget_counts_padding() -> None:
    """Lengths 4, 3, 3, 1 under 8 tokens: 2 x 4 = 8 fills a pass; 3 and 1 go apart, 2 of 2 x 3 would be padding."""
    score = Sums(held=True)
    found = batcher(score, max_batch_tokens=8)
    queued(score, found)
    answer = found.submit(rows([1], [1] * 3, [1] * 4, [2] * 3))
    score.go.set()
    assert answer.result(10) == [[1.0, 1.0], [3.0, 3.0], [4.0, 4.0], [6.0, 3.0]]
    assert [[len(row) for row in one] for one in score.passes[1:]] == [[4, 3], [3], [1]]
    found.close()


def test_equal_rows_are_scored_once() -> None:
    """Three requests hold [5] four times and [6] once: two rows pass, three ride along."""
    score = Sums(held=True)
    found = batcher(score)
    queued(score, found)
    answers = [found.submit(rows([5], [5])), found.submit(rows([5])), found.submit(rows([6], [5]))]
    score.go.set()
    assert [answer.result(10) for answer in answers] == [[[5, 1], [5, 1]], [[5, 1]], [[6, 1], [5, 1]]]
    assert score.passes[1] == [[5], [6]]
    assert (found.counts.texts, found.counts.scored, found.counts.shared) == (6, 3, 3)
    found.close()


def test_a_row_that_fails_takes_no_other_with_it() -> None:
    """8 rows with one bad one fail as 8, then 4, 2 and 1; the other halves of 4, 2 and 1 succeed: 7 passes. The two
    requests give a row each in turn, so the bad one is the second."""
    score = Sums(held=True)
    found = batcher(score)
    queued(score, found)
    good = found.submit(rows(*([n] for n in range(1, 8))))
    bad = found.submit(rows([13]))
    score.go.set()
    assert good.result(10) == [[float(n), 1.0] for n in range(1, 8)]
    (error,) = bad.result(10)
    assert (type(error), str(error)) == (RuntimeError, "unlucky")
    assert [len(one) for one in score.passes[1:]] == [8, 4, 2, 1, 1, 2, 4]
    assert found.counts.failed == 1
    found.close()


def test_a_large_request_lets_others_through() -> None:
    """100 rows of 40 tokens are queued before one row. A turn takes 4 passes of 80 tokens, so 8 rows: the lone one is
    in the first turn, not in the 13th."""
    score = Sums(held=True)
    found = batcher(score, max_batch_tokens=80)
    queued(score, found)
    large, lone = found.submit(rows(*([n] * 40 for n in range(100, 200)))), found.submit(rows([7] * 40))
    score.go.set()
    assert lone.result(10) == [[280.0, 40.0]]
    assert [row[0] for one in score.passes[1:5] for row in one].count(7) == 1
    assert [row[0] for row in large.result(10)] == [40.0 * n for n in range(100, 200)]
    found.close()


@pytest.mark.parametrize("change", [-1, 1])
def test_a_wrong_number_of_scores_goes_to_nobody(change: int) -> None:
    """The model gives one score too few, or too many: no text gets another's, and the thread goes on."""
    score = Sums(held=True)
    found = batcher(score)
    queued(score, found)
    right = score.score_encoded

    def wrong(encoded: list[Encoded], batch_size: int) -> Tensor:
        scores = right(encoded, batch_size)
        return torch.cat([scores, scores])[: len(encoded) + change]

    answer = found.submit(rows([1], [2], [3]))
    score.score_encoded = wrong  # type: ignore[method-assign]
    score.go.set()
    outcomes = answer.result(10)
    assert [type(one) for one in outcomes] == [RuntimeError] * 3
    assert str(outcomes[0]) == f"the model gave {1 + change} scores for 1 texts"
    score.score_encoded = right  # type: ignore[method-assign]
    assert found.submit(rows([4])).result(10) == [[4.0, 1.0]]
    found.close()


def test_what_cannot_be_batched_is_answered() -> None:
    """An exception outside the forward pass is every waiting text's outcome; the thread goes on."""
    score = Sums(held=True)
    found = batcher(score)
    queued(score, found)
    right = score.batches

    def broken(rows: list[Encoded], budget: int) -> list[Bundle]:
        score.batches = right  # type: ignore[method-assign]
        raise ValueError("no batches")

    score.batches = broken  # type: ignore[method-assign]
    first, second = found.submit(rows([1], [2])), found.submit(rows([3]))
    score.go.set()
    assert [str(one) for one in first.result(10) + second.result(10)] == ["no batches"] * 3
    assert found.submit(rows([4])).result(10) == [[4.0, 1.0]]
    found.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_when_the_thread_ends_nobody_waits() -> None:
    """`SystemExit` in the model ends the thread: what waits gets an error, what comes gets a status 503."""
    score = Sums(held=True)
    found = batcher(score)
    queued(score, found)

    def ends(rows: list[Encoded], budget: int) -> list[Bundle]:
        raise SystemExit

    score.batches = ends  # type: ignore[method-assign]
    first = found.submit(rows([1]))
    score.go.set()
    found._worker.join(10)
    assert not found.alive
    assert [str(one) for one in first.result(10)] == ["the scoring thread has ended"]
    with pytest.raises(RequestError) as refused, found.place(1):
        pass
    assert refused.value.status == 503


def test_failures_in_a_row_are_counted_until_one_succeeds() -> None:
    score = Sums()
    found = batcher(score)
    for count in (1, 2, 3):
        found.submit(rows([13])).result(10)
        assert found.failures_in_a_row == count
    found.submit(rows([1])).result(10)
    assert found.failures_in_a_row == 0
    found.close()


def test_a_cancelled_request_is_not_scored() -> None:
    score = Sums(held=True)
    found = batcher(score)
    queued(score, found)
    given_up, other = found.submit(rows([7])), found.submit(rows([8]))
    assert given_up.cancel()
    score.go.set()
    assert other.result(10) == [[8.0, 1.0]]
    assert score.passes[1:] == [[[8]]]
    found.close()


def test_the_first_text_waits_for_others() -> None:
    """With a wait of 10 s, a lone row is held; a second one that fills the budget of 4 tokens releases both at once."""
    score = Sums()
    found = batcher(score, max_wait_ms=10_000, max_batch_tokens=4)
    first = found.submit(rows([1, 1]))
    assert not score.begun.wait(0.1)
    second = found.submit(rows([2, 2]))
    assert (first.result(5), second.result(5)) == ([[2.0, 2.0]], [[4.0, 2.0]])
    assert len(score.passes) == 1
    found.close()


def test_a_lone_text_waits_no_longer_than_it_must() -> None:
    """50 ms, then it goes alone."""
    score = Sums()
    found = batcher(score, max_wait_ms=50)
    assert found.submit(rows([3])).result(5) == [[3.0, 1.0]]
    found.close()


def test_places_are_bounded() -> None:
    """Of 3 places 2 are taken: 2 more are refused for now, 4 for good; once the 2 are free, 3 fit."""
    found = batcher(Sums(), queue_size=3)
    with found.place(2):
        assert found.admitted == 2
        with pytest.raises(RequestError) as full, found.place(2):
            pass
        assert (full.value.status, full.value.headers) == (429, {"Retry-After": "1"})
    with pytest.raises(RequestError) as never, found.place(4):
        pass
    assert (never.value.status, never.value.headers) == (413, {})
    with found.place(3):
        assert found.admitted == 3
    assert (found.admitted, found.counts.refused) == (0, 2)
    found.close()


def test_close_finishes_the_queue_and_takes_nothing_more() -> None:
    """What waits goes through in one go, although its wait of 10 s is not over."""
    score = Sums()
    found = batcher(score, max_wait_ms=10_000)
    answer = found.submit(rows([4]))
    found.close()
    assert answer.result(0) == [[4.0, 1.0]]
    assert not found.alive
    for refused in (lambda: found.submit(rows([1])), lambda: found.place(1).__enter__()):
        with pytest.raises(RequestError) as stopped:
            refused()
        assert stopped.value.status == 503
