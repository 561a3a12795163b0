"""Black-box grading of what a program prints for an input."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from reward_models.verifiable.grading.blackbox_calls import ForgeryError, answer_of, failure
from reward_models.verifiable.grading.cases import Job, StdinCase
from reward_models.verifiable.grading.cells import LATE, OK, Cell
from reward_models.verifiable.grading.conversation import Conversation, EndedError, Ground, LateError
from reward_models.verifiable.grading.inside.codec import encode
from reward_models.verifiable.grading.order import shuffled
from reward_models.verifiable.grading.output_comparison import same_output

REQUEST_CHARACTERS = 64_000_000
CONFIRMED = 3
STRAY = Cell("wrong", "it wrote on the real standard output, or did not end by itself")


def grade_output(ground: Ground, job: Job, cases: Mapping[int, StdinCase]) -> dict[int, Cell]:
    """Return a cell for each case, as if each had had a process of its own.

    To be fast, one process runs the program again and again (``inside/runs.py``). A pass there is a pass: the program
    saw inputs only. A failure may come from what an earlier run left behind, so the first ``CONFIRMED`` failures are
    repeated in fresh processes; if any of them passes there, all the others are repeated, too. A process that
    wrote on its real standard output, past the stream that is compared, or does not end well, has failed all.
    """
    order = shuffled(list(cases), job.code)
    if job.fresh or len(order) == 1:
        return {index: run_once(ground, job, cases[index]) for index in order}
    cells: dict[int, Cell] = {}
    waiting = order
    while waiting and not ground.over:
        try:
            run_some(ground, job, {index: cases[index] for index in waiting}, cells)
        except ForgeryError as error:
            return dict.fromkeys(cases, Cell("error", f"it wrote on the grader's channel: {error}"))
        waiting = [index for index in waiting if index not in cells]
    cells |= dict.fromkeys(waiting, LATE)
    # What was late is not given its time twice.
    doubtful = [index for index in order if cells[index].verdict is False and cells[index] is not LATE]
    again = {index: run_once(ground, job, cases[index]) for index in doubtful[:CONFIRMED]}
    if any(cell is OK for cell in again.values()):
        again |= {index: run_once(ground, job, cases[index]) for index in doubtful[CONFIRMED:]}
    return cells | again


def run_some(ground: Ground, job: Job, cases: Mapping[int, StdinCase], cells: dict[int, Cell]) -> None:
    """Run the program for each case in one process; enter cells up to the one that ended it."""
    tokens = {index: secrets.token_hex(8) for index in cases}
    runs = [(tokens[index], case.input) for index, case in cases.items()]
    found: dict[int, Cell] = {}
    with Conversation(ground, "runs") as program:
        program.send(encode({"code": job.code, "runs": runs}, REQUEST_CHARACTERS))
        program.process.close_input()
        program.await_ready()
        try:
            for index, case in cases.items():
                answer = answer_of(program.receive(ground.deadline(case.timeout or job.timeout)), tokens[index])
                if len(answer) == 3 and answer[0] == "printed" and isinstance(answer[1], str):
                    status = f"exit status {answer[2]}"
                    found[index] = judge(case, answer[1]) if answer[2] == 0 else Cell("error", status)
                else:
                    found[index] = failure(answer)
            answer_of(program.receive(ground.deadline(job.timeout)), "end")
            ending = OK
        except LateError:
            ending = LATE
        except EndedError as error:
            ending = Cell(error.status, str(error))
    if len(found) < len(cases):
        found[list(cases)[len(found)]] = ending
    elif ending is not OK or program.process.wait().stdout:
        found = {index: STRAY if cell is OK else cell for index, cell in found.items()}
    cells |= found


def run_once(ground: Ground, job: Job, case: StdinCase) -> Cell:
    """Run the program in a process of its own, on real descriptors, unless the job's time is over."""
    if ground.over:
        return LATE
    deadline = ground.deadline(case.timeout or job.timeout)
    with Conversation(ground, "run") as program:
        program.send(encode({"code": job.code}, REQUEST_CHARACTERS))
        program.process.write(case.input.encode("utf-8", "surrogatepass"))
        program.process.close_input()
        program.await_ready()
        try:
            printed = program.end(deadline)
        except LateError:
            return LATE
        except EndedError as error:
            return Cell(error.status, str(error))
    return judge(case, printed.decode("utf-8", "replace"))


def judge(case: StdinCase, printed: str) -> Cell:
    """Return the verdict on what was printed."""
    return OK if same_output(case.output, printed, case.tolerance) else Cell("wrong", "other output was expected")
