"""The remote executor, against a server that speaks its protocol: verdicts, deadlines, retries, failures."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from reward_models.errors import ModelError
from reward_models.verifiable import UnitTests
from reward_models.verifiable.grading import CallCase, Job, StdinCase, grade
from reward_models.verifiable.grading.cases import AssertCase
from reward_models.verifiable.sandbox import Limits, RemoteSandbox, SandboxUnavailable, advance

ECHO = "import os, sys\nos.write(3, sys.stdin.buffer.read().upper())\nprint('out')"


class Executor(ThreadingHTTPServer):
    """Runs Python here, which the tests' own programs may. ``script``: what it answers first instead, one a request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[tuple[int, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.tokens: list[str | None] = []

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer as SandboxFusion does."""
        command = [sys.executable, "-I", "-S", "-c", request["code"]]
        started = time.monotonic()
        try:
            done = subprocess.run(
                command, input=request["stdin"].encode(), capture_output=True, timeout=request["run_timeout"]
            )
        except subprocess.TimeoutExpired as late:
            out, error = ((text or b"").decode() for text in (late.stdout, late.stderr))
            result = {"status": "TimeLimitExceeded", "return_code": None, "stdout": out, "stderr": error}
            return {"status": "Failed", "message": "", "run_result": {**result, "execution_time": late.timeout}}
        result = {
            "status": "Finished",
            "execution_time": time.monotonic() - started,
            "return_code": done.returncode,
            "stdout": done.stdout.decode(),
            "stderr": "a warning of the executor\n" + done.stderr.decode(),
        }
        return {"status": "Failed" if done.returncode else "Success", "message": "", "run_result": result}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Executor

    def do_POST(self) -> None:
        """Answer from the script, or by running the code."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append({"path": self.path, **request})
        self.server.tokens.append(self.headers["Authorization"])
        status, answer = self.server.script.pop(0) if self.server.script else (200, self.server.run(request))
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def executor() -> Iterator[Executor]:
    """A server that runs for one test."""
    with Executor() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(sandbox: RemoteSandbox, program: str, given: bytes = b"", limits: Limits | None = None) -> tuple[Any, bytes]:
    """Usage and answers of a program."""
    process = sandbox.start(program, limits)
    process.write(given)
    process.close_input()
    return process.wait(), process.take_answers()


def test_a_program_and_its_channels(executor: Executor) -> None:
    """Answers, output and status come back apart; the request holds the documented fields and the token."""
    sandbox = RemoteSandbox(executor.url, key="secret")
    usage, answers = ask(sandbox, ECHO, b"question", Limits(wall_seconds=7, memory_mb=99))
    assert (answers, usage.stdout, usage.returncode, usage.infrastructure_error) == (b"QUESTION", b"out\n", 0, None)
    (request,) = executor.requests
    assert {name: request[name] for name in request if name != "code"} == {
        "path": "/run_code",
        "stdin": "question",
        "language": "python",
        "run_timeout": 7,
        "memory_limit_MB": 99,
    }
    assert executor.tokens == ["Bearer secret"]
    assert "secret" not in repr(sandbox)


@pytest.mark.parametrize(
    ("program", "returncode", "answers"),
    [
        ("raise SystemExit(3)", 3, b""),
        ("import os; os.write(3, b'a'); os._exit(4)", 4, b"a"),
        ("import os; os.write(3, b'a'); os.kill(os.getpid(), 11)", -11, b"a"),
        ("import sys; sys.stderr.write('x'); 1 / 0", 1, b""),
    ],
)
def test_ends(executor: Executor, program: str, returncode: int, answers: bytes) -> None:
    """What was answered before an early end is not lost, and what goes to stderr is no answer."""
    usage, found = ask(RemoteSandbox(executor.url), program)
    assert (usage.returncode, found, usage.infrastructure_error) == (returncode, answers, None)


def test_time_limit(executor: Executor) -> None:
    """The executor ends a program after run_timeout, the lesser of two limits, and says so."""
    program = "import os, time\nos.write(3, b'a')\ntime.sleep(30)"
    usage, answers = ask(RemoteSandbox(executor.url, longest_run=0.5), program, limits=Limits(wall_seconds=9))
    assert (usage.timed_out, usage.infrastructure_error, answers) == (True, None, b"a")


