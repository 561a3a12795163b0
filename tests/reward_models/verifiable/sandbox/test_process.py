"""The parent's side: channels, ends, deadlines, a sandbox that fails, many programs at once, and nothing left over."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import reward_models.verifiable
from reward_models.verifiable.sandbox import CONFINED, Limits, Process, Sandbox, SandboxUnavailable, advance
from reward_models.verifiable.sandbox.tiers import find_tier
from tests.reward_models.verifiable.sandbox.attacks import descendants

ECHO = "import os, sys\nfor line in sys.stdin.buffer: os.write(3, line.upper())"
SLEEP = "import time\ntime.sleep(60)"


@pytest.fixture(scope="module", params=[*CONFINED, "none"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Each tier that works here, and the one that contains nothing."""
    try:
        found = Sandbox(find_tier(request.param))
        found.start("pass").wait()
    except (SandboxUnavailable, RuntimeError) as error:
        pytest.skip(str(error))
    yield found
    found.close()


def run(sandbox: Sandbox, program: str, given: bytes = b"", limits: Limits | None = None) -> Process:
    """Run a program to its end."""
    process = sandbox.start(program, limits)
    process.write(given)
    process.close_input()
    process.wait()
    return process


def test_channels(sandbox: Sandbox) -> None:
    """Input comes in, answers and both outputs go out, apart from each other, and the status is the program's."""
    program = (
        "import os, sys\nos.write(3, sys.stdin.buffer.read())\nprint('o')\nprint('e', file=sys.stderr)\nsys.exit(7)"
    )
    process = run(sandbox, program, b"question")
    usage = process.usage
    assert usage
    assert (process.take_answers(), process.take_answers()) == (b"question", b"")
    assert (usage.returncode, usage.signal, usage.stdout, usage.stderr) == (7, None, b"o\n", b"e\n")
    assert usage.infrastructure_error is None


def test_conversation_larger_than_any_pipe(sandbox: Sandbox) -> None:
    """Four megabytes each way, nobody waiting for the other: neither side's pipe holds more than 64 KiB."""
    given = b"x" * 1023 + b"\n"
    process = sandbox.start(ECHO)
    process.write(given * 4096)
    process.close_input()
    answers = b""
    while not process.finished:
        advance([process])
        answers += process.take_answers()
    assert answers == given.upper() * 4096


def test_answers_arrive_while_it_runs(sandbox: Sandbox) -> None:
    """A question and its answer, twice, before the input is closed."""
    process = sandbox.start(ECHO)
    for word in (b"one\n", b"two\n"):
        process.write(word)
        answer = b""
        while not answer:
            advance([process])
            answer = process.take_answers()
        assert answer == word.upper()
    assert not process.finished
    process.close_input()
    assert process.wait().returncode == 0


@pytest.mark.parametrize(
    ("program", "returncode", "error"),
    [
        ("pass", 0, b""),
        ("raise SystemExit", 0, b""),
        ("raise SystemExit(256 + 3)", 3, b""),
        ("raise SystemExit('words')", 1, b"words\n"),
        ("1 / 0", 1, b"ZeroDivisionError: division by zero\n"),
        ("import os; os._exit(5)", 5, b""),
        ("import os; os.kill(os.getpid(), 9)", -9, b""),
        ("raise KeyboardInterrupt", 1, b"KeyboardInterrupt\n"),
    ],
)
def test_ends_as_an_interpreter_does(sandbox: Sandbox, program: str, returncode: int, error: bytes) -> None:
    """Status and last words of ``python -c``, whatever way the program ends; no frame of the launcher is shown."""
    usage = run(sandbox, program).usage
    assert usage
    assert usage.returncode == returncode
    assert usage.stderr.endswith(error)
    assert b"launcher" not in usage.stderr


def test_every_program_starts_afresh(sandbox: Sandbox) -> None:
    """What one leaves in modules, builtins and the main module, the next in the same box does not find."""
    leave = "import builtins, json, sys\nbuiltins.trace = json.trace = sys.trace = trace = 1"
    look = (
        "import builtins, json, os, sys, __main__\n"
        "os.write(3, str([hasattr(m, 'trace') for m in (builtins, json, sys, __main__)]).encode())"
    )
    run(sandbox, leave)
    assert run(sandbox, look).take_answers() == str([False] * 4).encode()


def test_order_of_a_set_is_the_same_every_time(sandbox: Sandbox) -> None:
    """Strings hash alike in every run, so that a verdict does not depend on chance."""
    program = "import os\nos.write(3, str(list(set('abcdefgh'))).encode())"
    first = run(sandbox, program).take_answers()
    sandbox.close()
    assert run(sandbox, program).take_answers() == first


def test_kill(sandbox: Sandbox) -> None:
    """A program that is killed ends at once, by signal 9, and says that we did it."""
    process = sandbox.start(SLEEP)
    advance([process], 0.05)
    started = time.monotonic()
    process.kill()
    usage = process.wait()
    assert time.monotonic() - started < 5
    assert (usage.killed, usage.signal, usage.timed_out, usage.infrastructure_error) == (True, 9, False, None)


def test_many_at_once(sandbox: Sandbox) -> None:
    """Sixteen programs that sleep 0.3 s each, and one that floods, end together; every answer is the program's own."""
    flood = sandbox.start("import os\nwhile True: os.write(1, b'x' * 4096)", Limits(output_bytes=1000))
    sleepers = [sandbox.start(f"import os, time\ntime.sleep(0.3)\nos.write(3, b'{i}')") for i in range(16)]
    started = time.monotonic()
    while not all(process.finished for process in [flood, *sleepers]):
        advance([flood, *sleepers])
    assert time.monotonic() - started < 16 * 0.3
    assert [process.take_answers() for process in sleepers] == [str(i).encode() for i in range(16)]
    assert flood.usage
    assert (flood.usage.output_exceeded, flood.usage.stdout) == (True, b"x" * 1000)


