"""The words of the command line, sorted into values of fields and the path of the YAML file."""

from __future__ import annotations

from typing import Any

from prefopt.cli.fields import Field
from prefopt.cli.kinds import describe, is_boolean, sequence
from prefopt.cli.values import FALSE, TRUE, MismatchError, from_words
from prefopt.errors import UserError, nearest


def read_flags(argv: list[str], command: str, fields: dict[str, Field]) -> tuple[dict[str, Any], str | None]:
    """Return the values given by flags and bare words, and the file named by ``--config`` (None without it).

    Raises UserError for an unknown flag, a value of the wrong type, or a bare word that no field takes.
    """
    words, given, unknown = list(argv), {}, []
    config: str | None = None
    bare: list[str] = []
    takes_bare_words = any(field.positional for field in fields.values())
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            bare.append(word)
            continue
        flag, equals, attached = word.partition("=")
        name = flag[2:].replace("-", "_")
        if name == "config":
            if config is not None:
                raise UserError("--config: given twice; put everything into one file.")
            config = attached if equals else _take(words, "--config", "a YAML file")
        elif name not in fields and _is_switch(name.removeprefix("no_"), fields) and not equals:
            given[name.removeprefix("no_")] = False
        elif name not in fields:
            unknown.append(f"{flag}: unknown flag.{_nearest_flag(name, fields)}")
            while words and not words[0].startswith("--"):
                words.pop(0)
        elif equals:
            given[name] = _convert([attached], fields[name].kind, flag)
        elif _is_switch(name, fields):
            follows = bool(words) and not words[0].startswith("--")
            has_value = follows and (not takes_bare_words or words[0].lower() in TRUE + FALSE)
            given[name] = _convert([words.pop(0)], bool, flag) if has_value else True
        else:
            kind = fields[name].kind
            taken = [_take(words, flag, describe(kind))]
            while sequence(kind) is not None and words and not words[0].startswith("--"):
                taken.append(words.pop(0))
            given[name] = _convert(taken, kind, flag)
    if unknown:
        raise UserError("\n".join([*unknown, f"`prefopt {command} --help-all` lists every flag."]))
    return {**_place(bare, command, fields), **given}, config


def _place(bare: list[str], command: str, fields: dict[str, Field]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for field in fields.values():
        if field.positional and bare:
            taken, bare = (bare, []) if sequence(field.kind) is not None else (bare[:1], bare[1:])
            given[field.name] = _convert(taken, field.kind, field.name.upper())
    if bare:
        raise UserError(f"prefopt {command}: unexpected argument '{bare[0]}'. Flags start with '--'.")
    return given


def _is_switch(name: str, fields: dict[str, Field]) -> bool:
    return name in fields and is_boolean(fields[name].kind)


def _take(words: list[str], flag: str, expected: str) -> str:
    if not words or words[0].startswith("--"):
        raise UserError(f"{flag}: expected {expected}, got nothing.")
    return words.pop(0)


def _convert(words: list[str], kind: Any, shown: str) -> Any:
    try:
        return from_words(words, kind)
    except MismatchError as error:
        raise UserError(f"{shown}: {error}") from None


def _nearest_flag(name: str, fields: dict[str, Field]) -> str:
    return nearest("--" + name.replace("_", "-"), [field.flag for field in fields.values()])
