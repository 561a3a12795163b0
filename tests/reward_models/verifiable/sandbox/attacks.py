"""Hostile programs, each with what stops it, and honest ones that must still work. Needs no pytest."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reward_models.verifiable.sandbox import Limits, Sandbox, Usage
from reward_models.verifiable.sandbox.box import Box
from reward_models.verifiable.sandbox.protections import TIERS
from reward_models.verifiable.sandbox.syscalls import DENIED, numbers
from reward_models.verifiable.sandbox.tiers import find_tier

SMALL = Limits(wall_seconds=20, memory_mb=512)
TOKEN = "PREFOPT_TEST_TOKEN"

# What every program begins with. ``tried(f)`` is the name of the error that f() raises, or "done".
PRELUDE = """
import ctypes, errno, json, os, sys
bait = json.load(sys.stdin)
def tell(answer):
    os.write(3, json.dumps(answer).encode())
def tried(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))
    return "done"
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def syscall(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments])
    return errno.errorcode.get(ctypes.get_errno(), "done") if result == -1 else "done"
"""


@dataclass(frozen=True)
class Outcome:
    """How a program ended, what it answered, and the bait."""

    usage: Usage
    answer: Any
    bait: dict[str, Any]


@dataclass(frozen=True)
class Attack:
    """A hostile program.

    Attributes:
        stopped_by: protections, by tier; one of them removed, the attack succeeds.
        blocked: whether it was stopped.
        beneath: protections removed to see this one, which lies beneath them.
        limits: of the run.
    """

    program: str
    blocked: Callable[[Outcome], bool]
    stopped_by: dict[str, str] = field(default_factory=dict)
    beneath: frozenset[str] = frozenset()
    limits: Limits = SMALL

    def on(self, tier: str) -> bool:
        """Whether this tier claims to stop it."""
        return not self.stopped_by or tier in self.stopped_by

    def succeeds(self, tier: str, without: frozenset[str] = frozenset()) -> Outcome | None:
        """Run it; the outcome where it was not stopped."""
        sandbox = Sandbox(find_tier(tier), without | self.beneath)
        try:
            with baited() as bait:
                outcome = run(sandbox, PRELUDE + self.program, bait, self.limits)
            assert outcome.usage.infrastructure_error is None, outcome
            return None if self.blocked(outcome) else outcome
        finally:
            sandbox.close()


def run(sandbox: Sandbox, program: str, bait: dict[str, Any], limits: Limits = SMALL) -> Outcome:
    """Run a program to its end."""
    process = sandbox.start(program, limits)
    process.write(json.dumps(bait).encode())
    process.close_input()
    usage = process.wait()
    answers = process.take_answers()
    return Outcome(usage, json.loads(answers) if answers else None, bait)


@contextmanager
def baited() -> Iterator[dict[str, Any]]:
    """Things of the host that a program should not reach, as open to it as an owner could leave them."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        secret, target = Path(folder, "secret"), Path(folder, "target")
        secret.write_text("secret")
        os.symlink("a name that nobody should see", link := Path(folder, "link"))
        os.chmod(folder, 0o777)
        os.chmod(secret, 0o666)
        if os.geteuid() == 0:
            # The user that programs run as owns it, so that nothing but the sandbox denies chmod.
            os.chown(secret, 65534, 65534)
        before = os.stat(secret)
        libc = ctypes.CDLL(None)
        memory = libc.shmget(os.getpid(), 4096, 0o1000 | 0o666)
        bait = {
            "secret": str(secret),
            "target": str(target),
            "folder": folder,
            "link": str(link),
            "port": listener.getsockname()[1],
            "parent": os.getpid(),
            "numbers": numbers(os.uname().machine),
            "memory": os.getpid(),
        }
        yield bait
        libc.shmctl(memory, 0, None)
        after = os.stat(secret)
        bait["changed"] = (
            secret.read_text() != "secret"
            or sorted(os.listdir(folder)) != ["link", "secret"]
            or (before.st_mode, before.st_uid, before.st_mtime_ns) != (after.st_mode, after.st_uid, after.st_mtime_ns)
        )


def answers(*expected: Any) -> Callable[[Outcome], bool]:
    """Stopped if it answers one of these and ended by itself."""
    return lambda outcome: outcome.usage.returncode == 0 and outcome.answer in expected


