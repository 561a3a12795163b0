"""A reward server under faults: crowds, clients that leave or dawdle, poison, a model that hangs, the order to stop."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch
from torch import Tensor

from reward_models import RewardModel
from reward_models.formatting import Encoded
from reward_models.serving import ScoringService, bind, create_app
from reward_models.serving.server import Server, address_of, build_server
from reward_models.serving.tokenising import TextEncoder
from scripts.faults import serving as faults
from scripts.faults.load_client import load
from tests.reward_models.serving.server import Held, call, running, service_of, tiny_reward_model, together, wait_until

PAIR = {"prompts": ["a"], "completions": ["b"]}
LETTERS = "defghijklmopqrst"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> RewardModel:
    found = tiny_reward_model(tmp_path_factory.mktemp("llama"), heads=("score",))
    torch.nn.init.normal_(found.score_head.weight)
    return found


@contextmanager
def stoppable(service: ScoringService, patience: float = 10.0) -> Iterator[tuple[str, Server, threading.Thread]]:
    """A server in a thread that may be told to stop."""
    taken = bind("127.0.0.1", 0)
    listening = threading.Event()
    server = build_server(create_app(service), patience, listening.set)
    thread = threading.Thread(target=server.run, args=([taken],), daemon=True)
    thread.start()
    assert listening.wait(10)
    yield address_of(taken), server, thread
    server.should_exit = True
    thread.join(20)


def connection(url: str) -> socket.socket:
    """A bare connection, for requests that no library would send."""
    where = urlsplit(url)
    return socket.create_connection((where.hostname, where.port or 0), timeout=20)


def request(body: bytes, length: int | None = None) -> bytes:
    """A POST with its body, which may state another length."""
    size = len(body) if length is None else length
    head = f"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + body


def answer(sent: socket.socket) -> tuple[int, Any]:
    """Status and body of the one answer that a connection gets."""
    content = b""
    while part := sent.recv(65536):
        content += part
    head, _, body = content.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_a_crowd(model: RewardModel, tmp_path: Path) -> None:
    """60 clients for 2 s on a queue of 40 texts, some of which tear their requests off or send no JSON: every answer is
    right or says that the server is full, and nobody's place is left over."""
    known = faults.known_scores(model, [(f"p{i}", "c" * (i % 17) + LETTERS[i % 16]) for i in range(120)])
    assert len(known["texts"]) > 40
    (tmp_path / "texts.json").write_text(json.dumps(known))
    service = service_of(model, queue_size=40)
    with running(service) as url:
        counts = faults.clients(url, tmp_path, 60, 2.0, 0)["counts"]
        wait_until(lambda: service.under_way == service.batcher.admitted == 0)
    assert not set(counts) - {"right", "429", "torn", "nonsense refused"}, counts
    assert counts["right"] > 20
    assert counts["429"] > 0
    assert counts["torn"] > 0


