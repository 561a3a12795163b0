"""The fields that a command takes, collected from its dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, get_type_hints


@dataclasses.dataclass(frozen=True)
class Field:
    """One field: its resolved type, the dataclass that owns it, and how it may be given."""

    name: str
    kind: Any
    owner: type
    positional: bool
    required: bool

    @property
    def flag(self) -> str:
        """The flag in the spelling that messages use."""
        return "--" + self.name.replace("_", "-")


def collect(dataclass_types: Sequence[type]) -> dict[str, Field]:
    """Return all fields of the dataclasses by name. Raises TypeError where two of them share a name."""
    found: dict[str, Field] = {}
    for owner in dataclass_types:
        hints = get_type_hints(owner)
        for field in dataclasses.fields(owner):
            if not field.init:
                continue
            if field.name in found:
                raise TypeError(f"{found[field.name].owner.__name__} and {owner.__name__} both have '{field.name}'.")
            required = field.default is field.default_factory is dataclasses.MISSING
            positional = bool(field.metadata.get("positional"))
            found[field.name] = Field(field.name, hints[field.name], owner, positional, required)
    return found