def all_answers(*expected: Any) -> Callable[[Outcome], bool]:
    """Stopped if every value of its answer is one of these."""

    def blocked(outcome: Outcome) -> bool:
        return outcome.usage.returncode == 0 and bool(outcome.answer) and set(outcome.answer.values()) <= {*expected}

    return blocked


def both(protection: str) -> dict[str, str]:
    """Both tiers stop it by the same protection."""
    return {"bwrap": protection, "landlock": protection}


def limit_is(name: str, value: int, protection: str, soft: int | None = None) -> Attack:
    """Read a limit; it is stopped if that is what was asked for."""
    program = f"import resource\ntell(resource.getrlimit(resource.{name}))"
    limits = Limits(
        cpu_seconds=7, memory_mb=300, file_bytes=12345, open_files=33, stack_mb=16, threads=17, wall_seconds=20
    )
    return Attack(program, answers([soft or value, value]), both(protection), limits=limits)


def denied_group(name: str) -> Attack:
    """Make every call of a group by its number, with arguments that are wrong for all of them."""
    # Where they are not denied, these would not return to one process alone, or leave something behind.
    calls = [call for call in DENIED[name].split() if call not in ("fork", "vfork", "msgget")]
    program = (
        f"calls = [n for n in {calls!r} if n in bait['numbers']]\n"
        "tell({n: syscall(bait['numbers'][n], -1, -1, -1, -1, -1) for n in calls})"
    )

    def blocked(outcome: Outcome) -> bool:
        expected = {call: "ENOSYS" if call == "clone3" else "EPERM" for call in outcome.answer or {}}
        return bool(expected) and outcome.answer == expected

    return Attack(program, blocked, both(name))


GONE = ("ENOENT", "EACCES", "EPERM", "EROFS")
SHORT = Limits(wall_seconds=0.4)

