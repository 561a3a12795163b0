"""A server on loopback for the length of a test, and a client that shows status, body and headers as they are."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import torch
from tokenizers import processors
from torch import Tensor

from reward_models import RewardModel
from reward_models.formatting import Encoded
from reward_models.serving import ScoringService, ServingSettings, bind, create_app
from reward_models.serving.server import address_of, build_server
from tests.tiny import CHAT_TEMPLATE, save_tiny, tiny_llama, tiny_tokenizer

HEADS = ("helpful", "brief")
OPENER = build_opener(ProxyHandler({}))


class Answer(NamedTuple):
    status: int
    body: Any
    headers: dict[str, str]


def call(url: str, body: Any = None, raw: bytes | None = None, kind: str = "application/json") -> Answer:
    """GET without a body, POST with one."""
    data = raw if raw is not None else None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"Content-Type": kind} if data is not None else {})
    try:
        with OPENER.open(request, timeout=30) as response:
            return Answer(response.status, json.loads(response.read()), dict(response.headers))
    except HTTPError as error:
        return Answer(error.code, json.loads(error.read()), dict(error.headers))


def together(functions: list[Callable[[], Any]]) -> list[Any]:
    """Run functions in threads that start at once; results in their order."""
    barrier = threading.Barrier(len(functions))
    results: list[Any] = [None] * len(functions)

    def run(number: int) -> None:
        barrier.wait(10)
        results[number] = functions[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return results


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.005)


def tiny_reward_model(folder: Path, heads: tuple[str, ...] = HEADS) -> RewardModel:
    """A Llama whose tokenizer puts <bos> before a text, and whose chat template writes it too."""
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 1)]
    )
    tokenizer.chat_template = "<bos>" + CHAT_TEMPLATE
    save_tiny(folder, tiny_llama(head=False), tokenizer)
    torch.manual_seed(1)
    return RewardModel.from_backbone(folder, heads=heads).eval()


@contextmanager
def running(service: ScoringService, head: str | None = None) -> Iterator[str]:
    """Serve in a thread; gives the URL."""
    taken = bind("127.0.0.1", 0)
    listening = threading.Event()
    server = build_server(create_app(service, head), 10.0, listening.set)
    thread = threading.Thread(target=server.run, args=([taken],), daemon=True)
    thread.start()
    assert listening.wait(10)
    try:
        yield address_of(taken)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


class Held:
    """Stands in for the model: ``score`` waits for ``release`` and notes its batches."""

    def __init__(self, service: ScoringService) -> None:
        self.release = threading.Event()
        self.batches: list[int] = []
        self._inner = service.batcher.score
        service.batcher.score = self.score

    def score(self, rows: list[Encoded]) -> Tensor:
        self.batches.append(len(rows))
        assert self.release.wait(20)
        return self._inner(rows)


def service_of(model: RewardModel, **settings: Any) -> ScoringService:
    return ScoringService(model, "tiny", ServingSettings(**settings))
