"""Flags over a YAML file over defaults, into dataclasses. Nothing that the user wrote is silently ignored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, overload

from prefopt.cli.fields import Field, collect
from prefopt.cli.flags import read_flags
from prefopt.cli.values import MismatchError, from_yaml
from prefopt.cli.yaml_file import read_mapping
from prefopt.errors import UserError, nearest

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")


@overload
def parse(argv: Sequence[str], command: str, first: type[A], /) -> tuple[A]: ...
@overload
def parse(argv: Sequence[str], command: str, first: type[A], second: type[B], /) -> tuple[A, B]: ...
@overload
def parse(argv: Sequence[str], command: str, first: type[A], second: type[B], third: type[C], /) -> tuple[A, B, C]: ...
@overload
def parse(
    argv: Sequence[str], command: str, first: type[A], second: type[B], third: type[C], fourth: type[D], /
) -> tuple[A, B, C, D]: ...
@overload
def parse(
    argv: Sequence[str], command: str, first: type[A], second: type[B], third: type[C], fourth: type[D],
    fifth: type[E], /,
) -> tuple[A, B, C, D, E]: ...  # fmt: skip
def parse(argv: Sequence[str], command: str, *dataclass_types: type) -> tuple[Any, ...]:
    """Return one instance of each dataclass, from flags over ``--config FILE.yaml`` over defaults.

    A field is written ``--learning-rate 1e-4``, ``--learning_rate=1e-4`` or, in YAML, ``learning_rate: 1e-4``;
    a switch is ``--bf16``, ``--no-bf16`` or ``--bf16 true``; a list takes the words up to the next flag; a
    mapping is written inline, ``--generation-kwargs '{top_k: 5}'``. Of a flag given twice the last counts. A
    field with ``metadata={"positional": True}`` also takes a bare word. ``--help`` prints the command's own
    fields and ``--help-all`` also those inherited from a library; both exit.

    Raises
    ------
    UserError
        Unknown flag or key (with the nearest valid one), wrong type (with key, value and expected type),
        required field missing, unreadable YAML, or a value that a dataclass refuses in ``__post_init__``.
    """
    if {"--help", "-h", "--help-all"} & set(argv):
        from prefopt.cli.help import print_fields

        print_fields(command, dataclass_types, everything="--help-all" in argv)
        raise SystemExit(0)
    fields = collect(dataclass_types)
    flags, config = read_flags(list(argv), command, fields)
    given = {**(_read_config(config, command, fields) if config else {}), **flags}
    missing = [field for field in fields.values() if field.required and field.name not in given]
    if missing:
        names = ", ".join(field.flag for field in missing)
        raise UserError(f"prefopt {command}: {names} must be given, as a flag or in the file of --config.")
    return tuple(_build(one, given, fields, command) for one in dataclass_types)


def _read_config(path: str, command: str, fields: dict[str, Field]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    unknown: list[str] = []
    for key, value in read_mapping(path).items():
        name = key.replace("-", "_")
        if name not in fields:
            unknown.append(f"{path}: unknown key '{key}'.{nearest(name, fields)}")
            continue
        if name in given:
            raise UserError(f"{path}: '{name}' is given twice, with '-' and with '_'.")
        try:
            given[name] = from_yaml(value, fields[name].kind)
        except MismatchError as error:
            raise UserError(f"{path}: {key}: {error}") from None
    if unknown:
        raise UserError("\n".join([*unknown, f"`prefopt {command} --help-all` lists every key."]))
    return given


def _build(dataclass_type: type, given: dict[str, Any], fields: dict[str, Field], command: str) -> Any:
    own = {name: value for name, value in given.items() if fields[name].owner is dataclass_type}
    try:
        return dataclass_type(**own)
    except (ValueError, TypeError) as error:
        raise UserError(f"prefopt {command}: {error}") from error