def test_overload_is_retried(executor: Executor) -> None:
    """Two refusals for load, then an answer: pauses of at least 0.125 and 0.25 s lie between them."""
    executor.script = [(503, {"error": {"message": "full"}}), (429, {})]
    started = time.monotonic()
    usage, answers = ask(RemoteSandbox(executor.url), ECHO, b"a")
    assert (answers, len(executor.requests), usage.infrastructure_error) == (b"A", 3, None)
    assert time.monotonic() - started >= 0.375


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ([(503, {})] * 9, r"status 503.*attempts"),
        ([(400, {"error": {"message": "no such language"}})], "no such language"),
        ([(200, {"status": "SandboxError", "message": "no pod"})], "SandboxError: no pod"),
        ([(200, {"status": "Success", "run_result": {"status": "Error"}})], "run: Error"),
        ([(200, {"status": "Success", "run_result": {"status": "Finished", "return_code": 0}})], "neither answers"),
        ([(200, {"unexpected": 1})], "executor: None"),
    ],
)
def test_failures_are_no_verdict(executor: Executor, script: list[tuple[int, Any]], reason: str) -> None:
    """Whatever the executor itself does wrong is an infrastructure error with its reason, counted, and ends in time."""
    executor.script = script
    sandbox = RemoteSandbox(executor.url, longest_run=0.5, patience=0.5)
    started = time.monotonic()
    usage, _ = ask(sandbox, ECHO)
    assert usage.returncode is None
    assert sandbox.failures == 1
    with pytest.raises(RuntimeError, match=reason):
        raise RuntimeError(usage.infrastructure_error)
    assert time.monotonic() - started < 5


def test_nobody_there() -> None:
    """An address without a server: no verdict, and ``check`` refuses it by name before anything is trained."""
    sandbox = RemoteSandbox("http://127.0.0.1:9", longest_run=0.2, patience=0.3)
    assert "refused" in ask(sandbox, ECHO)[0].infrastructure_error
    with pytest.raises(SandboxUnavailable, match=r"remote: no working executor at http://127\.0\.0\.1:9"):
        sandbox.check()


def test_check_passes(executor: Executor) -> None:
    """A working executor."""
    RemoteSandbox(executor.url).check()
    assert len(executor.requests) == 1


def test_conversation_is_refused_at_once(executor: Executor) -> None:
    """A program whose input stays open cannot be sent: no verdict, without waiting."""
    process = RemoteSandbox(executor.url).start(ECHO)
    process.write(b"first")
    started = time.monotonic()
    advance([process], 5)
    assert process.usage
    assert "cases with data" in str(process.usage.infrastructure_error)
    assert time.monotonic() - started < 1
    assert executor.requests == []


def test_kill_does_not_wait(executor: Executor) -> None:
    """A program that is killed here ends here at once."""
    process = RemoteSandbox(executor.url).start("import time; time.sleep(2)")
    process.close_input()
    process.kill()
    assert process.wait().killed


def test_grading(executor: Executor) -> None:
    """Cases with data get their verdicts, right and wrong; test code gets none, and is not wrong."""
    code = "def double(x):\n    return 2 * x\nif __name__ == '__main__':\n    print(double(int(input())))"
    cases = [
        CallCase("double", (4,), {}, 8),
        CallCase("double", (4,), {}, 9),
        StdinCase("21", "42"),
        StdinCase("21", "43"),
        AssertCase("assert double(1) == 2"),
    ]
    sandbox = RemoteSandbox(executor.url)
    graded = [grade([Job(code, [case])], sandbox, cache=None, breaker=None)[0] for case in cases]
    assert [one.cells for one in graded] == [(True,), (False,), (True,), (False,), (None,)]
    assert {one.execution.tier for one in graded} == {"remote"}
    assert graded[-1].execution.status == "infra"


def test_unit_tests_at_a_remote_executor(executor: Executor) -> None:
    """The reward takes the address: a right and a wrong program; an executor that refuses is found when it is built."""
    source = UnitTests(remote=executor.url)
    tests = [[{"function": "one", "args": [], "expected": 1}]] * 2
    completions = ["```python\ndef one():\n    return 1\n```", "```python\ndef one():\n    return 2\n```"]
    assert source(["", ""], completions, tests=tests) == [1.0, 0.0]
    executor.script = [(401, {"error": {"message": "who are you?"}})]
    with pytest.raises(ModelError, match=r"no working executor.*who are you"):
        UnitTests(remote=executor.url)
    with pytest.raises(ModelError, match="exclude each other"):
        UnitTests(remote=executor.url, tier="bwrap")
