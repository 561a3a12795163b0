"""One of the processes that score a file: it tells its parent what it does, and ends with it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for

from reward_models.errors import DataError, ModelError
from reward_models.redaction import redact
from reward_models.scoring.parts import Part
from reward_models.scoring.settings import ScoringSettings


def work(
    messages: Connection,
    threads: int,
    model: str,
    source: str,
    output: str,
    settings: ScoringSettings | None,
    device: str | None,
    count: int,
    number: int,
) -> None:
    """Score part ``number`` of ``count``, and tell of rows, of batches, of the end, or of what went wrong."""
    # Ctrl-C reaches the whole group; the parent ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        import torch

        from reward_models.model import RewardModel
        from reward_models.scoring.run import score_part

        torch.set_num_threads(threads)
        loaded = RewardModel.from_pretrained(model).to(device_of(number, device))
        report = score_part(
            loaded,
            source,
            output,
            settings,
            model,
            Part(number, count),
            lambda rows: messages.send(("rows", rows)),
            lambda: messages.send(("batch", None)),
        )
        messages.send(("done", report))
    except (DataError, ModelError) as error:
        messages.send(("failed", error))
    except Exception as error:
        print(redact(traceback.format_exc()), file=sys.stderr)
        messages.send(("failed", ModelError(f"part {number} of {count} failed: {type(error).__name__}: {error}")))


def device_of(number: int, device: str | None = None) -> str:
    """The device of part ``number``: GPUs in turn, unless a device with an index is asked for."""
    import torch

    from reward_models.devices import pick_device

    picked = pick_device(device)
    if picked.type == "cuda" and (device is None or ":" not in device):
        return f"cuda:{(number - 1) % torch.cuda.device_count()}"
    return str(picked)


def _end_with_parent() -> None:
    if (parent := parent_process()) is not None:
        wait_for([parent.sentinel])
        os._exit(1)
