"""In which order a program is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def shuffled(indices: Sequence[int], code: str) -> list[int]:
    """Return indices in an order that only the program's text decides.

    A program that answers by counting its calls is thereby right by chance alone, and the same program always gets the
    same order.
    """
    seed = hashlib.sha256(code.encode("utf-8", "surrogatepass")).digest()
    return sorted(indices, key=lambda index: hashlib.sha256(seed + index.to_bytes(8, "big")).digest())
