"""Scoring a file in several processes of this machine, one a device."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from queue import Empty
from typing import Any

from reward_models.errors import ModelError
from reward_models.scoring import Part, Progress, ScoringReport, ScoringSettings, join_parts, score_part, silent


def score_in_processes(
    model: str | Path,
    source: str | Path,
    output: str | Path,
    processes: int,
    settings: ScoringSettings | None = None,
    device: str | None = None,
    progress: Progress = silent,
) -> ScoringReport:
    """Score a file as `scoring.score_file` does, each process a part, on its own GPU where there are any.

    The output is the same, byte for byte, as that of one process with as many threads as each of these has: the cores
    are shared out between them. Any process may be killed; the same call goes on from there.

    Raises:
        DataError: as `score_file` does.
        ModelError: a process was killed.
    """
    context = get_context("spawn")
    queue = context.Queue()
    rows = dict.fromkeys(range(1, processes + 1), 0)
    threads = max(1, (os.cpu_count() or 1) // processes)
    with ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(queue, threads)) as pool:
        work = partial(_score, str(model), str(source), str(output), settings, device, processes)
        futures = [pool.submit(work, number) for number in rows]
        while wait(futures, timeout=0.2).not_done:
            if any(future.done() and future.exception() for future in futures):
                break
            try:
                while True:
                    number, count = queue.get_nowait()
                    rows[number] = count
            except Empty:
                progress(sum(rows.values()))
        try:
            parts = [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise ModelError(
                "a scoring process was killed, perhaps because memory ran out; what it scored is kept: "
                "run the same command again to go on"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return join_parts(source, output, processes, parts)


_queue: Any = None


def _begin(queue: Any, threads: int) -> None:
    global _queue
    _queue = queue
    import torch

    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := parent_process()) is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _score(
    model: str, source: str, output: str, settings: ScoringSettings | None, device: str | None, count: int, number: int
) -> ScoringReport:
    from reward_models.model import RewardModel

    loaded = RewardModel.from_pretrained(model).to(device_of(number, device))
    return score_part(
        loaded, source, output, settings, model, Part(number, count), lambda rows: _queue.put((number, rows))
    )


def device_of(number: int, device: str | None = None) -> str:
    """The device of part ``number``: GPUs in turn, unless a device with an index is asked for."""
    import torch

    from reward_models.devices import pick_device

    picked = pick_device(device)
    if picked.type == "cuda" and (device is None or ":" not in device):
        return f"cuda:{(number - 1) % torch.cuda.device_count()}"
    return str(picked)
