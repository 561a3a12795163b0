"""A reward server that answers badly on purpose: late, torn, in another order, about other texts, not at all."""

from __future__ import annotations

import json
import random
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NAME = "score"
NUMBER = re.compile(r"\d+")
UNSCORABLE = 17
"""Rows whose number divides by it have no score, whoever asks how often."""
FAULTS = (
    "busy", "stopping", "broken", "gateway", "no_answer", "half_a_body", "no_json", "no_object", "half_of_the_scores",
    "half_without_ids", "another_order", "another_request", "ids_twice", "words_for_scores", "one_head_too_many",
    "late", "trickle",
)  # fmt: skip


def true_score(text: str) -> float:
    """Row number n has n + 1/2: never 0, and no two the same."""
    found = NUMBER.search(text)
    assert found is not None
    return int(found[0]) + 0.5


def unscorable(text: str) -> bool:
    """Whether a row has no score."""
    return int(true_score(text)) % UNSCORABLE == 0


@dataclass
class Faults:
    """Which fault the next request meets: one of ``kinds`` with this chance, drawn with a seed; None = none.

    ``script``: used up first. ``seen`` counts.
    """

    kinds: Sequence[str] = FAULTS
    chance: float = 0.5
    seed: int = 0
    script: list[str | None] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random, self._lock = random.Random(self.seed), threading.Lock()

    def next(self) -> tuple[str | None, random.Random]:
        """Return the fault and a generator of its own."""
        with self._lock:
            drawn = self._random.choice(list(self.kinds)) if self._random.random() < self.chance else None
            fault = self.script.pop(0) if self.script else drawn
            self.seen[fault or "none"] += 1
            return fault, random.Random(self._random.random())


def answer_to(question: dict[str, Any], fault: str | None, chance: random.Random) -> Any:
    """Return the answer of a server with this fault."""
    texts = [str(text) for text in question["completions"]]
    ids = list(question.get("ids", []))
    rows = [[None] if unscorable(text) else [true_score(text)] for text in texts]
    places = list(range(len(rows)))
    keeps_ids = fault != "half_without_ids"
    if fault == "another_order":
        chance.shuffle(places)
    if fault in ("half_of_the_scores", "half_without_ids"):
        places = places[: len(places) // 2]
    if fault == "another_request":
        ids, rows = [f"x{one}" for one in ids], [[-1.0] for _ in rows]
    if fault == "words_for_scores":
        rows[chance.randrange(len(rows))] = ["high"]
    if fault == "one_head_too_many":
        rows = [[*row, 0.0] for row in rows]
    scores, named = [rows[place] for place in places], [ids[place] for place in places] if ids else []
    if fault == "ids_twice" and len(named) > 1:
        named[0] = named[1]
    return {"names": [NAME], "scores": scores} | ({"ids": named} if named and keeps_ids else {})


class Handler(BaseHTTPRequestHandler):
    """Answers ``POST /score``, and ``GET /info`` without faults."""

    faults: Faults
    stop: threading.Event
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        """What the server is."""
        self._say(200, json.dumps({"names": [NAME]}).encode())

    def do_POST(self) -> None:
        """Scores, or a fault."""
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault, chance = self.faults.next()
        statuses = {"busy": 429, "stopping": 503, "broken": 500, "gateway": 502}
        if fault in statuses:
            after = {"Retry-After": "1"} if fault in ("busy", "stopping") else {}
            return self._say(statuses[fault], b"{}", after)
        if fault == "no_answer":
            return self._hang_up()
        if fault == "late":
            self.stop.wait(5)
            return self._hang_up()
        content = json.dumps(answer_to(question, fault, chance)).encode()
        if fault == "no_json":
            content = content[:-2]
        if fault == "no_object":
            content = b"[0.0]"
        if fault == "trickle":
            return self._trickle(content)
        return self._say(200, content, cut=fault == "half_a_body")

    def _say(self, status: int, content: bytes, headers: dict[str, str] | None = None, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)

    def _trickle(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            for byte in content:
                if self.stop.wait(0.05):
                    return
                self.wfile.write(bytes([byte]))
        except OSError:
            return

    def _hang_up(self) -> None:
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def faulty_server(faults: Faults) -> Iterator[str]:
    """Serve on this machine. Gives the address."""
    stop = threading.Event()
    handler = type("Faulty", (Handler,), {"faults": faults, "stop": stop})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
