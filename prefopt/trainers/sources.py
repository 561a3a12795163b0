"""From an entry of ``rewards:`` to a reward source: a trained model's folder, a verifier's name, a user's function."""

from __future__ import annotations

import importlib.util
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prefopt.errors import UserError, nearest
from reward_models.transforms import Identity, Transform, build_transform
from reward_models.verifiable import VERIFIERS, build_verifier

KEYS = ("source", "name", "weight", "transform", "columns", "settings", "may_abstain")
SUPPLIED = frozenset(
    {"prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric", "environments"}
)
RESERVED = frozenset({"prompt", "completion", "completion_ids"})


@dataclass(frozen=True)
class RewardSource:
    """A callable that scores completions, and how its scores are used.

    Attributes:
        call: ``f(prompts=..., completions=..., **columns)``; None until `load` for a model's folder.
        names: one a reward column.
        weight: of every column. transform: of every column, before the weight.
        columns: parameter of ``call`` -> column of the data, where the names differ.
        may_abstain: None is a legitimate answer (a source for some prompts only), and no failure.
        folder, settings: of a reward model that is loaded later.
    """

    call: Callable[..., Any] | None
    names: tuple[str, ...]
    weight: float = 1.0
    transform: Transform = field(default_factory=Identity)
    columns: Mapping[str, str] = field(default_factory=dict)
    may_abstain: bool = False
    folder: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name by which messages call it."""
        return "+".join(self.names)

    def required_columns(self) -> dict[str, str]:
        """Columns of the data without which ``call`` fails, by the parameter that wants them."""
        wanted = {} if self.call is None else _parameters(self.call)[0]
        missing = {name: self.columns.get(name, name) for name in wanted if name not in SUPPLIED}
        return missing | {name: column for name, column in self.columns.items() if name not in SUPPLIED}

    def arguments(self, columns: Mapping[str, list[Any]], context: Mapping[str, Any]) -> dict[str, Any]:
        """What ``call`` takes: everything where it has ``**kwargs``, else the parameters that it names."""
        assert self.call is not None
        own = {name: values for name, values in columns.items() if name not in RESERVED}
        given = {**own, **context, **{name: columns[column] for name, column in self.columns.items()}}
        required, optional, takes_all = _parameters(self.call)
        return given if takes_all else {name: given[name] for name in (*required, *optional) if name in given}

    def load(self, device: Any) -> RewardSource:
        """Return the source ready to be called: a folder's model is read and put on ``device``."""
        if self.call is not None:
            return self
        from reward_models.model import RewardModel
        from reward_models.source import ModelReward

        call = ModelReward(RewardModel.from_pretrained(self.folder), device=str(device), **self.settings)
        base = self.names[0]
        names = (base,) if len(call.names) == 1 else tuple(f"{base}/{head}" for head in call.names)
        return replace(self, call=call, names=names)


def read_source(entry: Any, number: int = 0) -> RewardSource:
    """Return the source of one entry of ``rewards:``, or of a callable, without loading a model.

    Raises:
        UserError: an unknown key or name, a path that does not exist, a file without that function.
    """
    if isinstance(entry, RewardSource):
        return entry
    if callable(entry):
        return RewardSource(entry, _names_of(entry, None))
    if isinstance(entry, str):
        entry = {"source": entry}
    if not isinstance(entry, Mapping):
        raise UserError(f"rewards[{number}] must be a mapping with the key 'source', not {entry!r}")
    for key in entry:
        if key not in KEYS:
            raise UserError(
                f"rewards[{number}]: unknown key '{key}'.{nearest(str(key), KEYS)} Keys: {', '.join(KEYS)}."
            )
    return _from_mapping(entry, f"rewards[{number}]")


def read_sources(entries: Sequence[Any]) -> list[RewardSource]:
    """Return the sources of all entries; their names must differ."""
    if isinstance(entries, (str, Mapping)) or callable(entries):
        entries = [entries]
    sources = [read_source(entry, number) for number, entry in enumerate(entries)]
    check_names(sources)
    return sources


def check_names(sources: Sequence[RewardSource]) -> None:
    """Raise ``UserError`` where two reward columns have one name."""
    names = [name for source in sources for name in source.names]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two reward sources are called '{name}'; give one of them another `name:`")


def _from_mapping(entry: Mapping[str, Any], where: str) -> RewardSource:
    if "source" not in entry:
        raise UserError(f"{where} has no 'source': a model's folder, {', '.join(VERIFIERS)}, or file.py:function")
    weight = entry.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not math.isfinite(weight):
        raise UserError(f"{where}: weight must be a finite number, not {weight!r}")
    for key in ("columns", "settings"):
        if not isinstance(entry.get(key) or {}, Mapping):
            raise UserError(f"{where}: {key} must be a mapping, not {entry[key]!r}")
    call, folder, name = _resolve(entry, where)
    return RewardSource(
        call,
        _names_of(call, entry.get("name")) if call is not None else (str(entry.get("name") or name),),
        float(weight),
        build_transform(entry.get("transform")),
        dict(entry.get("columns") or {}),
        bool(entry.get("may_abstain", False)),
        folder,
        dict(entry.get("settings") or {}),
    )


def _resolve(entry: Mapping[str, Any], where: str) -> tuple[Callable[..., Any] | None, str, str]:
    """Return callable, folder and default name: exactly one of the first two is there."""
    source, settings = entry["source"], entry.get("settings") or {}
    if callable(source):
        return source, "", ""
    text = str(source)
    if text in VERIFIERS:
        return build_verifier(text, settings), "", text
    path, colon, function = text.rpartition(":")
    if colon and path.endswith(".py"):
        if settings:
            raise UserError(f"{where}: settings are for verifiers and models; {function} takes its own defaults")
        return load_function(Path(path), function), "", function
    if Path(text).is_dir():
        return None, text, Path(text).resolve().name
    raise UserError(
        f"{where}: source '{text}' is no folder, no verifier ({', '.join(VERIFIERS)}) and no file.py:function."
        f"{nearest(text, VERIFIERS)}"
    )


def load_function(path: Path, name: str) -> Callable[..., Any]:
    """Return the function ``name`` of a Python file that the user named; this runs the file."""
    if not path.is_file():
        raise UserError(f"{path}: no such file (looked in {Path.cwd()})")
    spec = importlib.util.spec_from_file_location(f"user_rewards_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UserError(f"{path} has no function '{name}'; it has {', '.join(functions) or 'none'}")
    return function  # type: ignore[no-any-return]


def _names_of(call: Any, name: Any) -> tuple[str, ...]:
    heads: Any = getattr(call, "names", None)
    if heads is not None and len(heads) > 1:
        return tuple(f"{name}/{head}" if name else str(head) for head in heads)
    if name:
        return (str(name),)
    if heads:
        return (str(heads[0]),)
    function = getattr(call, "func", call)
    own = next((key for key, kind in VERIFIERS.items() if type(call) is kind), None)
    return (str(own or getattr(function, "__name__", type(function).__name__)),)


def _parameters(call: Callable[..., Any]) -> tuple[list[str], list[str], bool]:
    """Return the required and optional keyword parameters of ``call``, and whether it takes any."""
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):
        return [], [], True
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    required = [p.name for p in named if p.default is p.empty]
    optional = [p.name for p in named if p.default is not p.empty]
    return required, optional, any(p.kind is p.VAR_KEYWORD for p in parameters)
