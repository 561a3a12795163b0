"""The fields of a command, as a table for ``--help`` and ``--help-all``."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from enum import Enum
from typing import Any

from prefopt.cli import COMMANDS
from prefopt.cli.fields import collect
from prefopt.cli.kinds import describe

LIBRARIES = ("transformers", "trl")
MOST_USED = (
    "output_dir",
    "learning_rate",
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "bf16",
    "seed",
    "logging_steps",
    "eval_strategy",
    "save_strategy",
    "report_to",
)


def print_fields(command: str, dataclass_types: Sequence[type], everything: bool) -> None:
    """Print usage, then one table per dataclass: its own fields, and the inherited ones asked for."""
    from rich.console import Console

    console = Console(highlight=False)
    summary = COMMANDS[command].help if command in COMMANDS else ""
    bare = [field for field in collect(dataclass_types).values() if field.positional]
    words = [field.name.upper() if field.required else f"[{field.name.upper()}]" for field in bare]
    usage = ["Usage: prefopt", command, *words, "[--config FILE.yaml] [--flag VALUE ...]"]
    console.print(" ".join(usage), markup=False)
    console.print(f"{summary}.\n" if summary else "", markup=False)
    for one in dataclass_types:
        own, inherited = _split(one)
        shown = inherited if everything else [field for field in inherited if field.name in MOST_USED]
        _print_group(console, _title(one), one, own)
        if inherited:
            rest = "" if everything else f", the {len(shown)} most used of {len(inherited)} (--help-all lists them all)"
            _print_group(console, f"Inherited from the trainer's library{rest}", one, shown)


def _split(dataclass_type: type) -> tuple[list[dataclasses.Field[Any]], list[dataclasses.Field[Any]]]:
    """Separate the fields that our own classes declare from those of transformers and TRL."""
    ours: set[str] = set()
    for base in dataclass_type.__mro__:
        if base.__module__.partition(".")[0] not in LIBRARIES:
            ours |= set(inspect.get_annotations(base))
    fields = [field for field in dataclasses.fields(dataclass_type) if field.init]
    return [field for field in fields if field.name in ours], [field for field in fields if field.name not in ours]


def _title(dataclass_type: type) -> str:
    documented = (dataclass_type.__doc__ or "").strip()
    first = documented.splitlines()[0] if documented else ""
    return (
        dataclass_type.__name__ if not first or first.startswith(f"{dataclass_type.__name__}(") else first.rstrip(".")
    )


def _print_group(console: Any, title: str, owner: type, fields: list[dataclasses.Field[Any]]) -> None:
    from typing import get_type_hints

    from rich.markup import escape
    from rich.table import Table

    if not fields:
        return
    hints = get_type_hints(owner)
    table = Table.grid(padding=(0, 2), expand=False)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for field in fields:
        words = " ".join(str(field.metadata.get("help", "")).split())
        words += "." if words and not words.endswith(".") else ""
        note = f"[dim]{escape(describe(hints[field.name]))}; {escape(_default(field))}[/dim]"
        table.add_row(f"  [bold]--{field.name.replace('_', '-')}[/bold]", f"{escape(words)} {note}".strip())
    console.print(f"[bold]{escape(title)}[/bold]")
    console.print(table)
    console.print()


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return "required"
    return f"default {value.value if isinstance(value, Enum) else value}" if value is not None else "optional"
