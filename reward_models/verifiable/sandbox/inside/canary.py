"""Try what a program must not be able to do, and answer with what was possible."""

from __future__ import annotations

import json
import os
import socket
import sys


def attempts(bait: dict) -> dict:
    """Name and function of each attempt; it succeeds where the function returns."""
    return {
        "read a file of the host": lambda: open(bait["secret"]).read(),
        "write to the host": lambda: open(bait["target"], "w").close(),
        "change a file's mode": lambda: os.chmod(bait["secret"], 0o666),
        "connect to a local port": lambda: socket.create_connection(("127.0.0.1", bait["port"]), 1),
        "start a process": fork,
        "signal its parent": lambda: os.kill(os.getppid(), 0),
        "signal the process that runs it": lambda: os.kill(bait["parent"], 0),
        "signal all processes": lambda: os.kill(-1, 0),
        "read its parent's environment": lambda: open(f"/proc/{bait['parent']}/environ", "rb").read(),
    }


def fork() -> None:
    """Start a process that ends at once."""
    if os.fork() == 0:
        os._exit(0)


def possible(bait: dict) -> list:
    """Names of the attempts that succeeded."""
    found = []
    for name, attempt in attempts(bait).items():
        try:
            attempt()
        except OSError:
            continue
        found.append(name)
    if "token" in "".join(os.environ.values()):
        found.append("read the environment")
    return found


if __name__ == "__main__":
    os.write(3, json.dumps(possible(json.load(sys.stdin))).encode())