def test_in_threads(sandbox: Sandbox) -> None:
    """Four threads run twenty programs each; every answer is the thread's own."""
    wrong: list[object] = []

    def work(thread: int) -> None:
        for i in range(20):
            answer = run(sandbox, ECHO, f"{thread} {i}\n".encode()).take_answers()
            if answer != f"{thread} {i}\n".encode():
                wrong.append((thread, i, answer))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_launcher_killed_is_no_verdict(sandbox: Sandbox) -> None:
    """The end of the sandbox itself is an infrastructure error with no return code, and the next program runs."""
    process = sandbox.start(SLEEP)
    advance([process], 0.05)
    box = process._release.__closure__[0].cell_contents  # type: ignore[attr-defined]
    # In tier 1, bubblewrap and the first process of its namespace stand before the launcher.
    launcher = [box.pid, *descendants(box.pid)][2 if sandbox.tier == "bwrap" else 0]
    os.kill(launcher, signal.SIGKILL)
    usage = process.wait()
    assert usage.infrastructure_error
    assert usage.returncode is None
    assert run(sandbox, ECHO, b"a\n").take_answers() == b"A\n"


def test_confinement_that_fails_is_no_verdict(sandbox: Sandbox) -> None:
    """A limit that cannot be set (more than 2**64 bytes of memory) stops the program before its first line."""
    process = run(sandbox, "import os\nos.write(3, b'ran')", limits=Limits(memory_mb=1 << 50))
    assert process.usage
    assert process.usage.infrastructure_error
    assert process.take_answers() == b""


def test_a_fork_of_the_parent_has_boxes_of_its_own(sandbox: Sandbox) -> None:
    """A forked worker runs programs, and its end leaves the parent's sandbox working."""
    assert run(sandbox, ECHO, b"a\n").take_answers() == b"A\n"
    pid = os.fork()
    if pid == 0:
        right = run(sandbox, ECHO, b"b\n").take_answers() == b"B\n"
        sandbox.close()
        os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert run(sandbox, ECHO, b"c\n").take_answers() == b"C\n"


def children() -> set[int]:
    """Processes whose parent is this one, dead ones that nobody has waited for included."""
    found = set()
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(entry))
        except OSError:
            continue
    return found


def test_two_hundred_runs_leave_nothing(sandbox: Sandbox) -> None:
    """Descriptors, children, temporary files and memory are as before; ends of all kinds, some processes dropped."""

    def runs(count: int) -> None:
        for i in range(count):
            match i % 5:
                case 0:
                    run(sandbox, ECHO, b"a\n")
                case 1:
                    run(sandbox, "1 / 0")
                case 2:
                    process = sandbox.start(SLEEP)
                    process.kill()
                    process.wait()
                case 3:
                    run(sandbox, "import os\nwhile True: os.write(2, b'x' * 65536)")
                case 4 if i % 50 == 4:
                    del process
                    sandbox.start(SLEEP)
                case 4:
                    run(sandbox, "import os\nos.kill(os.getpid(), 11)")

    def state() -> tuple[int, set[int], list[str]]:
        sandbox.close()
        return len(os.listdir("/proc/self/fd")), children(), sorted(os.listdir(tempfile.gettempdir()))

    runs(20)
    before, memory = state(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    runs(200)
    after = state()
    assert after[:2] == before[:2]
    assert not [name for name in set(after[2]) - set(before[2]) if "sandbox" in name.lower()]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 20_000


def test_nothing_survives_the_parent(sandbox: Sandbox) -> None:
    """A parent that is killed takes its boxes and their programs with it."""
    program = (
        "import os, sys, types, warnings\nwarnings.simplefilter('ignore')\n"
        # The package around the sandbox imports torch, which takes seconds; an empty one stands in for it.
        "package = sys.modules['reward_models.verifiable'] = types.ModuleType('reward_models.verifiable')\n"
        f"package.__path__ = [{reward_models.verifiable.__path__[0]!r}]\n"
        "from reward_models.verifiable.sandbox import Sandbox, advance\n"
        f"process = Sandbox.named({sandbox.tier!r}, True).start({SLEEP!r})\n"
        "advance([process], 0.2)\nprint('up', flush=True)\nwhile True: advance([process])"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout
    parent.stdout.readline()
    below = descendants(parent.pid)
    assert len(below) >= 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 10
    while (left := [pid for pid in below if _alive(pid)]) and time.monotonic() < until:
        time.sleep(0.02)
    assert left == []


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_usage_is_measured(sandbox: Sandbox) -> None:
    """0.2 s of sleep are wall time and not processor time; 0.2 s of work are both; 60 MB are seen at the peak."""
    slept = run(sandbox, "import time\ntime.sleep(0.2)").usage
    worked = run(sandbox, "import time\nwhile time.process_time() < 0.2: pass").usage
    large = run(sandbox, "x = bytearray(60 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1").usage
    assert slept
    assert worked
    assert large
    assert slept.wall_ms >= 200
    assert slept.cpu_ms < 150
    assert worked.wall_ms >= 190
    assert worked.cpu_ms >= 190
    assert large.peak_kb >= 60 << 10
