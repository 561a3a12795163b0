"""The program's side of two-process grading: holds the program, and does to it what the tests ask.

It gets ``{"code": ...}``, then messages ``(what, ...)`` one at a time, each with an answer before the next. The answer
to a message is preceded by the token that came with it. A value that is not plain data stays here and is known to the
tests by a number. Nothing of the tests but arguments ever comes here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from reward_models.verifiable.grading.inside.candidate import load, message, raised
from reward_models.verifiable.grading.inside.channel import free_stdin, receive, send
from reward_models.verifiable.grading.inside.codec import TooLargeError, decode, encode

MUTABLE = (list, dict, set)


class Server:
    """The program's globals, and the objects that the tests know by number."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names
        self.kept: list[Any] = []

    def keep(self, thing: Any) -> int:
        """Return the number of an object: odd if it is equal to itself alone, so that tests may compare it."""
        at = next((at for at, known in enumerate(self.kept) if known is thing), len(self.kept))
        if at == len(self.kept):
            self.kept.append(thing)
        return 2 * at + (type(thing).__eq__ is object.__eq__)

    def fetch(self, number: int) -> Any:
        """Return the object of a number."""
        return self.kept[number // 2]

    def answer(self, text: str) -> str:
        """Do what a message says; return the inside of a JSON list."""
        what, *details = decode(text, self.fetch)
        try:
            return getattr(self, f"on_{what}")(*details)
        except TooLargeError as error:
            return raised(error)
        except BaseException as error:
            names = [kind.__name__ for kind in type(error).__mro__]
            return f'"raised",{encode(names)},{encode(message(error))}'

    def value(self, thing: Any) -> str:
        """Return a value's text."""
        return f'"value",{encode(thing, keep=self.keep)}'

    def on_names(self, names: list[str]) -> str:
        """Say what the program calls these: a module's name, or a value."""
        found = []
        for name in names:
            if name in self.names:
                thing = self.names[name]
                module = type(thing) is type(sys)
                found.append(f'["{name}",{self.module(thing) if module else self.value(thing)}]')
        return f'"names",[{",".join(found)}]'

    def module(self, thing: Any) -> str:
        """Return a module's text."""
        return f'"module",{encode(thing.__name__)}'

    def on_call(self, function: Any, arguments: tuple, keywords: dict) -> str:
        """Call; say the value, and the arguments where the call changed them."""
        changeable = any(isinstance(one, MUTABLE) for one in (*arguments, *keywords.values()))
        before = encode([arguments, keywords], keep=self.keep) if changeable else ""
        result = self.value(function(*arguments, **keywords))
        after = encode([arguments, keywords], keep=self.keep) if changeable else ""
        return result if after == before else f"{result},{after}"

    def on_attribute(self, thing: Any, name: str) -> str:
        """Read an attribute."""
        return self.value(getattr(thing, name))

    def on_item(self, thing: Any, key: Any) -> str:
        """Read an item."""
        return self.value(thing[key])

    def on_builtin(self, name: str, thing: Any) -> str:
        """Apply one of a few builtin functions."""
        return self.value(ALLOWED[name](thing))


ALLOWED: dict[str, Callable[[Any], Any]] = {
    "iter": iter,
    "next": next,
    "len": len,
    "bool": bool,
    "str": str,
    "repr": repr,
    "callable": callable,
}


def main() -> None:
    """Load the program and serve."""
    request = decode(receive())
    free_stdin()
    send('["ready"]')
    try:
        server = Server(load(request["code"], "candidate"))
    except BaseException as error:
        send(f'["load",{raised(error)}]')
        return
    send('["load","done"]')
    while True:
        token, _, text = receive().partition(" ")
        send(f"{token} [{server.answer(text)}]")


if __name__ == "__main__":
    main()