@pytest.mark.parametrize(("pause", "kind"), [(0.7, "abandoned"), (0.0, "broken")])
def test_the_crowd_notices_who_gets_no_answer(pause: float, kind: str) -> None:
    """A server that hangs up: on those it let in 0.7 s ago, or at once."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(pause)
        writer.close()

    async def counts() -> dict[str, int]:
        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        texts = [{"prompt": "a", "completion": "b", "score": 0.0}] * 3
        found = await load(f"http://{host}:{port}", {"texts": texts, "tolerance": 1.0}, 8, 0.5, 0)
        server.close()
        return dict(found["counts"])

    found = asyncio.run(counts())
    assert set(found) - {"torn"} == {kind}
    assert found[kind] >= 4


def test_a_client_that_leaves_gives_its_place_back(model: RewardModel) -> None:
    """The model is busy with one request; another client sends its own whole and goes: its text is never scored."""
    service = service_of(model)
    held = Held(service)
    with running(service) as url:
        first = threading.Thread(target=call, args=(f"{url}/score", PAIR))
        first.start()
        wait_until(lambda: held.batches == [1])
        with connection(url) as gone:
            gone.sendall(request(b'{"prompts": ["x"], "completions": ["y"]}'))
            wait_until(lambda: service.batcher.admitted == 2)
        wait_until(lambda: service.batcher.admitted == 1)
        held.release.set()
        first.join()
        assert call(f"{url}/score", PAIR).status == 200
    assert held.batches == [1, 1]
    assert service.batcher.counts.scored == 2


def test_a_body_that_does_not_come(model: RewardModel) -> None:
    """Half a body and then nothing for 0.3 s: status 408, and others are served meanwhile."""
    with running(service_of(model, body_timeout=0.3)) as url, connection(url) as slow:
        slow.sendall(request(b'{"prompts": ["a"],', 100))
        assert call(f"{url}/score", PAIR).status == 200
        status, body = answer(slow)
        assert (status, body["error"]["message"]) == (408, "the body did not come within 0.3 s")


def test_memory_for_bodies_is_bounded(model: RewardModel) -> None:
    """1 MiB for all: a body of 0.9 MiB that is still coming leaves no room for another of 0.2; once it is torn off
    there is. Small ones always fit in between."""
    service = service_of(model, max_body_mb=1, max_bodies_mb=1, queue_size=10)
    large = json.dumps({"prompts": ["a" * (200 << 10)], "completions": ["b"]}).encode()
    with running(service) as url:
        with connection(url) as slow:
            slow.sendall(request(b"{", 900 << 10))
            wait_until(lambda: service.under_way == 1)
            refused = call(f"{url}/score", raw=large)
            assert (refused.status, refused.body["error"]["type"]) == (429, "overloaded")
            assert {name.title() for name in refused.headers} >= {"Retry-After"}
            assert call(f"{url}/score", PAIR).status == 200
        wait_until(lambda: service.under_way == 0)
        assert call(f"{url}/score", raw=large).status == 200


def test_who_is_refused_while_sending_gets_the_answer(model: RewardModel) -> None:
    """Bodies of 24 MiB are more than sockets hold: they are read, and dropped, before 429 (room for 24 of 25 MiB is
    taken) and 503 (told to stop). Read no further, the connection would break under the sender."""
    service = service_of(model, max_body_mb=25, max_bodies_mb=25)
    body = request(json.dumps({"prompts": ["a" * (24 << 20)], "completions": ["b"]}).encode())
    with running(service) as url, connection(url) as slow:
        slow.sendall(request(b"{", 24 << 20))
        wait_until(lambda: service.under_way == 1)
        for stop, status in ((False, 429), (True, 503)):
            service.stopping = stop
            with connection(url) as sent:
                sent.sendall(body)
                assert answer(sent)[0] == status


def test_a_body_of_unknown_length(model: RewardModel) -> None:
    with running(service_of(model)) as url, connection(url) as sent:
        sent.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n\r\n")
        assert answer(sent)[0] == 411


@pytest.mark.parametrize(
    ("path", "raw", "words"),
    [
        ("/score", b'{"prompts": ["\xff"], "completions": ["b"]}', "body"),
        ("/score", b'{"prompts": ["a"], "completions": ["b"], "\\ud800": 1}', "body: Input should be a valid string"),
        ("/score", b'{"prompts": ["a"], "completions": ["b"], "ids": ["\\ud800"]}', "ids[0]: no valid Unicode"),
        ("/score", b'{"prompts": ["a"], "completions": ["b"], "truncate": NaN}', "truncate: must be true or false"),
        ("/score", b'{"prompts": [NaN], "completions": ["b"]}', "prompts[0]: expected text or a list of messages"),
        ("/score", b'{"prompts": ["a"], "completions": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}", "body"),
        ("/score", b'{"prompts": ["a"], "completions": [' + b"9" * 10_000 + b"]}", "body"),
        ("/score", b'{"prompts": [[{"role": "\\udfff", "content": "a"}]], "completions": ["b"]}',
         "prompts[0][0].role: no valid Unicode (half of a surrogate pair)"),
        ("/classify", b'{"input": [NaN]}', "input[0]: expected text, found a number"),
        ("/classify", b'{"input": [1, Infinity]}', "input[1]: expected a token id, found a number"),
        ("/classify", b'{"input": "a", "model": "\\ud800"}', "model: '\\ud800' is not served here"),
        ("/get_reward", b'{"query": ["\\ud800"]}', "query[0]: no valid Unicode"),
        ("/score", b'{"prompts": ["a"], "completions": ["b"], "' + b"x" * 100_000 + b'": 1}', "xxx"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_request(small: str, path: str, raw: bytes, words: str) -> None:
    """Status 400 (404 for another model), a short message about the field; the server goes on."""
    refused = call(small + path, raw=raw)
    message = refused.body["error"]["message"]
    assert refused.status == (404 if "model" in words else 400), message
    assert words in message or words in ("body",)
    assert len(message) < 2000
    assert call(f"{small}/score", PAIR).status == 200


@pytest.fixture(scope="module")
def small(model: RewardModel) -> Iterator[str]:
    with running(service_of(model)) as url:
        yield url


def test_what_is_not_read_may_be_anything(small: str) -> None:
    """OpenRLHF's labels are taken and not read."""
    assert call(f"{small}/get_reward", raw=b'{"query": ["a"], "labels": [NaN, "\\ud800"]}').status == 200


