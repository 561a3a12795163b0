"""Where requests come in: how much is read, for how long, and what happens when a client goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reward_models.serving.errors import RequestError, bodies_full, stopping, too_large, too_slow, without_length
from reward_models.serving.service import ScoringService


class ClientGoneError(Exception):
    """There is nobody to answer."""


class Door:
    """Reads the body of each POST whole, or refuses it; drops what a client that has gone away had asked for.

    What all requests under way have sent is bounded, so memory is.
    """

    def __init__(self, app: ASGIApp, service: ScoringService) -> None:
        self.app, self.service = app, service
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        self.service.under_way += 1
        try:
            with self._place(scope) as refused:
                body = await self._body(receive, refused)
                await self._answer(body, scope, receive, send)
        except ClientGoneError:
            return
        except RequestError as error:
            # The rest of the body may still be on its way: what follows on this connection is not a request.
            headers = {**error.headers, "Connection": "close"}
            await JSONResponse(error.as_json(), error.status, headers)(scope, receive, send)
        finally:
            self.service.under_way -= 1

    @contextmanager
    def _place(self, scope: Scope) -> Iterator[RequestError | None]:
        """Hold room for a body, or say why it is refused."""
        refused, length = self._look(scope)
        taken = 0 if refused else length
        self._bytes += taken
        try:
            yield refused
        finally:
            self._bytes -= taken

    def _look(self, scope: Scope) -> tuple[RequestError | None, int]:
        settings = self.service.settings
        if self.service.stopping:
            return stopping(), 0
        if (length := _length(scope)) is None:
            return without_length(), 0
        if length > settings.max_body_mb << 20:
            return too_large(settings.max_body_mb), 0
        if self._bytes + length > settings.max_bodies_mb << 20:
            return bodies_full(settings.max_bodies_mb), 0
        return None, length

    async def _body(self, receive: Receive, refused: RequestError | None) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self.service.settings.body_timeout):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGoneError
                    # One that is refused is read to its end and dropped: a client that is still sending would see a
                    # broken connection in place of the answer.
                    body += b"" if refused else message.get("body", b"")
                    more = message.get("more_body", False)
        except TimeoutError:
            raise (refused or too_slow(self.service.settings.body_timeout)) from None
        if refused:
            raise refused
        return bytes(body)

    async def _answer(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        answering: asyncio.Task[Any] = asyncio.ensure_future(self.app(scope, replay, send))
        gone: asyncio.Task[Any] = asyncio.ensure_future(receive())
        try:
            await asyncio.wait((answering, gone), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise ClientGoneError
            await answering
        finally:
            for task in (answering, gone):
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task


def _length(scope: Scope) -> int | None:
    length = Headers(scope=scope).get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else None
