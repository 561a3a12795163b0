"""Verdicts by content: the same program, cases and settings are graded once."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import fields

from reward_models.verifiable.grading.cases import CallCase, Graded, Job
from reward_models.verifiable.grading.inside.codec import encode

LARGEST_CASE = 64_000_000


class JobError(ValueError):
    """A job that cannot be graded as it is; the message names the case and the field."""


def key_of(job: Job, *settings: Hashable) -> str:
    """Return a hash of all that a job's verdicts depend on.

    Raises:
        JobError: arguments or expected value of a case are no plain data.
    """
    digest = hashlib.sha256()
    parts: list[object] = [job.code, job.setup, job.timeout, job.fresh, *settings]
    for index, case in enumerate(job.cases):
        parts.append(type(case).__name__)
        for field in fields(case):
            value = getattr(case, field.name)
            parts.append(_text(index, field.name, value) if isinstance(case, CallCase) else value)
    for part in parts:
        text = repr(part).encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(text) + text)
    return digest.hexdigest()


def _text(index: int, name: str, value: object) -> str:
    try:
        return encode(value, LARGEST_CASE)
    except (TypeError, ValueError) as error:
        raise JobError(f"case {index}, {name}: {error}") from None


class Cache:
    """The last ``size`` jobs' verdicts. What the grader, not the program, is to blame for is never kept."""

    def __init__(self, size: int = 20_000) -> None:
        self.size = size
        self._kept: OrderedDict[str, Graded] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Graded | None:
        """Return the verdicts of a job, if kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: str, graded: Graded) -> None:
        """Keep verdicts, unless the infrastructure had a part in them."""
        if "infra" in graded.statuses:
            return
        with self._lock:
            self._kept[key] = graded
            self._kept.move_to_end(key)
            while len(self._kept) > self.size:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()


CACHE = Cache()