ATTACKS: dict[str, Attack] = {
    # --- 13, 24: reading
    "read_host_file": Attack(
        "tell(tried(open, bait['secret']))",
        answers("ENOENT", "EACCES"),
        {"bwrap": "minimal_root", "landlock": "landlock"},
    ),
    "read_well_known_secrets": Attack(
        "numbers = ('self', 1, bait['parent'])\n"
        "processes = [f'/proc/{p}/{f}' for p in numbers for f in ('environ', 'maps', 'cmdline', 'mem')]\n"
        "files = ['/etc/passwd', '/etc/shadow', '/root/.cache/huggingface/token', '/root/.ssh/id_rsa']\n"
        "tell({p: tried(open, p) for p in files + processes} | "
        "{p: tried(os.listdir, p) for p in ('/proc', bait['folder'])})",
        all_answers("ENOENT", "EACCES"),
    ),
    "read_own_program": Attack(
        "import __main__, inspect, linecache\n"
        "tell([getattr(__main__, '__file__', None), linecache.getlines('<program>'), sys.argv, "
        "tried(open, '/proc/self/cmdline')])",
        lambda o: o.answer in ([None, [], ["-c"], "ENOENT"], [None, [], ["-c"], "EACCES"]),
    ),
    "read_environment": Attack(
        "tell(sorted(os.environ))",
        lambda o: TOKEN not in o.answer and "HOME" not in o.answer,
        both("clean_environment"),
    ),
    "read_packages": Attack(
        "import glob\n"
        "found = [p for d in ('/usr/lib/python3*', '/usr/local/lib/python3*', os.path.dirname(os.__file__)) "
        "for n in ('site-packages', 'dist-packages') for p in glob.glob(f'{d}/{n}/**/*', recursive=True)]\n"
        "tell([p for p in found if os.path.isfile(p) and tried(open, p) == 'done'])",
        answers([]),
        {"bwrap": "no_packages", "landlock": "landlock"},
    ),
    "import_from_current_directory": Attack("tell([p for p in sys.path if not p.startswith('/')])", answers([])),
    # --- 14, 23, 25: writing
    "write_to_host": Attack(
        "tell(tried(open, bait['target'], 'w'))",
        lambda o: o.answer in GONE and not o.bait["changed"],
        {"landlock": "landlock"},
    ),
    "write_anywhere": Attack(
        "library = os.path.dirname(os.__file__)\n"
        "places = ['/', '/tmp', '/var/tmp', '/dev/shm', '/dev', '/run', '/usr', '/home', '.', '/usr/local/lib', "
        "library, os.path.join(library, 'site-packages'), bait['folder']]\n"
        "tell({p: tried(open, os.path.join(p, n), 'w') for p in places "
        "for n in ('conftest.py', 'sitecustomize.py', 'json.py', 'x.pth', '__pycache__')})",
        lambda o: all_answers(*GONE, "EISDIR")(o) and not o.bait["changed"],
    ),
    "root_is_read_only": Attack(
        "tell([p for p in ('/', '/usr', os.path.dirname(os.__file__)) if not os.statvfs(p).f_flag & os.ST_RDONLY])",
        answers([]),
        {"bwrap": "read_only_root"},
    ),
    "bait_parents_cleanup": Attack(
        "s, t = bait['secret'], bait['target']\n"
        "tell([tried(os.symlink, '/etc/passwd', t), tried(os.link, s, t), tried(os.mkdir, t), tried(os.rename, s, t), "
        "tried(os.unlink, s), tried(os.truncate, s, 0)])",
        lambda o: set(o.answer) == {"EPERM"} and not o.bait["changed"],
        both("no_metadata"),
    ),
    "change_metadata": Attack(
        "s = bait['secret']\n"
        "tell([tried(os.chmod, s, 0o777), tried(os.utime, s), tried(os.chown, s, -1, os.getgid()), "
        "tried(os.setxattr, s, 'user.x', b'1')])",
        lambda o: set(o.answer) == {"EPERM"} and not o.bait["changed"],
        both("no_metadata"),
    ),
    # --- 20: processes and threads
    "fork": Attack(
        "def fork():\n    if os.fork() == 0: os._exit(0)\ntell(tried(fork))", answers("EPERM"), both("no_fork")
    ),
    "subprocess": Attack("import subprocess\ntell(tried(subprocess.run, ['/bin/true']))", answers("EPERM")),
    "thread_bomb": Attack(
        "import threading, time\n"
        "threading.stack_size(65536)\ncount = 0\n"
        "def sleep(): time.sleep(30)\n"
        "try:\n"
        "    while count < 3000:\n"
        "        threading.Thread(target=sleep, daemon=True).start(); count += 1\n"
        "except RuntimeError: pass\n"
        "tell(count); os._exit(0)",
        lambda o: o.answer is not None and o.answer < 1000,
        both("thread_limit"),
        limits=Limits(wall_seconds=20, threads=40),
    ),
    # --- 21: memory
    "memory_bytes": Attack(
        "bytearray(4 << 30)", lambda o: o.usage.returncode == 1 and b"MemoryError" in o.usage.stderr
    ),
    "memory_map": Attack("import mmap\ntell(tried(mmap.mmap, -1, 4 << 30))", answers("ENOMEM"), both("memory_limit")),
    "memory_objects": Attack(
        "kept = []\nwhile True: kept.append([0] * 1000)",
        lambda o: o.usage.returncode == 1 and o.usage.peak_kb < 100_000,
        limits=Limits(memory_mb=100),
    ),
    "memory_hidden_from_limits": Attack(
        "tell(tried(os.memfd_create, 'x'))",
        answers("EPERM"),
        both("no_hidden_memory"),
    ),
    "recursion_in_c": Attack(
        "sys.setrecursionlimit(10 ** 9)\nx = []\nfor _ in range(10 ** 5): x = [x]\nrepr(x)",
        lambda o: o.usage.returncode != 0 and o.usage.infrastructure_error is None and not o.usage.timed_out,
        limits=Limits(stack_mb=8, wall_seconds=20),
    ),
    # --- 22: time
    "loop_that_ignores_signals": Attack(
        "import signal\nfor s in (signal.SIGTERM, signal.SIGXCPU, signal.SIGALRM): signal.signal(s, signal.SIG_IGN)\n"
        "while True: pass",
        lambda o: o.usage.signal == signal.SIGKILL and o.usage.cpu_exceeded and not o.usage.timed_out,
        limits=Limits(cpu_seconds=1, wall_seconds=60),
    ),
    "sleep": Attack(
        "import time\ntime.sleep(2)",
        lambda o: o.usage.timed_out and o.usage.signal == signal.SIGKILL and 350 < o.usage.wall_ms < 1500,
        both("wall_clock"),
        limits=SHORT,
    ),
    "regular_expression": Attack("import re\nre.match('(a+)+b', 'a' * 60)", lambda o: o.usage.timed_out, limits=SHORT),
    "integer_parsing": Attack(
        "sys.set_int_max_str_digits(0)\nint('9' * 10 ** 7)", lambda o: o.usage.timed_out, limits=SHORT
    ),
    "stops_itself": Attack(
        "import signal\nos.kill(os.getpid(), signal.SIGSTOP)", lambda o: o.usage.timed_out, limits=SHORT
    ),
    # --- 19, 18: floods
    "flood_stdout": Attack(
        "while True: os.write(1, b'x' * 65536)",
        lambda o: o.usage.output_exceeded and len(o.usage.stdout) == 1 << 20 and o.usage.wall_ms < 5000,
    ),
    "flood_stderr": Attack(
        "while True: os.write(2, b'x' * 65536)",
        lambda o: o.usage.output_exceeded and len(o.usage.stderr) == 1 << 20 and o.usage.wall_ms < 5000,
    ),
    "flood_answers": Attack(
        "os.write(3, b'1')\nwhile True: os.write(3, b' ' * 65536)",
        lambda o: o.usage.answers_exceeded and o.usage.wall_ms < 5000,
    ),
    # --- 26: network
    "sockets": Attack(
        "import socket as s\n"
        "kinds = [(s.AF_INET, s.SOCK_STREAM), (s.AF_INET, s.SOCK_DGRAM), (s.AF_INET6, s.SOCK_STREAM), (s.AF_UNIX, "
        "s.SOCK_STREAM), (s.AF_UNIX, s.SOCK_DGRAM), (s.AF_NETLINK, s.SOCK_RAW), (s.AF_PACKET, s.SOCK_RAW), (40, 1)]\n"
        "tell([tried(s.socket, *kind) for kind in kinds] + [tried(s.socketpair, s.AF_UNIX, s.SOCK_DGRAM), "
        "tried(s.create_connection, ('127.0.0.1', bait['port'])), "
        "tried(s.create_connection, ('169.254.169.254', 80), 1)])",
        lambda o: set(o.answer) == {"EPERM"},
        both("no_network"),
    ),
    "resolve_a_name": Attack(
        "import socket\ntry: socket.getaddrinfo('example.com', 80)\nexcept OSError: tell('denied')", answers("denied")
    ),
    "network_beneath_the_filter": Attack(
        "import socket\ntell(tried(socket.create_connection, ('127.0.0.1', bait['port']), 2))",
        answers("ECONNREFUSED", "ENETUNREACH"),
        {"bwrap": "network_namespace"},
        beneath=frozenset({"no_network"}),
    ),
    # --- 27: other processes
    "signal_others": Attack(
        "import signal\n"
        "tell([tried(os.kill, p, 0) for p in (bait['parent'], -1, os.getppid(), 1, 0)] + "
        "[tried(signal.pidfd_send_signal, 0, 0) if hasattr(signal, 'pidfd_send_signal') else 'EPERM'])",
        lambda o: set(o.answer) == {"EPERM"},
        both("no_signals"),
    ),
    "direct_signals_by_descriptor": Attack(
        "import fcntl\nr, w = os.pipe()\n"
        "tell([tried(fcntl.fcntl, r, fcntl.F_SETOWN, os.getppid()), tried(fcntl.ioctl, r, 0x8901, b'1234')])",
        lambda o: o.answer == ["EPERM", "EPERM"],
        both("no_signals"),
    ),
    "read_where_a_link_leads": Attack("tell(tried(os.readlink, bait['link']))", answers("EPERM"), both("no_metadata")),
    "see_processes": Attack(
        "tell(tried(os.getpgid, bait['parent']))", answers("ESRCH"), {"bwrap": "process_namespace"}
    ),
    "steer_others": Attack(
        "tell([syscall(bait['numbers']['prlimit64'], os.getppid(), 7, 0, 0), tried(os.setpriority, 0, 0, 19), "
        "tried(os.sched_setaffinity, 0, {0})])",
        lambda o: set(o.answer) == {"EPERM"},
        both("no_scheduling"),
    ),
    "inherited_descriptors": Attack(
        "tell([n for n in range(1024) if tried(os.fstat, n) == 'done'])",
        answers([0, 1, 2, 3]),
        both("no_descriptors"),
    ),
    "outlive_the_launcher": Attack(
        "signal = ctypes.c_int()\nlibc.prctl(2, ctypes.byref(signal), 0, 0, 0)\ntell(signal.value)",
        answers(9),
        both("dies_with_launcher"),
    ),
    # --- 28: kernel
    **{f"calls_{name}": denied_group(name) for name in DENIED if DENIED[name]},
    "call_of_a_later_kernel": Attack(
        "inotify = {'x86_64': 294, 'aarch64': 26}[os.uname().machine]\n"
        "tell([syscall(n, 0) for n in (462, 600, 1023, inotify)])",
        answers(["ENOSYS"] * 4),
        both("known_calls_only"),
    ),
    "thread_call_with_namespaces": Attack(
        "tell([syscall(bait['numbers']['clone'], f, 0, 0, 0, 0) for f in (0x10000000, 0x20000000 | 0x10000, 17)])",
        lambda o: set(o.answer) == {"EPERM"},
    ),
    "namespace_of_its_own": Attack(
        "tell(syscall(bait['numbers']['unshare'], 0x10000000))",
        answers("ENOSPC", "EPERM"),
        {"bwrap": "no_user_namespaces"},
        beneath=frozenset({"no_namespaces"}),
    ),
    "terminal_input": Attack(
        "import fcntl\ntell([tried(fcntl.ioctl, n, 0x5412, b'x') for n in (0, 1, 2)])",
        answers(["EPERM"] * 3),
        both("no_terminal"),
    ),
    "shared_memory_of_others": Attack(
        "tell(syscall(bait['numbers']['shmget'], bait['memory'], 0, 0))",
        answers("ENOENT"),
        {"bwrap": "ipc_namespace"},
        beneath=frozenset({"no_hidden_memory"}),
    ),
    "name_of_the_machine": Attack("tell(os.uname().nodename)", answers("sandbox"), {"bwrap": "host_name_namespace"}),
    # --- 29
    "session_and_double_fork": Attack(
        "tell([tried(os.setsid), tried(os.fork), tried(os.setpgid, 0, 0)])", answers(["EPERM"] * 3)
    ),
    "session": Attack("tell(os.getsid(0) == os.getpid())", answers(True), both("own_session")),
    "thread_that_outlives_the_deadline": Attack(
        "import threading, time\ndef late(): time.sleep(1.5); tell('late')\nthreading.Thread(target=late).start()",
        lambda o: o.usage.timed_out and o.answer is None,
        both("wall_clock"),
        limits=SHORT,
    ),
    # --- 30
    "segfault": Attack("ctypes.string_at(0)", lambda o: o.usage.signal == signal.SIGSEGV),
    "abort": Attack("os.abort()", lambda o: o.usage.signal == signal.SIGABRT),
    "fault_dump": Attack(
        "import faulthandler\nfaulthandler.enable()\nctypes.string_at(0)",
        lambda o: o.usage.signal == signal.SIGSEGV and b"Fatal Python error" in o.usage.stderr,
    ),
    # --- limits are what was asked for
    "limit_cpu": limit_is("RLIMIT_CPU", 8, "cpu_limit", soft=7),
    "limit_memory": limit_is("RLIMIT_AS", 300 << 20, "memory_limit"),
    "limit_core": Attack(
        "import resource\ntell(resource.getrlimit(resource.RLIMIT_CORE))", answers([0, 0]), both("core_limit")
    ),
    "limit_files": limit_is("RLIMIT_FSIZE", 12345, "file_limit"),
    "limit_descriptors": limit_is("RLIMIT_NOFILE", 33, "descriptor_limit"),
    "limit_stack": limit_is("RLIMIT_STACK", 16 << 20, "stack_limit"),
}
if os.uname().machine == "x86_64":
    killed = lambda o: o.usage.signal == signal.SIGSYS  # noqa: E731
    ATTACKS["numbers_of_x32"] = Attack("tell(syscall(0x40000000 | 39))", killed, both("native_calls_only"))
    ATTACKS["numbers_of_32_bit"] = Attack(
        "import mmap\n"
        "page = mmap.mmap(-1, 4096, prot=7)\n"
        # mov eax, 20 (getpid); int 0x80; ret
        "page.write(bytes.fromhex('b814000000cd80c3'))\n"
        "code = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))\n"
        "tell(code())",
        killed,
        both("native_calls_only"),
    )

