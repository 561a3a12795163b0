"""Listen, answer, and stop in good order."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from time import monotonic
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from reward_models.errors import ModelError


def bind(host: str, port: int) -> socket.socket:
    """Take the address; nothing is accepted before `serve`. Port 0 takes a free one.

    Raises:
        ModelError: the address is in use, or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
    except (OSError, OverflowError) as error:
        taken.close()
        raise ModelError(f"cannot listen on {host}:{port}: {error}; choose another --host or --port") from error
    return taken


def address_of(taken: socket.socket) -> str:
    """Return the URL of a bound socket."""
    host, port = taken.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """Calls ``announce`` once connections are accepted.

    Told to stop, it goes on listening until all that was taken in is answered, so that what comes meanwhile gets a
    status 503 and no broken connection; after ``patience`` seconds, or told once more, it ends anyway.
    """

    def __init__(self, config: uvicorn.Config, patience: float, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce
        self._patience = patience
        self._until: float | None = None

    @property
    def _service(self) -> Any:
        return self.config.app.state.service  # type: ignore[union-attr]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the sockets."""
        await super().startup(sockets)
        self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take nothing more; at the second signal, end."""
        if self._until is not None:
            super().handle_exit(sig, frame)
            self.force_exit = self._service.hurried = True
            return
        self._until = monotonic() + self._patience
        self._service.stopping = True

    async def on_tick(self, counter: int) -> bool:
        """End once everything is answered, or the time is over."""
        if self._until is not None and (not self._service.under_way or monotonic() > self._until):
            # Those that are still waiting have had their time.
            self.config.timeout_graceful_shutdown = 1
            self.should_exit = True
        return await super().on_tick(counter)


def build_server(app: FastAPI, patience: float, announce: Callable[[], None] = lambda: None) -> Server:
    """Return a server that gives requests under way ``patience`` seconds when it is told to stop."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=int(patience) + 1, timeout_keep_alive=75
    )
    return Server(config, patience, announce)


def serve(
    app: FastAPI, taken: socket.socket, patience: float = 60.0, announce: Callable[[], None] = lambda: None
) -> None:
    """Answer requests until SIGTERM or SIGINT, then finish those under way, refuse new ones, and return."""
    server = build_server(app, patience, announce)

    def stopped(number: int, frame: FrameType | None) -> None:
        """uvicorn raises the signal again once it has stopped; that was what was asked for, not a failure."""

    handled = (signal.SIGTERM, signal.SIGINT) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, stopped) for number in handled}
    try:
        server.run(sockets=[taken])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        taken.close()
