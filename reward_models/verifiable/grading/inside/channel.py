"""A program's ends of its channels: requests on descriptor 0, answers on descriptor 3."""

from __future__ import annotations

from posix import close, dup, dup2, pipe, read, write

ANSWERS = 3
requests = 0


def receive() -> str:
    """Return the next request: its length in digits, a line end, and so many bytes. What follows stays unread."""
    head = b""
    while not head.endswith(b"\n"):
        head += _some(1)
    left, parts = int(head), []
    while left:
        parts.append(_some(left))
        left -= len(parts[-1])
    return b"".join(parts).decode("ascii")


def _some(most: int) -> bytes:
    data = read(requests, most)
    if not data:
        raise SystemExit(0)
    return data


def free_stdin() -> None:
    """Move the requests elsewhere and leave a descriptor 0 at its end, for a program that reads its standard input."""
    global requests
    requests = dup(0)
    reading, writing = pipe()
    dup2(reading, 0)
    close(reading)
    close(writing)


def send(line: str) -> None:
    """Write one line of ASCII on the answer channel."""
    data = line.encode("ascii") + b"\n"
    while data:
        data = data[write(ANSWERS, data) :]
