"""Run a program several times, each with a standard input of its own: the fast half of the grader for printed output.

It gets ``{"code": ..., "runs": [(token, input), ...]}`` and writes ``[token, "printed", text, exit status]`` for each.
Every run has new globals and new standard streams; imported modules and what a program did to them stay, and so does
descriptor 0, which is at its end. A run that fails here is therefore repeated in a process of its own (``run.py``).
"""

from __future__ import annotations

import sys
from atexit import _run_exitfuncs
from io import BytesIO, TextIOWrapper
from posix import _exit

from reward_models.verifiable.grading.inside.candidate import load, raised
from reward_models.verifiable.grading.inside.channel import receive, send
from reward_models.verifiable.grading.inside.codec import decode, encode


def run(code: str, text: str) -> tuple[str, int]:
    """Run a program once; return what it printed and its exit status. What it raises goes to the caller."""
    before = sys.stdin, sys.stdout, sys.getrecursionlimit()
    printed = BytesIO()
    sys.stdin = TextIOWrapper(BytesIO(text.encode("utf-8", "surrogatepass")), encoding="utf-8")
    sys.stdout = TextIOWrapper(printed, encoding="utf-8", write_through=True)
    status = 0
    try:
        load(code, "__main__")
        join_threads()
    except SystemExit as error:
        join_threads()
        # A bool is an exit status, too.
        status = 0 if error.code is None else int.__int__(error.code) & 0xFF if isinstance(error.code, int) else 1
    finally:
        stream = sys.stdout
        sys.stdin, sys.stdout = before[:2]
        sys.setrecursionlimit(before[2])
        stream.flush()
    return printed.getvalue().decode("utf-8", "replace"), status


def join_threads() -> None:
    """Wait for threads that the program left, as the interpreter does at its end."""
    threading = sys.modules.get("threading")
    if threading is not None:
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()


def main() -> None:
    """Read the request and answer each run."""
    request = decode(receive())
    send('["ready"]')
    for token, text in request["runs"]:
        try:
            printed, status = run(request["code"], text)
            line = f'"printed",{encode(printed)},{status}'
        except BaseException as error:
            line = raised(error)
        send(f'["{token}",{line}]')
    try:
        # What the program wrote past the streams above, and what it left for its end, shows on descriptor 1.
        _run_exitfuncs()
        sys.stdout.flush()
    finally:
        send('["end"]')
        _exit(0)


if __name__ == "__main__":
    main()
