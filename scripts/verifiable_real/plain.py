"""What a plain interpreter says of a program and its tests, each in a process that is thrown away afterwards.

The process is the ordinary one that people grade with: program, tests, the call, exit status 0 is a pass. So that
programs that nobody has read do no harm, bubblewrap stands around it: nothing to write to, no network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

WALL = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp")
CONFINED = ("bwrap", *WALL, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--")
LIMITED = ("bash", "-c", 'ulimit -v 4194304; ulimit -c 0; exec "$@"', "limited")


def run_plainly(programs: list[str], seconds: float) -> list[bool | None]:
    """Return for each whether it ended with status 0; None where it did not end normally (deadline, signal).

    Equal programs are run once.
    """
    if not shutil.which("bwrap"):
        raise SystemExit("install bubblewrap: programs that nobody has read are not run without walls around them")
    different = list(dict.fromkeys(programs))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        verdicts = dict(zip(different, pool.map(lambda one: _run(one, seconds), different), strict=True))
    return [verdicts[program] for program in programs]


def _run(program: str, seconds: float) -> bool | None:
    command = [*LIMITED, *CONFINED, sys.executable, "-I", "-c", program]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd="/", start_new_session=True, **quiet)  # type: ignore[call-overload]
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        process.kill()
        process.wait()
    # bubblewrap gives a signal as 128 + its number.
    return None if status < 0 or status > 128 else bool(status == 0)
