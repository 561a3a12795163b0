"""What a test is told of the abilities of a program's object: a stand-in has all methods, whatever it stands for."""

from __future__ import annotations

import builtins
from typing import Any

from reward_models.verifiable.grading.inside.remote_object import RemoteObject, ask, untransferable

REAL_CALLABLE, REAL_HASATTR = callable, hasattr
REAL_ISINSTANCE, REAL_ISSUBCLASS = isinstance, issubclass


def is_callable(thing: Any, /) -> bool:
    """``callable``, asked where the object is."""
    return ask("builtin", "callable", thing)[0] is True if type(thing) is RemoteObject else REAL_CALLABLE(thing)


def has_attribute(thing: Any, name: str, /) -> bool:
    """``hasattr``, asked where the object is."""
    if type(thing) is not RemoteObject:
        return REAL_HASATTR(thing, name)
    try:
        ask("attribute", thing, name)
    except AttributeError:
        return False
    return True


def is_instance(thing: Any, kinds: Any, /) -> bool:
    """``isinstance``: no for a class that the stand-in is not of; what its methods alone make true is not trusted."""
    found = REAL_ISINSTANCE(thing, kinds)
    if found and type(thing) is RemoteObject and kinds is not object:
        raise untransferable("isinstance of an object of the program")
    return found


def is_subclass(kind: Any, kinds: Any, /) -> bool:
    """``issubclass``, by the same rule."""
    found = REAL_ISSUBCLASS(kind, kinds)
    if found and kind is RemoteObject and kinds is not object:
        raise untransferable("issubclass of an object of the program")
    return found


def tell_the_truth() -> None:
    """Put these in the place of the builtins that tests use."""
    vars(builtins).update(callable=is_callable, hasattr=has_attribute, isinstance=is_instance, issubclass=is_subclass)