def test_poison_takes_nobody_with_it(model: RewardModel) -> None:
    """Twenty clients at once; the model raises on every batch with a 'c'. The four that sent one get null and the
    reason, the sixteen others the scores that were known before."""
    service = service_of(model, max_wait_ms=50.0)
    inner, poison = service.batcher.score, model.tokenizer.convert_tokens_to_ids("c")

    def score(rows: list[Encoded]) -> Tensor:
        if any(poison in row.input_ids for row in rows):
            raise RuntimeError("poison")
        return inner(rows)

    service.batcher.score = score  # type: ignore[method-assign]
    texts = [LETTERS[i] * (i + 1) for i in range(16)] + ["c"] * 2 + ["cc"] * 2
    expected = model.score(["a"] * 16, texts[:16])[:, 0].tolist()
    with running(service) as url:
        found = together([
            lambda text=text: call(f"{url}/score", {"prompts": ["a"], "completions": [text]}) for text in texts
        ])  # fmt: skip
    assert [one.status for one in found] == [200] * 20
    assert [one.body["scores"][0][0] for one in found[:16]] == pytest.approx(expected, abs=1e-5)
    assert [one.body["scores"] for one in found[16:]] == [[[None]]] * 4
    assert [one.body["unscored"] for one in found[16:]] == [{"0": "RuntimeError: poison"}] * 4


def test_a_pass_that_hangs(model: RewardModel) -> None:
    """The model is held for longer than the request's 0.5 s: everybody who waits gets 503 in time, `/health` says that
    the process should be replaced, `/ready` that requests should go elsewhere; once the pass ends, all is well."""
    service = service_of(model, request_timeout=0.5)
    held = Held(service)
    with running(service) as url:
        found = together([lambda: call(f"{url}/score", PAIR)] * 5)
        assert [(one.status, one.body["error"]["type"]) for one in found] == [(503, "timeout")] * 5
        wait_until(lambda: call(f"{url}/health").status == 503)
        assert call(f"{url}/health").body["status"].startswith("a forward pass has been running for ")
        assert call(f"{url}/ready").status == 503
        held.release.set()
        wait_until(lambda: call(f"{url}/health").status == 200)
        assert call(f"{url}/score", PAIR).status == 200


