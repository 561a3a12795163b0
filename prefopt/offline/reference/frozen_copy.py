"""The policy as it is when training starts."""

from __future__ import annotations

from dataclasses import dataclass

from prefopt.offline.slots import Reference


@dataclass(frozen=True)
class FrozenCopy(Reference):
    """The policy's weights as they stand in memory when training starts; under a fresh adapter, the base without it.

    Never reloaded from the name that the model was once loaded from: what was changed in memory since would be lost.
    """
