"""A YAML mapping, read strictly: a key given twice is an error and ``1e-4`` is a number."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from prefopt.errors import UserError

UNREADABLE = (ValueError, TypeError, AttributeError, RecursionError)
"""What PyYAML raises beside its own errors: dates and numbers that are none, keys that are lists, depth."""


class StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys and reads numbers as YAML 1.2 does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping, raising where a key stands twice (PyYAML silently keeps the last)."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    "while reading a mapping",
                    node.start_mark,
                    f"key '{key}' is given twice",
                    key_node.start_mark,
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def read_mapping(path: str | Path) -> dict[str, Any]:
    """Return the top-level mapping of a YAML file. Raises UserError that names the file and the line."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UserError(f"{path}: cannot be read: {reason}.") from None
    try:
        content = yaml.load(text, Loader=StrictLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: {getattr(error, 'problem', None) or 'not valid YAML'}.") from None
    except UNREADABLE as error:
        problem = "nested too deeply" if isinstance(error, RecursionError) else error
        raise UserError(f"{path}: not valid YAML: {problem}.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected keys with values ('learning_rate: 1e-4'), got {type(content).__name__}.")
    for key in content:
        if not isinstance(key, str):
            raise UserError(f"{path}: key {key!r} is not text; put it in quotes.")
    return content
