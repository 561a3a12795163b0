"""Many clients of a reward server in one process, each of which knows the scores that it must get.

    python -m scripts.faults.load_client URL TEXTS.json --clients 1000 --seconds 60

Each client keeps a connection and asks again and again for one to three texts. An answer of status 200 must hold the
right scores in the right order; 429 and 503 are waited out for as long as ``Retry-After`` says. Some requests are torn
off by the client, some are no JSON. A request that was let in and got no answer is "abandoned", a connection that does
not come about or is closed at once "broken". Prints one JSON object of counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 90.0
# A connection that was idle may be closed while a request sets out; who has waited longer than this was let in.
AT_ONCE = 0.5
TORN, NONSENSE = 0.02, 0.02
JSON = "application/json"


@dataclass
class Tally:
    """What came back."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    def note(self, kind: str, example: str = "") -> None:
        """Count one, and keep the first few that should not be."""
        self.counts[kind] += 1
        if example and len(self.examples) < 5:
            self.examples.append(f"{kind}: {example}")

    def as_json(self) -> dict[str, Any]:
        """Counts, and percentiles of the seconds that an answer with scores took."""
        ordered = sorted(self.seconds)
        place = {name: ordered[int(share * (len(ordered) - 1))] if ordered else None for name, share in SHARES.items()}
        return {"counts": dict(self.counts), **place, "examples": self.examples}


SHARES = {"p50": 0.5, "p99": 0.99}


@dataclass
class Client:
    """One client."""

    host: str
    port: int
    texts: list[dict[str, Any]]
    tolerance: float
    tally: Tally
    chance: random.Random
    asked: float = math.inf

    async def run(self, until: float) -> None:
        """Ask until the time is over."""
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while monotonic() < until:
            self.asked = math.inf
            try:
                if streams is None:
                    streams = await asyncio.open_connection(self.host, self.port)
                kept = await self._ask(*streams)
            except (OSError, EOFError, ValueError, TimeoutError) as error:
                kind = "abandoned" if monotonic() - self.asked > AT_ONCE else "broken"
                self.tally.note(kind, f"{type(error).__name__}: {error}")
                kept = False
            if not kept and streams is not None:
                streams[1].close()
                streams = None
        if streams is not None:
            streams[1].close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        wanted = self.chance.sample(self.texts, self.chance.randint(1, 3))
        body = json.dumps({"prompts": [t["prompt"] for t in wanted], "completions": [t["completion"] for t in wanted]})
        fate = self.chance.random()
        payload = (body[: len(body) // 2] if TORN <= fate < TORN + NONSENSE else body).encode()
        head = f"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nContent-Length: {len(payload)}\r\n\r\n"
        begin = monotonic()
        if fate < TORN:
            writer.write(head.encode() + payload[: self.chance.randint(0, len(payload))])
            await writer.drain()
            await asyncio.sleep(self.chance.random() * 0.05)
            self.tally.note("torn")
            return False
        writer.write(head.encode() + payload)
        self.asked = begin
        async with asyncio.timeout(PATIENCE):
            status, headers, answer = await _read(reader)
        if TORN <= fate < TORN + NONSENSE:
            fine = status == 400 and answer["error"]["message"].startswith("the body is no valid JSON")
            fine = fine or status in (429, 503)
            self.tally.note("nonsense refused" if fine else "nonsense taken", "" if fine else str(status))
        elif status == 200:
            self._check(wanted, answer)
            self.tally.seconds.append(monotonic() - begin)
        elif status in (429, 503) and "retry-after" in headers:
            self.tally.note(str(status))
            await asyncio.sleep(float(headers["retry-after"]) * self.chance.uniform(0.5, 1.5))
        else:
            self.tally.note("other", f"{status} {answer}")
        return headers.get("connection") != "close"

    def _check(self, wanted: list[dict[str, Any]], answer: dict[str, Any]) -> None:
        scores = [row[0] for row in answer["scores"]]
        right = len(scores) == len(wanted) and not answer["unscored"]
        right = right and all(
            score is not None and abs(score - text["score"]) <= self.tolerance
            for score, text in zip(scores, wanted, strict=True)
        )
        self.tally.note("right" if right else "wrong", "" if right else f"{scores} for {[t['score'] for t in wanted]}")


async def _read(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], Any]:
    first = await reader.readline()
    if not first:
        raise EOFError("the connection was closed")
    headers = {}
    while line := (await reader.readline()).strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers["content-length"]))
    return int(first.split()[1]), headers, json.loads(body)


async def load(url: str, known: dict[str, Any], clients: int, seconds: float, seed: int) -> dict[str, Any]:
    """Ask with many clients at once for some seconds; return the counts."""
    where = urlsplit(url)
    tally, until = Tally(), monotonic() + seconds
    chances = [random.Random(f"{seed} {number}") for number in range(clients)]
    one = (where.hostname or "", where.port or 80, known["texts"], known["tolerance"], tally)
    await asyncio.gather(*(Client(*one, chance).run(until) for chance in chances))
    return tally.as_json()


def main() -> None:
    """Run the clients and print what came back."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("texts", type=Path)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    known = json.loads(chosen.texts.read_text(encoding="utf-8"))
    with suppress(KeyboardInterrupt):
        print(json.dumps(asyncio.run(load(chosen.url, known, chosen.clients, chosen.seconds, chosen.seed))))


if __name__ == "__main__":
    main()