LIBRARY = (
    "array, base64, bisect, bz2, calendar, cmath, collections, contextlib, copy, csv, dataclasses, datetime, decimal, "
    "difflib, enum, fractions, functools, hashlib, heapq, inspect, io, itertools, json, logging, lzma, math, "
    "multiprocessing, operator, queue, random, re, socket, sqlite3, ssl, statistics, string, struct, subprocess, "
    "tempfile, textwrap, traceback, typing, unicodedata, unittest, urllib.parse, uuid, zlib, zoneinfo"
)
HONEST: dict[str, str] = {
    "threads": "import threading\nout = []\nts = [threading.Thread(target=out.append, args=(i,)) for i in range(16)]\n"
    "[t.start() for t in ts]; [t.join() for t in ts]\ntell(sorted(out) == list(range(16)))",
    "thread_pool": "from concurrent.futures import ThreadPoolExecutor\n"
    "with ThreadPoolExecutor(8) as pool: tell(sum(pool.map(abs, range(-9, 10))) == 90)",
    "big_integers": "sys.set_int_max_str_digits(0)\ntell(len(str(3 ** 100_000)) == 47713)",
    "recursion": "sys.setrecursionlimit(20_000)\ndef depth(n): return 0 if n == 0 else 1 + depth(n - 1)\n"
    "tell(depth(10_000) == 10_000)",
    "event_loop": "import asyncio\nasync def main():\n    return await asyncio.gather(asyncio.sleep(0.001, 1), "
    "asyncio.to_thread(lambda: 2))\ntell(asyncio.run(main()) == [1, 2])",
    "standard_library": f"import {LIBRARY}\n"
    "tell(sqlite3.connect(':memory:').execute('select 6 * 7').fetchone() == (42,) and "
    "hashlib.sha256(b'').hexdigest()[:4] == 'e3b0')",
    "exit_handlers": "import atexit\natexit.register(tell, True)",
    "sleeping": "import time\ntime.sleep(0.05)\ntell(True)",
    "own_alarm": "import signal\nsignal.signal(signal.SIGALRM, lambda *_: tell(True))\nsignal.setitimer("
    "signal.ITIMER_REAL, 0.02)\nsignal.pause()",
    "memory_within_limits": "tell(len(bytearray(200 << 20)) == 200 << 20)",
    "discards_output": "print('x', file=open('/dev/null', 'w'))\ntell(True)",
    "print_unicode": "print('ü' * 10)\ntell(True)",
}


