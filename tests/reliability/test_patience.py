"""When a source is asked again, for which rows, after which pause, and when no more. Time is a number here."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reward_models.clock import Clock
from reward_models.errors import ModelError
from reward_models.failures import Failure, InfrastructureError, Ungradable
from reward_models.patience import Call, Patience, carry_out, inquiry

AWAY = InfrastructureError("away")


@dataclass
class Time:
    """A clock that stands still but for its own pauses and `pass_by`."""

    now: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def clock(self) -> Clock:
        # A generator that always draws the upper end: pauses have their full length.
        upper = random.Random()
        upper.uniform = lambda low, high: high  # type: ignore[method-assign]
        return Clock(lambda: self.now, self.sleep, upper)


def play(
    count: int, patience: Patience, answer: Callable[[int, int], Any], time: Time | None = None, seconds: float = 0.0
) -> tuple[list[Any], list[list[int]]]:
    """Answers, and the rows of each call; ``answer(row, n)`` is what the n-th call says of a row."""
    time, calls = time or Time(), []
    clock = time.clock()

    def call(what: Call) -> list[Any]:
        calls.append(what.rows)
        time.pass_by(min(seconds, what.seconds))
        if seconds > what.seconds:
            return [InfrastructureError(f"no answer within {what.seconds:g} s")] * len(what.rows)
        return [answer(row, len(calls)) for row in what.rows]

    return carry_out(inquiry(count, patience, clock), call, clock), calls


def words(answers: list[Any]) -> list[Any]:
    """Failures as text."""
    return [str(one) if isinstance(one, Failure) else one for one in answers]


def test_pauses_double_up_to_ten_seconds() -> None:
    """0.25, 0.5, 1, 2, 4, 8, 10, 10: eight pauses between nine calls, after which it is None with the reason."""
    time = Time()
    answers, calls = play(1, Patience(retries=8, give_up_after=None), lambda row, n: AWAY, time)
    assert time.pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert words(answers) == ["away (after 9 attempts)"]
    assert len(calls) == 9


def test_chance_takes_up_to_half_of_a_pause_and_repeats_with_its_seed() -> None:
    """Full pauses are 0.25 and 1 s; equal seeds draw equal pauses, and the global generator is not touched."""
    before = random.getstate()
    one, other = (Clock(chance=random.Random(7)) for _ in range(2))
    drawn = [one.pause(0) for _ in range(50)] + [one.pause(2) for _ in range(50)]
    assert all(0.125 <= pause <= 0.25 for pause in drawn[:50])
    assert all(0.5 <= pause <= 1.0 for pause in drawn[50:])
    assert len(set(drawn)) == 100
    assert drawn == [other.pause(0) for _ in range(50)] + [other.pause(2) for _ in range(50)]
    assert random.getstate() == before


def test_the_other_side_names_the_pause() -> None:
    """Retry-After of 3 s is kept where the own pause would be shorter: 3, then 3, while the third would be 1."""
    time = Time()
    later = InfrastructureError("busy", pause=3.0)
    play(1, Patience(retries=3), lambda row, n: 1.0 if n == 4 else AWAY if n == 3 else later, time)
    assert time.pauses == [3.0, 3.0, 1.0]


def test_only_rows_that_failed_are_asked_again() -> None:
    """Row r answers at its r-th call: rows 0 and 1 at the first, 2 at the second, 3 at the third."""
    answers, calls = play(4, Patience(row_wise=True), lambda row, n: row if n >= row else AWAY)
    assert answers == [0, 1, 2, 3]
    assert calls == [[0, 1, 2, 3], [2, 3], [3]]


def test_a_call_that_compares_rows_is_repeated_as_it_was() -> None:
    """The same, and scores of an earlier call are kept: each row has that of the call that it first answered in."""
    answers, calls = play(4, Patience(), lambda row, n: (row, n) if n >= row else AWAY)
    assert answers == [(0, 1), (1, 1), (2, 2), (3, 3)]
    assert calls == [[0, 1, 2, 3]] * 3


def test_what_is_ungradable_is_asked_once() -> None:
    """Ungradable and None are answers."""
    nothing = Ungradable("no tests")
    answers, calls = play(3, Patience(row_wise=True), lambda row, n: [nothing, None, 1.0 if n > 1 else AWAY][row])
    assert answers == [nothing, None, 1.0]
    assert calls == [[0, 1, 2], [2]]


def test_a_deadline_keeps_what_was_there() -> None:
    """Calls of 2 rows take 4 s, a deadline of 10 s: two calls are whole, the third has 2 s, the fourth is not made."""
    patience = Patience(deadline=10.0, rows_per_call=2)
    answers, calls = play(8, patience, lambda row, n: row, seconds=4.0)
    over = "the deadline of 10 s for the batch is over"
    assert words(answers) == [0, 1, 2, 3, *["no answer within 2 s (after 1 attempt)"] * 2, *[f"not asked ({over})"] * 2]
    assert calls == [[0, 1], [2, 3], [4, 5]]


def test_a_timeout_of_one_call_is_tried_again() -> None:
    """Calls would take 4 s and may take 1: three calls, pauses 0.25 and 0.5, so 3.75 s in all."""
    time = Time()
    answers, calls = play(1, Patience(timeout=1.0, retries=2), lambda row, n: row, time, seconds=4.0)
    assert words(answers) == ["no answer within 1 s (after 3 attempts)"]
    assert (time.now, len(calls)) == (3.75, 3)


def test_a_dead_source_is_given_up() -> None:
    """Ten rows in calls of one, two retries each: after four failed calls in a row, which is in the second row's second
    call, nothing is asked any more; without this there would be thirty calls."""
    answers, calls = play(10, Patience(retries=2, rows_per_call=1, give_up_after=4), lambda row, n: AWAY)
    assert calls == [[0], [0], [0], [1]]
    told = "given up for this batch after 4 failed calls in a row"
    assert words(answers) == [
        "away (after 3 attempts)",
        f"away (after 1 attempt; {told})",
        *[f"not asked ({told})"] * 8,
    ]


def test_a_score_says_that_it_lives() -> None:
    """Calls fail but every third: never four in a row, so all rows are asked to the end."""
    answers, calls = play(
        4, Patience(retries=2, rows_per_call=1, give_up_after=4), lambda row, n: row if n % 3 == 0 else AWAY
    )
    assert answers == [0, 1, 2, 3]
    assert len(calls) == 12


def test_no_pause_beyond_the_deadline() -> None:
    """A server that asks for an hour is not waited for; nobody sleeps."""
    time = Time()
    answers, _ = play(1, Patience(deadline=60.0), lambda row, n: InfrastructureError("later", pause=3600.0), time)
    assert words(answers) == ["later (after 1 attempt)"]
    assert time.pauses == []


def test_an_error_of_the_call_is_not_its_end() -> None:
    """A StopIteration that a source raises comes out, and does not pass for the end of the inquiry."""

    def call(what: Call) -> list[Any]:
        raise StopIteration("of the source")

    clock = Time().clock()
    with pytest.raises(StopIteration, match="of the source"):
        carry_out(inquiry(1, Patience(), clock), call, clock)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"timeout": 0}, "timeout must be a positive number of seconds, not 0"),
        ({"deadline": "5s"}, "deadline must be a positive number of seconds, not '5s'"),
        ({"deadline": float("inf")}, "deadline must be a positive number of seconds, not inf"),
        ({"retries": -1}, "retries must be a whole number of at least 0, not -1"),
        ({"retries": True}, "retries must be a whole number of at least 0, not True"),
        ({"rows_per_call": 1.5}, r"rows_per_call must be a whole number of at least 1, not 1\.5"),
        ({"give_up_after": 0}, "give_up_after must be a whole number of at least 1, not 0"),
        ({"row_wise": "yes"}, "row_wise must be true or false, not 'yes'"),
        ({"retries": None}, "retries: null asks until the deadline; give a deadline"),
    ],
)
def test_values_without_sense(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Patience(**values)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 12),
    st.one_of(st.none(), st.integers(1, 5)),
    st.booleans(),
    st.integers(0, 4),
    st.one_of(st.none(), st.integers(1, 6)),
    st.one_of(st.none(), st.floats(0.5, 30)),
    st.integers(0, 2**32),
)
def test_whatever_happens(
    count: int, size: int | None, alone: bool, retries: int, limit: int | None, deadline: float | None, seed: int
) -> None:
    """Each row ends with an answer about itself or with a failure, in order, and no chunk is asked too often.

    ``row_wise`` or in parts: a row that had an answer is not asked again.
    """
    chance, answered = random.Random(seed), set()
    patience = Patience(1.0, deadline, retries, size, alone, limit)

    def answer(row: int, n: int) -> Any:
        assert not (row in answered and (alone or size))
        found = chance.choice([("score", row), None, Ungradable("nothing"), AWAY, AWAY, AWAY])
        if found is not AWAY:
            answered.add(row)
        return found

    answers, calls = play(count, patience, answer, seconds=chance.choice([0.0, 0.3, 2.0]))
    assert len(answers) == count
    for row, found in enumerate(answers):
        assert found is None or isinstance(found, Failure) or found == ("score", row)
        assert isinstance(found, InfrastructureError) == (row not in answered)
    chunks = -(-count // size) if size else min(count, 1)
    assert len(calls) <= chunks * (retries + 1)
