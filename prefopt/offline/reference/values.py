"""The references that a trainer can supply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from prefopt.offline.slots import Reference


@dataclass(frozen=True)
class FrozenCopy(Reference):
    """The policy's own weights as they stand in memory when training starts (with adapters: the base without them).

    Never reloaded from the name that the model was once loaded from: what was changed in memory since would be lost.
    """


@dataclass(frozen=True)
class Folder(Reference):
    """The weights in a folder. ``path``: an ordinary model folder with the policy's vocabulary."""

    path: str


@dataclass(frozen=True)
class NoReference(Reference):
    """There is no reference; a part that needs one is refused."""

    exists: ClassVar[bool] = False
