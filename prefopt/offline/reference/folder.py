"""A model on disk."""

from __future__ import annotations

from dataclasses import dataclass

from prefopt.offline.slots import Reference


@dataclass(frozen=True)
class Folder(Reference):
    """The weights in a folder. ``path``: an ordinary model folder with the policy's vocabulary."""

    path: str