def test_a_text_that_takes_long_to_tokenise(model: RewardModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request of 40,000 letters is held in the tokeniser: small ones are scored meanwhile. A second large one waits
    for the first, and gets its 503."""
    held = threading.Event()
    encode = TextEncoder.__call__

    def slow(self: TextEncoder, texts: Any, truncate: bool) -> Any:
        if len(texts[0].completion) > 1000:
            assert held.wait(20)
        return encode(self, texts, truncate)

    monkeypatch.setattr(TextEncoder, "__call__", slow)
    large = {"prompts": ["a"], "completions": ["b" * 40_000]}
    with running(service_of(model, request_timeout=1.0)) as url:
        found: list[Any] = []
        clients = [threading.Thread(target=lambda: found.append(call(f"{url}/score", large))) for _ in range(2)]
        for client in clients:
            client.start()
        assert call(f"{url}/score", PAIR).status == 200
        for client in clients:
            client.join()
        assert [(one.status, one.body["error"]["type"]) for one in found] == [(503, "timeout")] * 2
        held.set()
        assert call(f"{url}/score", large).status == 200


def test_an_unforeseen_error(model: RewardModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status 500 as JSON, and nothing of the server's inside."""
    service = service_of(model)

    async def broken(*_: Any) -> None:
        raise KeyError("inside")

    monkeypatch.setattr(service, "score", broken)
    with running(service) as url:
        found = call(f"{url}/score", PAIR)
    assert (found.status, found.body["error"]["type"]) == (500, "internal")
    assert "inside" not in json.dumps(found.body)


def test_told_to_stop(model: RewardModel) -> None:
    """While an accepted request is scored, new ones get 503 with Retry-After, `/ready` is 503 and `/health` 200; the
    accepted one gets its score, and the server ends."""
    service = service_of(model)
    held = Held(service)
    answers: list[Any] = []
    with stoppable(service) as (url, server, thread):
        client = threading.Thread(target=lambda: answers.append(call(f"{url}/score", PAIR)))
        client.start()
        wait_until(lambda: held.batches == [1])
        server.handle_exit(signal.SIGTERM, None)
        late = call(f"{url}/score", PAIR)
        assert (late.status, late.body["error"]["type"]) == (503, "stopping")
        assert {name.title() for name in late.headers} >= {"Retry-After"}
        assert (call(f"{url}/ready").status, call(f"{url}/health").status) == (503, 200)
        held.release.set()
        client.join()
        thread.join(10)
        assert not thread.is_alive()
    assert answers[0].status == 200
    assert answers[0].body["scores"][0] == pytest.approx(model.score(["a"], ["b"])[0].tolist(), abs=1e-5)


def test_told_to_stop_with_a_model_that_hangs(model: RewardModel) -> None:
    """The request gets 503 after its 1 s, and the server ends although the model does not."""
    service = service_of(model, request_timeout=1.0)
    held = Held(service)
    answers: list[Any] = []
    with stoppable(service, patience=1.0) as (url, server, thread):
        client = threading.Thread(target=lambda: answers.append(call(f"{url}/score", PAIR)))
        client.start()
        wait_until(lambda: held.batches == [1])
        server.handle_exit(signal.SIGTERM, None)
        thread.join(10)
        assert not thread.is_alive()
        client.join()
    assert answers[0].status == 503
    assert service.batcher.alive
    held.release.set()


def test_told_to_stop_twice(model: RewardModel, tmp_path: Path) -> None:
    """A text waits 40 s for its batch; the first signal lets it wait, the second ends the process, with status 0."""
    model.save_pretrained(tmp_path / "model")
    with faults.served(tmp_path / "model", "--max-wait-ms", "40000") as server, connection(server.url) as sent:
        sent.sendall(request(json.dumps(PAIR).encode()))
        wait_until(lambda: server.fact("/info")["waiting"] == 1)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: call(f"{server.url}/ready").status == 503)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(15) == 0


@pytest.mark.slow
def test_killed_and_begun_again(model: RewardModel, tmp_path: Path) -> None:
    """Signal 9 under a client with retries; the server begins again at the same address: every row has its score."""
    model.save_pretrained(tmp_path / "model")
    known = faults.known_scores(model, [(f"p{i}", "c" * (i % 17) + LETTERS[i % 16]) for i in range(120)])
    figure = faults.killed(tmp_path, known)
    assert figure.kept, figure


def test_the_command_ends_when_a_pass_does_not(model: RewardModel, tmp_path: Path) -> None:
    """A process whose model hangs ends with status 0 in time: two seconds for the request, one more for the thread."""
    model.save_pretrained(tmp_path / "model")
    program = (
        "import sys, threading, urllib.request\n"
        "from reward_models.serving.batcher import MicroBatcher\n"
        "from prefopt.cli import main\n"
        "import os, signal\n"
        "def hang(self, rows):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    threading.Event().wait()\n"
        "MicroBatcher.score = hang\n"
        "sys.exit(main(['serve', '--port', '0', '--device', 'cpu', '--request-timeout', '2', *sys.argv[1:]]))\n"
    )
    command = [sys.executable, "-c", program, "--model", str(tmp_path / "model")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = next(word for word in process.stdout.readline().split() if word.startswith("http"))
        assert call(f"{url}/score", PAIR).status == 503
        output, _ = process.communicate(timeout=20)
        assert (process.returncode, output) == (0, "Stopped; work that does not end was given up.\n")
    finally:
        process.kill()
