"""Refusals: every one has a status, a type, a message, and the field that it is about."""

from __future__ import annotations

import math
from typing import Any


class RequestError(Exception):
    """A request that gets no scores.

    Its body is ``{"error": {"message", "type", "param", "code"}}``, the shape that clients of OpenAI-like servers read.
    """

    def __init__(
        self, status: int, kind: str, message: str, field: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.field = field
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """``Retry-After`` in whole seconds, where trying again makes sense."""
        return {} if self.retry_after is None else {"Retry-After": str(max(1, math.ceil(self.retry_after)))}

    def as_json(self) -> dict[str, Any]:
        """Return the body; the message starts with the field's name."""
        message = f"{self.field}: {self.message}" if self.field else self.message
        return {"error": {"message": message, "type": self.kind, "param": self.field, "code": self.status}}


def bad_field(field: str, message: str) -> RequestError:
    """The client must change this field."""
    return RequestError(400, "bad_request", message, field)


def unknown_model(asked: str, served: str) -> RequestError:
    """The client means another model."""
    return RequestError(404, "not_found", f"'{asked}' is not served here; this server has '{served}'", "model")


def too_many_texts(count: int, limit: int) -> RequestError:
    """The request would not even fit into an empty queue."""
    return RequestError(413, "too_large", f"{count} texts in one request; this server takes {limit}: send several")


def queue_full(limit: int, retry_after: float) -> RequestError:
    """Others were first."""
    return RequestError(429, "overloaded", f"the queue of {limit} texts is full; try again later", None, retry_after)


def unscored(field: str, reason: str) -> RequestError:
    """The model gave no score, and the response has no place to say so for one text alone."""
    return RequestError(500, "unscored", f"no score for this text: {reason}", field)


def stopping() -> RequestError:
    """The server finishes what it has."""
    return RequestError(503, "stopping", "the server is stopping; send the request to another one", None, 1.0)


def timed_out(seconds: float) -> RequestError:
    """The texts were dropped from the queue."""
    return RequestError(504, "timeout", f"not scored within {seconds:g} s; send fewer texts at once", None, 1.0)
