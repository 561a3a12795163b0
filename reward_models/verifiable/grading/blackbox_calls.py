"""Black-box grading of calls: inputs go in, values come out, and are compared out here."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from reward_models.verifiable.grading.cases import CallCase, Job
from reward_models.verifiable.grading.cells import LATE, OK, Cell, cell_of
from reward_models.verifiable.grading.comparison import MalformedError, parse, same_value
from reward_models.verifiable.grading.conversation import Conversation, EndedError, Ground, LateError
from reward_models.verifiable.grading.inside.codec import encode
from reward_models.verifiable.grading.order import shuffled

REQUEST_CHARACTERS = 64_000_000


class ForgeryError(Exception):
    """A line on the answer channel that our program would not have written there."""


class LoadError(Exception):
    """The program itself, outside of any function, failed."""

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell.reason)
        self.cell = cell


def grade_calls(ground: Ground, job: Job, cases: Mapping[int, CallCase]) -> dict[int, Cell]:
    """Return a cell for each case.

    One process answers as many calls as it survives; a call that ends it or keeps it too long costs its own cell, and
    the rest is asked of a fresh process. A forged line (a token out of turn, a duplicate, anything that is no answer)
    fails the whole program.
    """
    cells: dict[int, Cell] = {}
    waiting = shuffled(list(cases), job.code)
    try:
        while waiting:
            ask_some(ground, job, {index: cases[index] for index in waiting[: 1 if job.fresh else None]}, cells)
            waiting = [index for index in waiting if index not in cells]
    except LoadError as error:
        return {index: cells.get(index, error.cell) for index in cases}
    except ForgeryError as error:
        return dict.fromkeys(cases, Cell("error", f"it wrote on the grader's channel: {error}"))
    return cells


def ask_some(ground: Ground, job: Job, cases: Mapping[int, CallCase], cells: dict[int, Cell]) -> None:
    """Ask one process, in the order of ``cases``, and enter cells up to the one that ended it.

    One that ended a process which others had used before (all of them may have printed too much together) is left for
    the next process, to be its first.
    """
    tokens = {index: secrets.token_hex(8) for index in cases}
    calls = [(tokens[index], case.function, tuple(case.args), dict(case.kwargs)) for index, case in cases.items()]
    with Conversation(ground, "calls") as program:
        program.send(encode({"code": job.code, "calls": calls}, REQUEST_CHARACTERS))
        program.process.close_input()
        program.await_ready()
        load_cell = receive_loading(program, ground.deadline(job.timeout))
        if load_cell is not OK:
            raise LoadError(load_cell)
        for index, case in cases.items():
            try:
                line = program.receive(ground.deadline(case.timeout or job.timeout))
            except LateError:
                cells[index] = LATE
                return
            except EndedError as error:
                if index == next(iter(cases)):
                    cells[index] = Cell(error.status, str(error))
                return
            cells[index] = judge(case, answer_of(line, tokens[index]))
        try:
            answer_of(program.receive(ground.deadline(job.timeout)), "end")
        except (LateError, EndedError):
            return


def receive_loading(program: Conversation, deadline: float) -> Cell:
    """Return OK, or why the program could not be loaded."""
    try:
        answer = answer_of(program.receive(deadline), "load")
    except LateError:
        return LATE
    except EndedError as error:
        return Cell(error.status, str(error))
    return OK if answer == ["done"] else failure(answer)


def answer_of(line: str, token: str) -> list[Any]:
    """Return what a line says after its token.

    Raises:
        ForgeryError: it is no line of ours, or of another call: a duplicate, out of order, unasked for.
    """
    try:
        answer = parse(line)
    except MalformedError as error:
        raise ForgeryError(str(error)) from None
    if not isinstance(answer, list) or not answer or answer[0] != token:
        raise ForgeryError(f"an answer that nobody asked for: {line[:80]!r}")
    return answer[1:]


def judge(case: CallCase, answer: Sequence[Any]) -> Cell:
    """Return the verdict on an answer, ``["value", value]`` or ``[kind, name, message]``."""
    if len(answer) == 2 and answer[0] == "value":
        right = same_value(case.expected, answer[1], case.tolerance)
        return OK if right else Cell("wrong", "another value was expected")
    return failure(answer)


def failure(answer: Sequence[Any]) -> Cell:
    """Return the cell of an answer that is no value."""
    if (
        len(answer) == 3
        and all(isinstance(part, str) for part in answer)
        and answer[0] in ("raised", "large", "foreign")
    ):
        return cell_of(*answer)
    raise ForgeryError(f"no answer: {str(answer)[:80]}")
