"""Two-process grading: trusted tests in one sandbox, the program in another, and this process between them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from reward_models.verifiable.grading.asked_names import (
    UnreadableTestError,
    names_of,
    require,
    with_tools,
    without_stubs,
)
from reward_models.verifiable.grading.blackbox_calls import ForgeryError, LoadError, receive_loading
from reward_models.verifiable.grading.cases import AssertCase, CheckCase, Job
from reward_models.verifiable.grading.cells import LATE, Cell
from reward_models.verifiable.grading.comparison import parse
from reward_models.verifiable.grading.conversation import (
    Conversation,
    EndedError,
    Ground,
    InfrastructureError,
    LateError,
)
from reward_models.verifiable.grading.inside.codec import encode
from reward_models.verifiable.grading.order import shuffled

REQUEST_CHARACTERS = 64_000_000
TestCase = AssertCase | CheckCase


def grade_tests(ground: Ground, job: Job, cases: Mapping[int, TestCase]) -> dict[int, Cell]:
    """Return a cell for each case.

    A case that ends either process or takes too long costs its own cell, and the rest is run in fresh processes.
    Test code that cannot be parsed is ungradable, and so is what needs an object of the program that cannot be sent.
    """
    cells: dict[int, Cell] = {}
    for index, case in cases.items():
        try:
            require(case)
        except UnreadableTestError as error:
            cells[index] = Cell("ungradable", str(error))
    good = {index: case for index, case in cases.items() if index not in cells}
    try:
        setup = with_tools(good, without_stubs(job.setup))
        names = names_of(good, setup)
    except UnreadableTestError as error:
        return dict.fromkeys(cases, Cell("ungradable", str(error)))
    waiting = shuffled(list(good), job.code)
    try:
        while waiting:
            some = {index: good[index] for index in waiting[: 1 if job.fresh else None]}
            run_some(ground, job, setup, some, names, cells)
            waiting = [index for index in waiting if index not in cells]
    except LoadError as error:
        return {index: cells.get(index, error.cell) for index in cases}
    except ForgeryError as error:
        return {index: Cell("error", f"it wrote on the grader's channel: {error}") for index in cases}
    return cells


def run_some(
    ground: Ground,
    job: Job,
    setup: str,
    cases: Mapping[int, TestCase],
    names: Mapping[int, list[str]],
    cells: dict[int, Cell],
) -> None:
    """Run cases in order with one pair of processes, and enter cells up to the one that ended either.

    One that ended a process which others had used before is left for the next process, to be its first.
    """
    tokens = {index: secrets.token_hex(8) for index in cases}
    request = [
        (tokens[index], case.source, getattr(case, "entry_point", None), names[index]) for index, case in cases.items()
    ]
    with Conversation(ground, "serve") as program, Conversation(ground, "tests", counts_stdout=False) as tests:
        program.send(encode({"code": job.code}, REQUEST_CHARACTERS))
        tests.send(encode({"setup": setup, "cases": request}, REQUEST_CHARACTERS))
        program.await_ready()
        load_cell = receive_loading(program, ground.deadline(job.timeout))
        if load_cell.verdict is not True:
            raise LoadError(load_cell)
        tests.await_ready()
        for index, case in cases.items():
            deadline = ground.deadline(case.timeout or job.timeout)
            try:
                cells[index] = run_case(program, tests, tokens[index], deadline)
            except LateError:
                cells[index] = LATE
                return
            except EndedError as error:
                if index == next(iter(cases)):
                    cells[index] = Cell(error.status, str(error))
                return


def run_case(program: Conversation, tests: Conversation, token: str, deadline: float) -> Cell:
    """Carry questions to the program and answers back until the verdict comes."""
    while True:
        line = tests.receive(deadline)
        if line.startswith("V"):
            said, status, reason = parse(line[1:])
            if said != token:
                raise InfrastructureError("the tests' process gave a verdict on another case")
            return Cell(status, reason)
        tests.send(exchange(program, line[1:], deadline))


def exchange(program: Conversation, question: str, deadline: float) -> str:
    """Ask the program one question; only a line that comes after it, with its token, is an answer.

    Raises:
        ForgeryError: something came unasked, or with another token.
    """
    if program.unread_lines():
        raise ForgeryError("an answer before the question")
    token = secrets.token_hex(8)
    program.send(f"{token} {question}")
    answer = program.receive(deadline)
    if not answer.startswith(f"{token} ") or not answer.isascii():
        raise ForgeryError(f"an answer that nobody asked for: {answer[:80]!r}")
    return answer[len(token) + 1 :]
