"""No reference at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from prefopt.offline.slots import Reference


@dataclass(frozen=True)
class NoReference(Reference):
    """There is no reference; a part that needs one is refused."""

    exists: ClassVar[bool] = False
