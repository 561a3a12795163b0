"""Requests that wait to be scored, each of which gives a row in its turn."""

from __future__ import annotations

from collections import deque

from reward_models.serving.jobs import Entry, Job


class Line:
    """Jobs in the order in which they came; a large one does not hold up those behind it. Not safe for threads."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self.tokens = 0

    def __bool__(self) -> bool:
        return bool(self._jobs)

    @property
    def since(self) -> float:
        """When the job whose turn it is came."""
        return self._jobs[0].arrived

    def add(self, job: Job) -> None:
        """Put a job at the end."""
        self._jobs.append(job)
        self.tokens += job.waiting

    def take(self, enough: float) -> list[Entry]:
        """Take rows until they have ``enough`` tokens, one of each job in turn; drop jobs that nobody waits for."""
        taken: list[Entry] = []
        tokens = 0
        while self._jobs and tokens < enough:
            job = self._jobs.popleft()
            if job.future.done():
                self.tokens -= job.waiting
                continue
            entry = Entry(job, job.taken)
            job.taken += 1
            self.tokens -= entry.tokens
            tokens += entry.tokens
            taken.append(entry)
            if job.taken < len(job.rows):
                self._jobs.append(job)
        return taken

    def clear(self) -> list[Entry]:
        """Take all that is left."""
        left = [Entry(job, row) for job in self._jobs for row in range(len(job.rows))]
        self._jobs.clear()
        self.tokens = 0
        return left
