"""A reward server in trouble: a row gets its own score, now or later, or None with the reason, and never another's."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.client import HTTPConnection
from typing import Any

import pytest
import torch

from prefopt.trainers.rewards.answers import BY_INFRASTRUCTURE, BY_UNGRADABLE, SCORED
from prefopt.trainers.rewards.reading import read_source
from prefopt.trainers.rewards.scores import Completions, scores_and_failures
from prefopt.trainers.rewards.source import RewardSource
from reward_models.clock import Clock
from reward_models.errors import ModelError
from reward_models.failures import InfrastructureError, Ungradable
from reward_models.http_client import UnreachableError, seconds_to_wait
from reward_models.remote import RemoteReward
from reward_models.served_rows import read_rows
from scripts.faults import rewards as faults
from scripts.faults.faulty_server import FAULTS, NAME, Faults, faulty_server
from tests.reward_models.serving.server import running, service_of, tiny_reward_model
from tests.reward_models.serving.test_remote import scripted

TEXTS = ["row 1", "row 2", "row 3", "row 4"]
SCORES = [1.5, 2.5, 3.5, 4.5]


@contextmanager
def client(*script: str | None, **settings: Any) -> Iterator[tuple[RemoteReward, Faults, list[float]]]:
    """A source whose server meets these faults and then no more; pauses are written down and take no time."""
    met, pauses = Faults(script=list(script), chance=0.0), []
    clock = Clock(sleep=pauses.append, chance=random.Random(0))
    with faulty_server(met) as url:
        yield RemoteReward(url, (NAME,), **({"timeout": 5.0, "clock": clock} | settings)), met, pauses


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault(fault: str) -> None:
    """Each fault once, then the scores: all rows have their own; only another order needs no second request."""
    with client(fault, timeout=1.0 if fault in ("late", "trickle") else 5.0) as (source, met, pauses):
        begin = time.monotonic()
        assert source(prompts=["?"] * 4, completions=TEXTS) == SCORES
        assert time.monotonic() - begin < 5
    expected = 0 if fault == "another_order" else 1
    assert (source.retries, len(pauses), source.failed_rows) == (expected, expected, 0)
    assert sum(met.seen.values()) == expected + 1
    if fault in ("busy", "stopping"):
        assert pauses == [1.0]


@pytest.mark.parametrize(
    ("fault", "requests", "words"),
    [
        ("busy", 5, "status 429: 2 bytes (after 5 attempts)"),
        ("half_a_body", 5, "IncompleteRead"),
        ("no_answer", 5, "RemoteDisconnected"),
        ("late", 5, "no answer within 0.25 s (after 5 attempts)"),
        ("half_without_ids", 3, "2 rows of scores for 4 texts (after 3 attempts)"),
        ("another_request", 3, "scores with ids that were not asked for"),
        ("words_for_scores", 3, "'high' in the place of a score"),
    ],
)
def test_a_fault_that_stays(fault: str, requests: int, words: str) -> None:
    """Five attempts, three for answers about other things: None, counted, with the reason; never a 0."""
    with client(*[fault] * 20, attempts=5, timeout=0.25 if fault == "late" else 5.0) as (source, met, _):
        rows = source.with_failures(prompts=["?"] * 4, completions=TEXTS)
    failed = [row for row in rows if isinstance(row, InfrastructureError)]
    assert len(failed) == (1 if fault == "words_for_scores" else 4)
    assert words in str(failed[0])
    assert met.seen[fault] == requests
    assert (source.failed_rows, source.failed_requests) == (len(failed), 1)


def test_a_connection_that_takes_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encryption is agreed upon in 0.4 s where 0.25 are given (each step of it in time); then the answer trickles, for
    3 s: who hangs up found nothing to hang up yet."""
    connect = HTTPConnection.connect

    def slowly(self: HTTPConnection) -> None:
        connect(self)
        time.sleep(0.4)

    monkeypatch.setattr(HTTPConnection, "connect", slowly)
    with client("trickle", attempts=1, timeout=0.25) as (source, met, _):
        begin = time.monotonic()
        found = source.with_failures(prompts=["?"] * 4, completions=TEXTS)
        assert time.monotonic() - begin < 2
    assert [str(row) for row in found] == ["no answer within 0.25 s (after 1 attempt)"] * 4
    assert sum(met.seen.values()) == 0


def test_half_of_the_scores_are_kept() -> None:
    """Rows 1 and 2 were answered with their ids: only 3 and 4 are asked again, then 4 alone."""
    asked: list[int] = []
    with client("half_of_the_scores", "half_of_the_scores") as (source, _, _):
        ask = source._ask
        source._ask = lambda texts, seconds: (asked.append(len(texts)), ask(texts, seconds))[1]  # type: ignore[method-assign]
        assert source(prompts=["?"] * 4, completions=TEXTS) == SCORES
    assert asked == [4, 2, 1]


def test_what_is_null_is_asked_once() -> None:
    """Row 17 has no score: ungradable, at once, while the others have theirs."""
    with client() as (source, met, _):
        rows = source.with_failures(prompts=["?"] * 2, completions=["row 17", "row 1"])
        assert source(prompts=["?"] * 2, completions=["row 17", "row 1"]) == [None, 1.5]
    assert isinstance(rows[0], Ungradable)
    assert rows[1] == 1.5
    assert (sum(met.seen.values()), source.unscored_rows, source.failed_rows) == (2, 2, 0)


