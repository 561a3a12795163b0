"""Refusals: every one has a status, a type, a message, and the field that it is about."""

from __future__ import annotations

import math
from typing import Any

LONGEST = 1000


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
        field = None if self.field is None else _sendable(self.field)
        return {"error": {"message": _sendable(message), "type": self.kind, "param": field, "code": self.status}}


def _sendable(text: str) -> str:
    """What a client sent may come back in a message: no longer than is useful, and as valid Unicode."""
    short = text if len(text) <= LONGEST else text[:LONGEST] + "..."
    return short.encode("utf-8", "backslashreplace").decode()


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


def no_scores_here(reason: str) -> RequestError:
    """Nothing will be scored any more by this process."""
    return RequestError(503, "ill", f"no scores from this process: {reason}", None, 1.0)


def timed_out(seconds: float) -> RequestError:
    """The texts were dropped from the queue."""
    return RequestError(503, "timeout", f"not scored within {seconds:g} s; send fewer texts at once", None, 1.0)


def bodies_full(limit: int) -> RequestError:
    """Others send a lot at once."""
    return RequestError(429, "overloaded", f"requests of {limit} MiB are being read; try again later", None, 1.0)


def without_length() -> RequestError:
    """How much there is to read must be known before it is read."""
    return RequestError(411, "bad_request", "send the body with its Content-Length")


def too_large(limit: int) -> RequestError:
    """The body would never be taken."""
    return RequestError(413, "too_large", f"the body is over {limit} MiB: send several")


def too_slow(seconds: float) -> RequestError:
    """The rest of the body did not come."""
    return RequestError(408, "timeout", f"the body did not come within {seconds:g} s", None, 1.0)


def our_fault() -> RequestError:
    """What is not foreseen; the log has more."""
    return RequestError(500, "internal", "the server failed at this request; its log says where")
