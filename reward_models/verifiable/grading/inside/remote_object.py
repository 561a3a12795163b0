"""What the tests see of a program: values, and stand-ins for functions and objects that stay in its process."""

from __future__ import annotations

import builtins
from typing import Any

from reward_models.verifiable.grading.inside.channel import receive, send
from reward_models.verifiable.grading.inside.codec import NotPlainError, TooLargeError, decode, encode

RAISED: list[BaseException] = []
STUCK: list[str] = []


class NotTransferableError(BaseException):
    """A test did something to a program's object that only its own process could do, and may not be trusted with."""


class ProgramFault(BaseException):
    """The program answered with more than it may."""


def untransferable(reason: str) -> NotTransferableError:
    """Return the error, remembered in case the test swallows it."""
    STUCK.append(reason)
    return NotTransferableError(reason)


def ask(what: str, *details: Any) -> list[Any]:
    """Send a message to the program's process and return the answer; raise what the program raised."""
    try:
        text = encode((what, *details), keep=number_of)
    except (NotPlainError, TooLargeError) as error:
        raise untransferable(f"an argument: {error}") from None
    send(f"A{text}")
    kind, *rest = decode(receive(), RemoteObject)
    if kind == "raised":
        names, message = rest
        known = [getattr(builtins, name, None) for name in names]
        found = next(one for one in [*known, Exception] if isinstance(one, type) and issubclass(one, BaseException))
        if issubclass(found, StopIteration) and (what, *details[:1]) != ("builtin", "next"):
            # It would end a map or zip of the test, and with it the comparisons, as if all were done.
            found = RuntimeError
        RAISED.append(_build(found, message))
        raise RAISED[-1]
    if kind == "large":
        raise ProgramFault(rest[-1])
    return rest


def _build(error: type[BaseException], message: str) -> BaseException:
    try:
        return error(message)
    except TypeError:
        return Exception(message)


def number_of(thing: Any) -> int | None:
    """Return the number of a stand-in."""
    return object.__getattribute__(thing, "_number") if type(thing) is RemoteObject else None


class RemoteObject:
    """A function, class or object of the program.

    Whatever would tell it what a test compares it with (``<``, ``in``, arithmetic, its own ``==``) is not done. An odd
    number says that it has no ``==`` of its own; it is then equal to itself alone, which nobody need ask.
    """

    def __init__(self, number: int) -> None:
        object.__setattr__(self, "_number", number)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call it there, and see what the call did to its arguments."""
        result, *changed = ask("call", self, arguments, keywords)
        if changed:
            renew([arguments, keywords], [changed[0][0], changed[0][1]])
        return result

    def __eq__(self, other: object) -> bool:
        if not _alone(self):
            raise untransferable("== of an object of the program")
        return number_of(self) == number_of(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        if not _alone(self):
            raise untransferable("the hash of an object of the program")
        return hash(number_of(self))

    def __getattr__(self, name: str) -> Any:
        return ask("attribute", self, name)[0]

    def __setattr__(self, name: str, value: Any) -> None:
        raise untransferable(f"setting .{name} of an object of the program")

    def __getitem__(self, key: Any) -> Any:
        return ask("item", self, key)[0]

    def __iter__(self) -> Any:
        return ask("builtin", "iter", self)[0]

    def __next__(self) -> Any:
        return ask("builtin", "next", self)[0]

    def __len__(self) -> int:
        return ask("builtin", "len", self)[0]

    def __bool__(self) -> bool:
        return ask("builtin", "bool", self)[0]

    def __str__(self) -> str:
        return ask("builtin", "str", self)[0]

    def __repr__(self) -> str:
        return ask("builtin", "repr", self)[0]


def _alone(thing: RemoteObject) -> bool:
    return (number_of(thing) or 0) % 2 == 1


def _refuse(name: str) -> Any:
    def refuse(self: RemoteObject, *others: Any) -> Any:
        raise untransferable(f"{name} of an object of the program")

    return refuse


UNTRUSTED = """lt le gt ge contains instancecheck subclasscheck setitem delitem enter exit reduce_ex
add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow and rand or ror xor rxor iadd
neg abs int float complex round index"""
for _name in UNTRUSTED.split():
    setattr(RemoteObject, f"__{_name}__", _refuse(f"__{_name}__"))


def renew(old: Any, new: Any) -> Any:
    """Make ``old`` equal ``new``, in place where both are lists, dicts or sets, so that a test sees what a call did.

    Returns ``old`` where that was possible, else ``new``.
    """
    if type(old) is not type(new):
        return new
    if isinstance(old, (list, tuple)):
        parts = [renew(one, other) for one, other in zip(old, new, strict=False)] + list(new[len(old) :])
        if isinstance(old, tuple):
            return tuple(parts)
        old[:] = parts
    elif isinstance(old, dict):
        items = {key: renew(old[key], value) if key in old else value for key, value in new.items()}
        old.clear()
        old.update(items)
    elif isinstance(old, set):
        old.clear()
        old.update(new)
    else:
        return new
    return old