def outside(box: Box, tier: str) -> dict[str, bool]:
    """What shows from outside only: protections of the launcher, by name, and whether they are there."""
    found = {}
    for pid in [box.pid, *descendants(box.pid)]:
        spaces = {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("cgroup", "ipc", "mnt", "net", "uts")}
        spaces["pid"] = os.readlink(f"/proc/{pid}/ns/pid_for_children")
        found = {kind: space != os.readlink(f"/proc/self/ns/{kind}") for kind, space in spaces.items()}
        found["user"] = os.stat(f"/proc/{pid}").st_uid != 0
        status = Path(f"/proc/{pid}/status").read_text()
        found["capabilities"] = "CapEff:\t0000000000000000" in status
    return found


def descendants(pid: int) -> list[int]:
    """Its children and theirs, parents first."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(entry))
    found: list[int] = []
    for child in parents.get(pid, []):
        found += [child, *descendants(child)]
    return found


def attempt_all(tier: str) -> dict[str, Any]:
    """Try everything; name -> None where an attack was stopped or an honest program worked, else what happened."""
    os.environ[TOKEN] = "hf_secret"
    found: dict[str, Any] = {}
    sandbox = Sandbox(find_tier(tier))
    for name, attack in ATTACKS.items():
        if not attack.on(tier):
            continue
        if attack.beneath:
            outcome = attack.succeeds(tier)
            found[name] = outcome and repr(outcome)
            continue
        with baited() as bait:
            outcome = run(sandbox, PRELUDE + attack.program, bait, attack.limits)
        found[name] = None if attack.blocked(outcome) else repr((outcome.answer, outcome.usage))
    for name, program in HONEST.items():
        outcome = run(sandbox, PRELUDE + program, {})
        sound = outcome.answer is True and outcome.usage.returncode == 0
        found[f"honest_{name}"] = None if sound else repr((outcome.answer, outcome.usage))
    sandbox.close()
    return found


def uncovered(tier: str) -> set[str]:
    """Protections of a tier that no attack names."""
    return set(TIERS[tier]) - {attack.stopped_by.get(tier) for attack in ATTACKS.values()}
