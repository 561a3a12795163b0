"""Reward functions that raise, hang, count wrongly or answer oddly: a score, None with its kind, or an end."""

from __future__ import annotations

import asyncio
import functools
import http.client
import math
import sys
import threading
import time
import types
import urllib.error
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from email.message import Message
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from prefopt.errors import UserError
from prefopt.trainers.rewards import asking
from prefopt.trainers.rewards.answers import ABSTAINED, BY_INFRASTRUCTURE, BY_UNGRADABLE, SCORED, Scores
from prefopt.trainers.rewards.reading import read_source
from prefopt.trainers.rewards.row_log import RowLog
from prefopt.trainers.rewards.scores import Completions, RewardSourceError, scores_and_failures
from prefopt.trainers.rewards.source import RewardSource
from reward_models import hanging
from reward_models.clock import Clock
from reward_models.failures import Failure, InfrastructureError, SourceStopped, Ungradable, failure_of
from reward_models.patience import Patience
from scripts.faults import rewards as faults

BATCH = Completions(["p0", "p1", "p2"], ["c0", "c1", "c2"], {"answer": [10, 11, 12]})
NAN = math.nan


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What hangs waits for this; afterwards nothing hangs any more."""
    event = threading.Event()
    yield event
    event.set()
    faults.wait_for(lambda: hanging.abandoned() == 0)


def ask(*calls: Any, batch: Completions = BATCH, **patience: Any) -> Scores:
    """Scores of functions called a, b, ...; pauses take no time."""
    manner = Patience(**patience) if patience else None
    sources = [RewardSource(call, (chr(97 + n),), patience=manner) for n, call in enumerate(calls)]
    return scores_and_failures(sources, batch, Clock(sleep=lambda seconds: None))


def column(found: Scores, k: int = 0) -> list[float | None]:
    """One column, NaN as None."""
    return [None if math.isnan(value) else value for value in found.values[:, k].tolist()]


async def coroutine(prompts: Any, completions: Any, answer: Any) -> list[int]:
    await asyncio.sleep(0)
    return answer


async def asynchronous_generator(prompts: Any, completions: Any, answer: Any) -> Any:
    for value in answer:
        await asyncio.sleep(0)
        yield value


def from_threads(prompts: Any, completions: Any, answer: Any) -> list[int]:
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(lambda value: value, answer))


class Called:
    async def __call__(self, prompts: Any, completions: Any, answer: Any) -> list[int]:
        return answer


@pytest.mark.parametrize(
    "call",
    [
        coroutine,
        functools.partial(coroutine),
        lambda prompts, completions, answer: coroutine(prompts, completions, answer),
        asynchronous_generator,
        lambda prompts, completions, answer: asynchronous_generator(prompts, completions, answer),
        Called(),
        from_threads,
        lambda prompts, completions, answer: (value for value in answer),
        lambda prompts, completions, answer: map(float, answer),
        lambda prompts, completions, answer: torch.tensor(answer, requires_grad=True, dtype=torch.float64),
        lambda prompts, completions, answer: [torch.tensor(float(value), requires_grad=True) for value in answer],
        lambda prompts, completions, answer: [np.int64(value) for value in answer],
        lambda prompts, completions, answer: [Fraction(value) for value in answer],
        lambda prompts, completions, answer: [Decimal(value) for value in answer],
        lambda prompts, completions, answer: [np.array(value) for value in answer],
        lambda prompts, completions, answer: [[value] for value in answer],
    ],
)
@pytest.mark.parametrize("patience", [{}, {"timeout": 30.0}, {"rows_per_call": 2}])
def test_ways_to_answer(call: Any, patience: dict[str, Any]) -> None:
    """Coroutines, generators of both kinds, threads, and kinds of numbers: 10, 11, 12 in the order of rows."""
    found = ask(call, **patience)
    assert column(found) == [10, 11, 12]
    assert found.kinds.flatten().tolist() == [SCORED] * 3


def test_scores_are_masked_with_their_kind() -> None:
    """None and NaN are ungradable, or abstained where a source may; failures keep their kind and words either way."""
    values = [None, NAN, Ungradable("no reference"), InfrastructureError("away"), 1.0]
    batch = Completions(["p"] * 5, ["c"] * 5, {})
    kinds = [BY_UNGRADABLE, BY_UNGRADABLE, BY_UNGRADABLE, BY_INFRASTRUCTURE, SCORED]
    for may_abstain in (False, True):
        source = RewardSource(
            lambda prompts, completions: values, ("a",), may_abstain=may_abstain, patience=Patience(retries=0)
        )
        found = scores_and_failures([source], batch)
        assert column(found) == [None, None, None, None, 1.0]
        expected = [ABSTAINED, ABSTAINED, *kinds[2:]] if may_abstain else kinds
        assert found.kinds.flatten().tolist() == expected
    assert found.failures == {"a": "infrastructure: away (after 1 attempt)"}


def test_one_head_of_several() -> None:
    """A row of two heads: None in one of them, and a failure in the place of the row, which is one of both."""
    source = RewardSource(
        lambda prompts, completions: [[1.0, None], [2.0, 3.0], Ungradable("nothing")], ("x", "y"), may_abstain=False
    )
    found = scores_and_failures([source], BATCH)
    torch.testing.assert_close(found.values, torch.tensor([[1.0, NAN], [2.0, 3.0], [NAN, NAN]]), equal_nan=True)
    assert found.kinds.tolist() == [[SCORED, BY_UNGRADABLE], [SCORED] * 2, [BY_UNGRADABLE] * 2]


def answered(status: int) -> urllib.error.HTTPError:
    headers = Message()
    headers["Retry-After"] = "7"
    return urllib.error.HTTPError("http://judge", status, "words", headers, None)


class ClientError(Exception):
    """As clients raise it whose module is not known here: with the response."""

    def __init__(self, status: int) -> None:
        self.response = types.SimpleNamespace(status_code=status, headers={"retry-after": "1"})


@pytest.mark.parametrize(
    "error",
    [
        InfrastructureError("away"),
        ConnectionRefusedError(),
        BrokenPipeError(),
        TimeoutError("slow"),
        TimeoutError(),
        http.client.IncompleteRead(b"half"),
        http.client.RemoteDisconnected(),
        BrokenExecutor("a worker was killed"),
        urllib.error.URLError("no route"),
        answered(429),
        answered(503),
        ClientError(408),
        ClientError(529),
    ],
)
def test_what_is_infrastructure(error: Exception) -> None:
    """Two calls fail, the third answers: the scores. For good: None, and the reason."""
    calls = []

    def shaky(prompts: Any, completions: Any) -> list[float]:
        calls.append(1)
        if len(calls) < 3:
            raise error
        return [1.0] * len(completions)

    assert column(ask(shaky)) == [1.0] * 3
    calls.clear()
    found = ask(shaky, retries=1)
    assert column(found) == [None] * 3
    assert found.kinds.flatten().tolist() == [BY_INFRASTRUCTURE] * 3
    assert len(calls) == 2


def test_a_server_names_the_pause_to_any_client() -> None:
    """Retry-After of 7 s in urllib's exception: both pauses are 7 s."""
    pauses: list[float] = []

    def busy(prompts: Any, completions: Any) -> list[float]:
        raise answered(429)

    source = RewardSource(busy, ("a",), patience=Patience(retries=2))
    scores_and_failures([source], BATCH, Clock(sleep=pauses.append))
    assert pauses == [7.0, 7.0]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("requests", "ConnectionError"),
        ("requests", "exceptions.ChunkedEncodingError"),
        ("httpx", "TransportError"),
        ("aiohttp", "ClientPayloadError"),
        ("openai", "APIConnectionError"),
    ],
)
def test_clients_that_are_loaded(module: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their exceptions for broken connections are known once they are imported, derived ones too, and no others."""
    broken = type("Broken", (Exception,), {})
    holder = types.SimpleNamespace(**{name.split(".")[-1]: broken, "Other": type("Other", (Exception,), {})})
    loaded = types.SimpleNamespace(exceptions=holder) if "." in name else holder
    assert failure_of(broken()) is None
    monkeypatch.setitem(sys.modules, module, loaded)  # type: ignore[arg-type]
    assert isinstance(failure_of(type("Derived", (broken,), {})("reset")), InfrastructureError)
    assert failure_of(holder.Other()) is None


@pytest.mark.parametrize("error", [answered(400), answered(404), ClientError(401), KeyError("x"), OSError("no file")])
def test_what_is_a_bug(error: Exception) -> None:
    """It is raised at once: one call, and one to find the row."""
    calls = []

    def broken(prompts: Any, completions: Any) -> list[float]:
        calls.append(len(completions))
        raise error

    with pytest.raises(RewardSourceError, match=r"(?s)reward source 'a' raised .*completion: 'c0'"):
        ask(broken)
    assert calls == [3, 1]


def test_a_call_that_is_ungradable_is_not_repeated() -> None:
    calls = []

    def nothing(prompts: Any, completions: Any) -> list[float]:
        calls.append(1)
        raise Ungradable("no tests in this data")

    found = ask(nothing)
    assert (column(found), len(calls)) == ([None] * 3, 1)
    assert found.failures == {"a": "ungradable: no tests in this data"}


@pytest.mark.parametrize("name", sorted(faults.bugs(0)))
def test_bugs(name: str) -> None:
    """Exceptions, wrong numbers of scores, no numbers, no order: the run ends, with the source's name.

    A set or a dictionary has no order of rows: what a list made of it says is about other rows.
    """
    batch = faults.batch_of([3, 1, 2])
    with pytest.raises(RewardSourceError, match="'buggy'") as caught:
        scores_and_failures([RewardSource(faults.bugs(1)[name], ("buggy",))], batch)
    if name in ("raises", "infinity"):
        assert "'row 1'" in str(caught.value)


async def cancels_itself(prompts: Any, completions: Any) -> list[float]:
    raise asyncio.CancelledError


async def leaves(prompts: Any, completions: Any) -> list[float]:
    raise SystemExit(0)


async def divides(prompts: Any, completions: Any, answer: Any) -> list[float]:
    return [1 / (value - 12) for value in answer]


def test_bugs_of_coroutines() -> None:
    """Also what would end an event loop rather than be raised; and the row is found: the third."""
    for call, message in ((cancels_itself, "it cancelled itself"), (leaves, "SystemExit: 0")):
        with pytest.raises(RewardSourceError, match=message):
            ask(call, coroutine)
    with pytest.raises(RewardSourceError, match=r"(?s)ZeroDivisionError.*on this example.*answer: 12"):
        ask(divides, coroutine)


class Stop(SystemExit):
    """As a stop signal raises it, wherever the main thread is."""


def test_a_stop_signal_is_no_bug() -> None:
    """It passes through a source that runs in the main thread, and no row is looked for."""
    calls = []

    def interrupted(prompts: Any, completions: Any) -> list[float]:
        calls.append(1)
        raise Stop(143)

    with pytest.raises(Stop):
        ask(interrupted)
    assert len(calls) == 1


def test_a_bug_is_a_bug_however_long_its_row_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, a row takes longer than a call may and the loop is watched; it is still the bug that is raised."""
    monkeypatch.setattr(asking, "CULPRIT_SECONDS", 3.5)

    async def slow_alone(prompts: Any, completions: Any) -> list[float]:
        if len(completions) == 1:
            await asyncio.sleep(4)
        raise KeyError("something")

    with pytest.raises(RewardSourceError, match=r"(?s)KeyError: 'something'.*the batch as a whole"):
        ask(slow_alone, coroutine, timeout=0.2)
    assert hanging.abandoned() <= 1
    faults.wait_for(lambda: hanging.abandoned() == 0)


def test_a_source_that_has_stopped() -> None:
    """It says so itself; no row is looked for."""
    calls = []

    def stopped(prompts: Any, completions: Any) -> list[float]:
        calls.append(1)
        raise SourceStopped("the sandbox failed for 15 of the last 50 programs")

    with pytest.raises(RewardSourceError, match="reward source 'a' has stopped: the sandbox failed for 15 of"):
        ask(stopped)
    assert len(calls) == 1


def test_rows_that_failed_are_asked_again_with_their_columns() -> None:
    """The third row fails twice. Its columns and per-row context come along; the others are not asked again."""
    calls: list[Any] = []

    def shaky(prompts: Any, completions: Any, answer: Any, completion_ids: Any, trainer_state: Any) -> list[Any]:
        calls.append((prompts, completions, answer, completion_ids, trainer_state))
        return [InfrastructureError("busy") if value == 12 and len(calls) < 3 else value for value in answer]

    batch = replace(BATCH, context={"completion_ids": [[0], [1], [2]], "trainer_state": "state"})
    assert column(ask(shaky, batch=batch, row_wise=True)) == [10, 11, 12]
    assert calls[1:] == [(["p2"], ["c2"], [12], [[2]], "state")] * 2


@pytest.mark.parametrize("hidden", [False, True])
def test_coroutines_of_all_batches_share_an_event_loop(hidden: bool) -> None:
    """A semaphore, like a client's pool of connections, belongs to the loop in which it was first waited for.

    Three requests for one place wait for each other in the first batch; in the second the semaphore still serves.
    """
    places = asyncio.Semaphore(1)

    async def request(value: float) -> float:
        async with places:
            await asyncio.sleep(0)
            return value

    async def polite(prompts: Any, completions: Any, answer: Any) -> Any:
        return await asyncio.gather(*map(request, answer))

    def plain(prompts: Any, completions: Any, answer: Any) -> Any:
        return polite(prompts, completions, answer)

    for _ in range(2):
        assert column(ask(plain if hidden else polite)) == [10, 11, 12]


def test_a_call_that_was_left_logs_while_the_batch_is_logged() -> None:
    """Its thread goes on and may name a column of its own just then: the batch's columns are logged, and no other."""
    logged = {}

    def log(column: str, values: list[Any]) -> None:
        logged[column] = list(values)
        late("another", [2])

    rows = RowLog(log, 1)
    late = rows.of([0])
    rows.of([0])("one", [1])
    rows.flush()
    assert logged == {"one": [1]}


def test_what_is_logged_a_row_is_logged_once() -> None:
    """TRL's table has a value a completion. Rows asked in twos, and the third again: still three values, in order."""
    logged: list[Any] = []
    asked: list[Any] = []

    def wordy(prompts: Any, completions: Any, log_extra: Any) -> list[Any]:
        asked.append(completions)
        log_extra("words", [f"{text} in call {len(asked)}" for text in completions])
        return [InfrastructureError("busy") if text == "c2" and len(asked) < 3 else 1.0 for text in completions]

    batch = replace(BATCH, context={"log_extra": lambda column, values: logged.append((column, values))})
    assert column(ask(wordy, batch=batch, rows_per_call=2)) == [1.0] * 3
    assert asked == [["c0", "c1"], ["c2"], ["c2"]]
    assert logged == [("words", ["c0 in call 1", "c1 in call 1", "c2 in call 3"])]


def test_a_hanging_function_is_left_behind(release: threading.Event) -> None:
    """0.1 s, then the next source is asked. What it returns in the end, nobody hears."""
    heard = []

    def hangs(prompts: Any, completions: Any) -> list[float]:
        release.wait(30)
        heard.append(1)
        return [-1.0] * 3

    begin = time.monotonic()
    found = ask(hangs, lambda prompts, completions, answer: answer, timeout=0.1, retries=0)
    assert time.monotonic() - begin < 5
    assert (column(found, 0), column(found, 1)) == ([None] * 3, [10, 11, 12])
    assert found.failures == {"a": "infrastructure: no answer within 0.1 s (after 1 attempt)"}
    assert hanging.abandoned() == 1
    release.set()
    faults.wait_for(lambda: hanging.abandoned() == 0)
    assert heard == [1]
    assert column(found, 0) == [None] * 3


def test_what_a_generator_gave_before_it_hung(release: threading.Event) -> None:
    """Two rows were there, the third never comes; both kinds of generator."""

    def hangs(prompts: Any, completions: Any) -> Iterator[float]:
        yield from (1.0, 2.0)
        release.wait(30)
        yield 3.0

    async def hangs_too(prompts: Any, completions: Any) -> Any:
        yield 4.0
        yield 5.0
        await asyncio.sleep(30)

    found = ask(hangs, hangs_too, timeout=0.1, retries=0)
    assert column(found, 0) == [1.0, 2.0, None]
    assert column(found, 1) == [4.0, 5.0, None]


def test_what_a_generator_gave_before_it_failed() -> None:
    """The third row was away once: asked again alone, where rows are judged alone."""
    asked = []

    def breaks(prompts: Any, completions: Any) -> Iterator[float]:
        asked.append(list(completions))
        for text in completions:
            if text == "c2" and len(asked) == 1:
                raise ConnectionResetError("half way")
            yield float(text[1:])

    assert column(ask(breaks, row_wise=True)) == [0.0, 1.0, 2.0]
    assert asked == [["c0", "c1", "c2"], ["c2"]]


def test_only_so_many_may_hang(release: threading.Event) -> None:
    """Eight calls hang; the ninth is not made, and is infrastructure; once they have ended, calls are made again."""
    calls = []

    def hangs(prompts: Any, completions: Any) -> list[float]:
        calls.append(1)
        release.wait(30)
        return [1.0] * len(completions)

    found = ask(hangs, timeout=0.01, retries=20, give_up_after=None)
    assert (len(calls), hanging.abandoned()) == (8, 8)
    assert "not called: 8 earlier calls hang in their threads" in found.failures["a"]
    assert column(ask(lambda prompts, completions, answer: answer)) == [10, 11, 12]
    release.set()
    faults.wait_for(lambda: hanging.abandoned() == 0)
    assert column(ask(hangs, timeout=5.0)) == [1.0] * 3


def test_a_hanging_coroutine_is_cancelled() -> None:
    """It sees it, and may clean up; one that refuses to end is not waited for; the others have their scores."""
    seen = []

    async def hangs(prompts: Any, completions: Any) -> list[float]:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return []

    async def refuses(prompts: Any, completions: Any) -> list[float]:
        while True:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                seen.append("refused")

    begin = time.monotonic()
    found = ask(hangs, refuses, coroutine, timeout=0.1, retries=0)
    assert time.monotonic() - begin < 10
    assert [column(found, k) for k in range(3)] == [[None] * 3, [None] * 3, [10, 11, 12]]
    assert set(seen) == {"cancelled", "refused"}


def test_a_coroutine_that_blocks_the_loop(release: threading.Event) -> None:
    """It waits without ``await``: after its time the loop is left behind; what had ended before keeps its scores."""

    async def blocks(prompts: Any, completions: Any) -> list[float]:
        await asyncio.sleep(0.05)
        release.wait(30)
        return [1.0] * 3

    found = ask(coroutine, blocks, timeout=0.3, retries=0)
    assert [column(found, k) for k in range(2)] == [[10, 11, 12], [None] * 3]
    assert found.failures == {"b": "infrastructure: no answer in time: a coroutine blocks the event loop"}
    assert hanging.abandoned() == 1


def test_a_thread_has_the_callers_gradient_mode() -> None:
    """A deadline puts a function into a thread; there, too, nothing is recorded for a backward pass."""
    seen = []

    def model(prompts: Any, completions: Any) -> torch.Tensor:
        seen.append((torch.is_grad_enabled(), threading.current_thread() is threading.main_thread()))
        return torch.zeros(3)

    with torch.no_grad():
        ask(model, timeout=5.0)
        ask(model)
    assert seen == [(False, False), (False, True)]


def test_settings_of_an_entry() -> None:
    """YAML keys become the source's patience; unknown keys, values and what a server lacks are refused by name."""
    entry = {"source": "exact_answer", "timeout": 5, "deadline": 60, "retries": 2, "rows_per_call": 4}
    assert read_source(entry).manner == Patience(5, 60, 2, 4)
    assert read_source("exact_answer").manner == Patience()
    assert read_source({"source": "math_answer", "retries": 1}).manner == Patience(row_wise=True, retries=1)
    server = read_source(
        {"source": "http://judge:8000", "timeout": 5, "retries": 2, "rows_per_call": 32, "weight": 0.5}
    )
    assert (server.call, server.address, server.names, server.weight) == (None, "http://judge:8000", ("judge",), 0.5)
    assert server.settings == {"timeout": 5, "attempts": 3, "rows_per_request": 32}
    for wrong, message in (
        ({"source": "exact_answer", "retrys": 1}, r"rewards\[0\]: unknown key 'retrys'. Did you mean 'retries'"),
        ({"source": "exact_answer", "timeout": -1}, r"rewards\[0\]: timeout must be a positive number of seconds"),
        ({"source": "exact_answer", "may_abstain": "no"}, r"rewards\[0\]: may_abstain must be true or false, not 'no'"),
        ({"source": "http://judge", "row_wise": True}, r"rewards\[0\]: row_wise does not act on a server"),
        ({"source": "http://judge", "settings": {"a": 1}}, r"rewards\[0\]: a server has no settings here"),
    ):
        with pytest.raises(UserError, match=message):
            read_source(wrong)


def test_random_failures_of_python_sources() -> None:
    """960 rows of four kinds of source that fail, hang and break off: their own score or None, never 0."""
    found = faults.ask_python(seed=1, batches=40)
    assert (found.tried, found.held, found.lost) == (960, 960, 0)


def test_failures_carry_their_kind() -> None:
    assert [one.kind for one in (InfrastructureError("x"), Ungradable("x"))] == ["infrastructure", "ungradable"]
    assert issubclass(InfrastructureError, Failure)
