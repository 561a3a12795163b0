"""Flags over a YAML file over defaults, into dataclasses. Nothing that the user wrote is silently ignored."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar, get_type_hints, overload

from prefopt.cli import values
from prefopt.cli.yaml_file import read_mapping
from prefopt.errors import UserError, nearest

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


@dataclasses.dataclass(frozen=True)
class Field:
    """One field that the command takes: which dataclass owns it, and its resolved type."""

    name: str
    kind: Any
    owner: type
    positional: bool
    required: bool

    @property
    def flag(self) -> str:
        """The flag in the spelling that messages use."""
        return "--" + self.name.replace("_", "-")


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
    fields = collect(dataclass_types)
    if {"--help", "-h", "--help-all"} & set(argv):
        from prefopt.cli.help import print_fields

        print_fields(command, dataclass_types, everything="--help-all" in argv)
        raise SystemExit(0)
    flags, config = _read_flags(list(argv), command, fields)
    given = {**(_read_config(config, command, fields) if config else {}), **flags}
    missing = [field for field in fields.values() if field.required and field.name not in given]
    if missing:
        names = ", ".join(field.flag for field in missing)
        raise UserError(f"prefopt {command}: {names} must be given, as a flag or in the file of --config.")
    return tuple(
        _build(one, {n: v for n, v in given.items() if fields[n].owner is one}, command) for one in dataclass_types
    )


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


def _read_flags(words: list[str], command: str, fields: dict[str, Field]) -> tuple[dict[str, Any], str | None]:
    given: dict[str, Any] = {}
    config: str | None = None
    waiting = [field for field in fields.values() if field.positional]
    unknown: list[str] = []
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            if not waiting:
                raise UserError(f"prefopt {command}: unexpected argument '{word}'. Flags start with '--'.")
            field = waiting[0] if values.is_sequence(waiting[0].kind) else waiting.pop(0)
            value = _convert_words([word], field, field.name.upper())
            given[field.name] = [*given.get(field.name, []), *value] if isinstance(value, list) else value
            continue
        flag, equals, attached = word.partition("=")
        name = flag[2:].replace("-", "_")
        if name == "config":
            if config is not None:
                raise UserError("--config: given twice; put everything into one file.")
            config = attached if equals else _take_one(words, "--config", "a YAML file")
            continue
        negated = name.removeprefix("no_")
        if name not in fields and negated in fields and values.is_boolean(fields[negated].kind) and not equals:
            given[negated] = False
        elif name not in fields:
            unknown.append(f"{flag}: unknown flag.{_nearest_flag(name, fields)}")
            while words and not words[0].startswith("--"):
                words.pop(0)
        elif equals:
            given[name] = _convert_words([attached], fields[name], flag)
        elif values.is_boolean(fields[name].kind):
            has_value = bool(words) and words[0].lower() in values.TRUE + values.FALSE
            given[name] = values.from_text(words.pop(0), bool) if has_value else True
        else:
            taken = [_take_one(words, flag, values.describe(fields[name].kind))]
            while values.is_sequence(fields[name].kind) and words and not words[0].startswith("--"):
                taken.append(words.pop(0))
            given[name] = _convert_words(taken, fields[name], flag)
    if unknown:
        raise UserError("\n".join([*unknown, f"`prefopt {command} --help-all` lists every flag."]))
    return given, config


def _read_config(path: str, command: str, fields: dict[str, Field]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    unknown: list[str] = []
    for key, value in read_mapping(path).items():
        name = key.replace("-", "_")
        if name not in fields:
            unknown.append(f"{path}: unknown key '{key}'.{nearest(name, fields)}")
        elif name in given:
            raise UserError(f"{path}: '{name}' is given twice, with '-' and with '_'.")
        else:
            try:
                given[name] = values.from_yaml(value, fields[name].kind)
            except values.MismatchError as error:
                raise UserError(f"{path}: {key}: {error}") from None
    if unknown:
        raise UserError("\n".join([*unknown, f"`prefopt {command} --help-all` lists every key."]))
    return given


def _convert_words(words: list[str], field: Field, shown: str) -> Any:
    try:
        return values.from_words(words, field.kind)
    except values.MismatchError as error:
        raise UserError(f"{shown}: {error}") from None


def _take_one(words: list[str], flag: str, expected: str) -> str:
    if not words or words[0].startswith("--"):
        raise UserError(f"{flag}: expected {expected}, got nothing.")
    return words.pop(0)


def _nearest_flag(name: str, fields: dict[str, Field]) -> str:
    return nearest("--" + name.replace("_", "-"), [field.flag for field in fields.values()])


def _build(dataclass_type: type, given: dict[str, Any], command: str) -> Any:
    try:
        return dataclass_type(**given)
    except (ValueError, TypeError) as error:
        raise UserError(f"prefopt {command}: {error}") from error
