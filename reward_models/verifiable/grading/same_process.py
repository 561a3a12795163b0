"""Program and tests in one sandbox: for tests that need the program's own objects. Gives no integrity."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from reward_models.verifiable.grading.blackbox_calls import ForgeryError, LoadError, receive_loading
from reward_models.verifiable.grading.cases import UNGRADED, AssertCase, CheckCase, Job, Status
from reward_models.verifiable.grading.cells import LATE, Cell
from reward_models.verifiable.grading.comparison import MalformedError, parse
from reward_models.verifiable.grading.conversation import Conversation, EndedError, Ground, LateError
from reward_models.verifiable.grading.inside.codec import encode

REQUEST_CHARACTERS = 64_000_000
STATUSES: tuple[Status, ...] = ("ok", "wrong", "error", "memory", *UNGRADED)


def grade_together(ground: Ground, job: Job, cases: Mapping[int, AssertCase | CheckCase]) -> dict[int, Cell]:
    """Return a cell for each case, as the process that holds both says."""
    cells: dict[int, Cell] = {}
    waiting = list(cases)
    try:
        while waiting:
            some = waiting[: 1 if job.fresh else None]
            run_some(ground, job, {index: cases[index] for index in some}, cells)
            waiting = [index for index in waiting if index not in cells]
    except LoadError as error:
        return {index: cells.get(index, error.cell) for index in cases}
    except (ForgeryError, MalformedError) as error:
        return dict.fromkeys(cases, Cell("error", f"it wrote on the grader's channel: {error}"))
    return cells


def run_some(ground: Ground, job: Job, cases: Mapping[int, AssertCase | CheckCase], cells: dict[int, Cell]) -> None:
    """Run cases in one process, and enter cells up to the one that ended it."""
    tokens = {index: secrets.token_hex(8) for index in cases}
    request = [(tokens[index], case.source, getattr(case, "entry_point", None)) for index, case in cases.items()]
    with Conversation(ground, "together") as both:
        message = {"code": job.code, "setup": job.setup, "cases": request}
        both.send(encode(message, REQUEST_CHARACTERS))
        both.process.close_input()
        both.await_ready()
        load_cell = receive_loading(both, ground.deadline(job.timeout))
        if load_cell.verdict is not True:
            raise LoadError(load_cell)
        for index, case in cases.items():
            try:
                line = both.receive(ground.deadline(case.timeout or job.timeout))
            except LateError:
                cells[index] = LATE
                return
            except EndedError as error:
                if index == next(iter(cases)):
                    cells[index] = Cell(error.status, str(error))
                return
            answer = parse(line.removeprefix("V"))
            if not isinstance(answer, list) or len(answer) != 3 or answer[0] != tokens[index]:
                raise ForgeryError(f"{line[:80]!r}")
            cells[index] = Cell(answer[1] if answer[1] in STATUSES else "error", str(answer[2])[:300])
