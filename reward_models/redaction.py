"""Secrets are left out of what is written or shown: one place, for messages, logs, settings and records.

A secret is known by its name (``hub_token``, ``api_key``, ``Authorization``), by its place (``user:password@`` in an
address), by its form (``hf_...``), or since a variable of the environment with such a name holds it.
"""

from __future__ import annotations

import logging
import os
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

HIDDEN = "<hidden>"
NAMES = r"(?:[a-z0-9]+[_-])*(?:tokens?|api[_-]?keys?|access[_-]?keys?|secrets?|secret[_-]?keys?|passwords?|passwd|pwd"
NAMES += r"|credentials?|authorization|passphrases?|private[_-]?keys?|(?:access|auth|hub|refresh|session)tokens?)"
NAME = re.compile(rf"{NAMES}|key", re.IGNORECASE)
# Words of a vocabulary and counts of them have such names too, and are no secrets.
OPEN = re.compile(
    r"(?:[a-z0-9]+_)*(?:pad|eos|bos|unk|sep|cls|mask|image|audio|stop|special|max|min|new|num|per|of|in|by|logged|step|think|"
    r"end|start|chosen|rejected|prompt|completion|bad|added|budget)_tokens?|tokens?",
    re.IGNORECASE,
)
KEYS = ("TOKEN", "_KEY", "_PAT", "_PASS")
"""How names of variables end that hold secrets, beside those of settings."""
USER = re.compile(r"([a-z][a-z0-9+.-]{0,20}://)[^\s/?#'\"<>]+@", re.IGNORECASE)
QUERY = re.compile(rf"([?&]{NAMES}=)[^\s&'\"#]+", re.IGNORECASE)
BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
HEADER = re.compile(r"(\b(?:authorization|x-api-key)\s*:\s*(?:[a-z]+\s+)?)[^\s'\"<>]{8,}", re.IGNORECASE)
PAIR = re.compile(rf"(\b{NAMES}\b['\"]?\s*[=:]\s*)(['\"])(?:\\.|(?!\2).)+\2", re.IGNORECASE)
BARE = re.compile(rf"(\b{NAMES}=)()(?!None\b|True\b|False\b)[^\s'\"<>,;&)}}\]]+", re.IGNORECASE)
FORMS = re.compile(r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|AKIA[0-9A-Z]{16})\b")
SHORTEST = 8


def is_secret(name: Any) -> bool:
    """Whether a setting of this name holds a secret."""
    return isinstance(name, str) and NAME.fullmatch(name) is not None and OPEN.fullmatch(name) is None


def redact(text: str) -> str:
    """The text without its secrets; a text that holds none comes back as it is."""
    for secret in _of_environment():
        text = text.replace(secret, HIDDEN)
    text = USER.sub(rf"\1{HIDDEN}@", text)
    text = QUERY.sub(rf"\1{HIDDEN}", text)
    text = BEARER.sub(rf"\1 {HIDDEN}", text)
    text = HEADER.sub(rf"\1{HIDDEN}", text)
    text = BARE.sub(_pair, PAIR.sub(_pair, text))
    return FORMS.sub(HIDDEN, text)


def redacted(settings: Any) -> Any:
    """Settings without their secrets: mappings, lists and texts within each other; other values as they are."""
    if isinstance(settings, Mapping):
        return {
            name: _hidden(value) if is_secret(name) or name == "token" else redacted(value)
            for name, value in settings.items()
        }
    if isinstance(settings, (list, tuple)):
        return [redacted(value) for value in settings]
    return redact(settings) if isinstance(settings, str) else settings


@contextmanager
def redacted_logs() -> Iterator[None]:
    """Leave secrets out of every record that any library logs meanwhile."""
    make = logging.getLogRecordFactory()

    def without_secrets(*given: Any, **named: Any) -> logging.LogRecord:
        record = make(*given, **named)
        if record.exc_info and record.exc_info[0] is not None:
            trace = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            # Where it stands already, a formatter does not write it again.
            record.exc_text = shown if (shown := redact(trace)) != trace else None
        try:
            text = record.getMessage()
        except Exception:
            # The handler says what is wrong, and shows message and arguments.
            record.args = tuple(redacted(record.args)) if isinstance(record.args, tuple) else redacted(record.args)
            return record
        shown = redact(text)
        if shown != text:
            record.msg, record.args = shown, ()
        return record

    logging.setLogRecordFactory(without_secrets)
    try:
        yield
    finally:
        logging.setLogRecordFactory(make)


def _pair(found: re.Match[str]) -> str:
    name = re.match(NAMES, found[1], re.IGNORECASE)
    return f"{found[1]}{found[2]}{HIDDEN}{found[2]}" if name and is_secret(name[0]) else found[0]


def _hidden(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_hidden(one) for one in value]
    return HIDDEN if isinstance(value, str) and value else redacted(value)


def _of_environment() -> list[str]:
    named = [(name, value) for name, value in os.environ.items() if len(value) >= SHORTEST]
    found = {value for name, value in named if is_secret(name) or name.upper().endswith(KEYS)}
    return sorted(found, key=len, reverse=True)
