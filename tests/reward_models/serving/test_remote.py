"""The client: the same scores as at home, patience with a server in trouble, None and a count where that fails."""

from __future__ import annotations

import json
import logging
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import torch
from torch import Tensor

from reward_models import RewardModel
from reward_models.errors import DataError, ModelError
from reward_models.failures import Ungradable
from reward_models.formatting import Encoded
from reward_models.remote import RemoteReward, score_over_http
from tests.reward_models.serving.server import HEADS, running, service_of, tiny_reward_model

PROMPTS = [[{"role": "user", "content": "Hi"}], "a", "b", "a", "c", "d", "e"]
COMPLETIONS = [[{"role": "assistant", "content": "x"}], "1", "22", "333", "4", "55", "6"]
FINE = {"names": ["score"], "scores": [[0.5], [0.25]]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> RewardModel:
    return tiny_reward_model(tmp_path_factory.mktemp("llama"))


@contextmanager
def scripted(*answers: tuple[int, Any, dict[str, str]]) -> Iterator[tuple[str, list[float]]]:
    """A server that gives these answers one after the other, the last one for ever. Gives its URL and the times."""
    times: list[float] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body, headers = answers[min(len(times), len(answers) - 1)]
            times.append(time.monotonic())
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", times
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_all_heads_in_order(model: RewardModel) -> None:
    """7 rows in requests of 3: the scores are those of `RewardModel.score`, (N, K) as nested lists."""
    with running(service_of(model)) as url:
        source = score_over_http(url)
        source.rows_per_request = 3
        found = source(prompts=PROMPTS, completions=COMPLETIONS, answer=list(range(7)))
    assert (source.names, source.__name__) == (HEADS, "helpful+brief")
    torch.testing.assert_close(torch.tensor(found), model.score(PROMPTS, COMPLETIONS), rtol=0, atol=1e-5)
    assert (source.failed_rows, source.unscored_rows, source.retries) == (0, 0, 0)


def test_one_head_gives_a_plain_list(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Also where the server could not score a row: None, and counted."""
    model = tiny_reward_model(tmp_path_factory.mktemp("one"), ("score",))
    service = service_of(model)
    inner = service.batcher.score

    def score(rows: list[Encoded]) -> Tensor:
        scores = inner(rows).clone()
        scores[[len(row.input_ids) == 5 for row in rows]] = float("nan")
        return scores

    service.batcher.score = score
    with running(service) as url:
        source = score_over_http(url)
        found = source(prompts=["a", "a"], completions=["b", "bb"])
    assert found == [pytest.approx(model.score(["a"], ["b"]).item(), abs=1e-5), None]
    assert (source.unscored_rows, source.failed_rows) == (1, 0)


def test_a_server_in_trouble_is_asked_again() -> None:
    """503, then 429 with Retry-After of 1 s, then half an answer, then the scores. Three retries; the pause after the
    429 is at least the second that was asked for."""
    answers = [(503, {}, {}), (429, {}, {"Retry-After": "1"}), (200, b'{"names": ["sc', {}), (200, FINE, {})]
    state = random.getstate()
    with scripted(*answers) as (url, times):
        source = RemoteReward(url, ("score",))
        assert source(prompts=["a", "b"], completions=["c", "d"]) == [0.5, 0.25]
    assert (source.retries, source.failed_requests) == (3, 0)
    assert times[2] - times[1] >= 1.0
    assert random.getstate() == state


def test_none_when_the_time_is_over(caplog: pytest.LogCaptureFixture) -> None:
    """A server that is always overloaded, 0.4 s: every row None, counted, and said."""
    with scripted((503, {"error": {"message": "no room"}}, {})) as (url, times), caplog.at_level(logging.WARNING):
        source = RemoteReward(url, ("helpful", "brief"), deadline=0.4)
        started = time.monotonic()
        assert source(prompts=["a", "b"], completions=["c", "d"]) == [[None, None], [None, None]]
        assert time.monotonic() - started < 2.0
    assert (source.failed_requests, source.failed_rows) == (1, 2)
    assert len(times) >= 2
    assert f"{url}: no scores for 2 texts: status 503: no room (after {len(times)} attempts)" in caplog.text


def test_none_when_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    source = RemoteReward(f"http://127.0.0.1:{port}", ("score",), deadline=0.3)
    assert source(prompts=["a"], completions=["b"]) == [None]
    assert (source.failed_requests, source.failed_rows) == (1, 1)
    with pytest.raises(ModelError, match=f"no reward server at http://127.0.0.1:{port}: ConnectionRefusedError"):
        score_over_http(f"http://127.0.0.1:{port}", deadline=0.3)


def test_an_answer_that_trickles_is_cut_off() -> None:
    """A byte every 0.05 s never runs into a timeout of one read; the deadline of 0.5 s for the whole call holds."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def trickle() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while not stop.wait(0.05):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        source = RemoteReward(f"http://127.0.0.1:{listening.getsockname()[1]}", ("score",), deadline=0.5)
        started = time.monotonic()
        assert source(prompts=["a"], completions=["b"]) == [None]
        assert time.monotonic() - started < 3.0
        stop.set()
        thread.join(5)
    assert source.failed_rows == 1


@pytest.mark.parametrize("scores", [[[0.5]], [[0.5, 1.0], [0.5, 1.0]], []])
def test_a_wrong_number_of_scores_is_no_score(scores: list[list[float]]) -> None:
    """2 rows of 1 head were asked for."""
    with scripted((200, {"names": ["score"], "scores": scores}, {})) as (url, _):
        source = RemoteReward(url, ("score",))
        assert source(prompts=["a", "b"], completions=["c", "d"]) == [None, None]
    assert source.failed_rows == 2


def test_a_text_that_the_server_refuses_by_name_has_no_score(model: RewardModel) -> None:
    """Of three texts the second has 13 tokens and 8 are allowed: None with the server's words, the others scored."""
    with running(service_of(model, max_length=8, truncate=False)) as url:
        source = score_over_http(url)
        rows = source.with_failures(prompts=["a"] * 3, completions=["b", "b" * 10, "c"])
        assert source(prompts=["a"], completions=["b" * 10]) == [[None, None]]
    message = "/score refuses the request with status 400: completions[0]: 13 tokens, but at most 8 are scored"
    assert isinstance(rows[1], Ungradable)
    assert message.replace("[0]", "[1]") in str(rows[1])
    torch.testing.assert_close(torch.tensor([rows[0], rows[2]]), model.score(["a"] * 2, ["b", "c"]), rtol=0, atol=1e-5)
    assert (source.unscored_rows, source.failed_rows, source.retries) == (2, 0, 0)


def test_what_asking_again_cannot_mend_raises(model: RewardModel) -> None:
    """The server's own words; a server of other heads; rows that do not pair; no address."""
    with running(service_of(model, max_length=8, truncate=False)) as url:
        source = score_over_http(url)
        with pytest.raises(DataError, match=r"/score refuses the request with status 400: prompts: "):
            source._ask([], 5.0)
        with pytest.raises(ModelError, match=r"serves \['helpful', 'brief'\] now, and not \['kind'\]"):
            RemoteReward(url, ("kind",))(prompts=["a"], completions=["b"])
        with pytest.raises(DataError, match="2 prompts but 1 completions; they must pair up"):
            source(prompts=["a", "b"], completions=["c"])
    with pytest.raises(ModelError, match="'localhost:8000' is no http address"):
        score_over_http("localhost:8000")