def test_a_source_of_a_run() -> None:
    """Kinds come through to the trainer: a null is ungradable, a server that is away is infrastructure."""
    batch = Completions(["?"] * 3, ["row 1", "row 17", "row 2"], {})
    with client() as (source, _, _):
        found = scores_and_failures([RewardSource(source, ("judge",))], batch)
    assert found.kinds.flatten().tolist() == [SCORED, BY_UNGRADABLE, SCORED]
    torch.testing.assert_close(found.values[:, 0], torch.tensor([1.5, math.nan, 2.5]), equal_nan=True)
    source.deadline = 0.3
    source.clock = Clock()
    found = scores_and_failures([RewardSource(source, ("judge",))], batch)
    assert found.kinds.flatten().tolist() == [BY_INFRASTRUCTURE] * 3
    assert "infrastructure: ConnectionRefusedError" in found.failures["judge"]


def test_an_address_in_rewards() -> None:
    """``source: http://...``: asked for its heads when loaded, then for scores."""
    with faulty_server(Faults(chance=0.0)) as url:
        source = read_source({"source": url, "name": "judge", "retries": 1}).load("cpu")
        found = scores_and_failures([source], Completions(["?"] * 4, TEXTS, {}))
    assert source.names == ("judge",)
    assert found.values[:, 0].tolist() == SCORES


def test_a_server_that_sends_elsewhere() -> None:
    """A redirect is not followed: texts would go to whoever it names."""
    with scripted((307, b"", {"Location": "http://elsewhere/score"})) as (url, times):
        with pytest.raises(
            ModelError, match=r"redirects \(status 307\) to http://elsewhere/score, which is not followed"
        ):
            RemoteReward(url, (NAME,))(prompts=["?"], completions=["row 1"])
        assert len(times) == 1


def test_retry_after() -> None:
    """Seconds, also with a fraction, and a date; what is neither, negative or without end is no wish."""
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert [seconds_to_wait(one) for one in ("3", "0.5", None, "", "soon", "-2", "inf", "nan")] == [3, 0.5, *[0] * 6]
    assert 55 < seconds_to_wait(then) <= 60
    assert seconds_to_wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize("status", [425, 501, 507, 520, 529])
def test_statuses_that_may_pass(status: int) -> None:
    """Not only the usual ones: every 5xx says that the server, not the request, is to blame."""
    with scripted((status, {}, {}), (200, {"names": [NAME], "scores": [[0.5]]}, {})) as (url, times):
        assert RemoteReward(url, (NAME,))(prompts=["?"], completions=["row 1"]) == [0.5]
        assert len(times) == 2


def test_a_server_that_knows_no_ids() -> None:
    """It refuses the field, and is asked without from then on; scores are then known by their place."""
    refusal = {"error": {"message": "ids: unknown field", "param": "ids"}}
    answer = {"names": [NAME], "scores": [[0.5], [0.25]]}
    with scripted((400, refusal, {}), (200, answer, {})) as (url, times):
        source = RemoteReward(url, (NAME,))
        assert [source(prompts=["?"] * 2, completions=TEXTS[:2]) for _ in range(2)] == [[0.5, 0.25]] * 2
        assert len(times) == 3


def test_rows_by_their_ids() -> None:
    """b, a in this order with their scores, c left out: 1, 2, and a failure that may be asked again."""
    rows = read_rows({"scores": [[2.0], [1.0]], "ids": ["b", "a"]}, ["a", "b", "c"], 1)
    assert rows[:2] == [1.0, 2.0]
    assert isinstance(rows[2], InfrastructureError)
    both = read_rows({"scores": [[None, 1], [2, 10**400]], "unscored": {"0": "too long"}}, ["a", "b"], 2)
    assert [type(cell) for row in both for cell in row] == [Ungradable, float, float, Ungradable]
    assert str(both[0][0]) == "too long"
    for answer in (
        {"scores": [[1.0]]},
        {"scores": [[1.0], [2.0]], "ids": ["a", "a"]},
        {"scores": [[1.0], [2.0]], "ids": ["a", "z"]},
        {"scores": [[1.0], [2.0]], "ids": ["a"]},
        {"scores": [[1.0]], "ids": [["a"]]},
        {"scores": {"a": 1.0}},
        {},
    ):
        with pytest.raises(UnreachableError):
            read_rows(answer, ["a", "b"], 1)


def test_our_server_returns_ids(tmp_path: Any) -> None:
    """Those that were sent, in the order of the scores; as many as texts, and all different."""
    model = tiny_reward_model(tmp_path)
    with running(service_of(model)) as url:
        source = RemoteReward(url, tuple(model.names))
        found = source(prompts=["a", "b"], completions=["c", "dd"])
        assert source._sends_ids
        answer = json.loads(_post(url, {"prompts": ["a"], "completions": ["c"], "ids": ["x"]})[1])
        status, words = _post(url, {"prompts": ["a"] * 2, "completions": ["c"] * 2, "ids": ["x", "x"]})
    torch.testing.assert_close(torch.tensor(found), model.score(["a", "b"], ["c", "dd"]), rtol=0, atol=1e-5)
    assert answer["ids"] == ["x"]
    assert (status, b"ids: expected 2 different ones, one a pair" in words) == (400, True)


def _post(url: str, body: Any) -> tuple[int, bytes]:
    connection = HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.request("POST", "/score", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, response.read()


def test_random_faults() -> None:
    """960 rows in requests of 8, each met by one of 17 faults with a chance of a half: their own score or None."""
    found = faults.ask_server(seed=1, batches=40)
    assert (found.tried, found.held, found.lost) == (960, 960, 0)
