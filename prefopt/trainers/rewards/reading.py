"""From an entry of ``rewards:`` to a reward source: a trained model's folder, a verifier's name, a user's function."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prefopt.errors import UserError, nearest
from prefopt.trainers.rewards.patience_keys import PATIENCE, SERVER_KEYS, read_patience
from prefopt.trainers.rewards.source import ROLES, RewardSource, parameters_of
from reward_models.http_client import split_address
from reward_models.transforms import build_transform
from reward_models.verifiable import VERIFIERS, build_verifier

__all__ = ["RewardSource", "check_names", "load_function", "read_source", "read_sources"]

KEYS = ("source", "name", "weight", "transform", "columns", "settings", "may_abstain", "role", *PATIENCE)
MODEL_SETTINGS = ("batch_size",)
ADDRESS = ("http://", "https://")
USERS_MODULE = "user_rewards_"
"""How names of modules begin that are files of the user."""


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
        raise UserError(
            f"{where} has no 'source': a model's folder, {', '.join(VERIFIERS)}, file.py:function, or a server's "
            "address"
        )
    given = entry.get("weight", 1.0)
    for weight in given if isinstance(given, (list, tuple)) else [given]:
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not math.isfinite(weight):
            raise UserError(f"{where}: weight must be a finite number, or a list with one a column, not {given!r}")
    for key in ("columns", "settings"):
        if not isinstance(entry.get(key) or {}, Mapping):
            raise UserError(f"{where}: {key} must be a mapping, not {entry[key]!r}")
    role = entry.get("role", "reward")
    if role not in ROLES:
        raise UserError(f"{where}: role must be one of {', '.join(ROLES)}, not {role!r}")
    if role != "reward" and any(weight != 1 for weight in (given if isinstance(given, (list, tuple)) else [given])):
        raise UserError(
            f"{where}: the weight of a {role} is not read: a judge passes or fails, a multiplier weighs a cost; "
            "leave `weight` out, and turn or stretch its scores by `transform`"
        )
    may_abstain = entry.get("may_abstain", False)
    if not isinstance(may_abstain, bool):
        raise UserError(f"{where}: may_abstain must be true or false, not {may_abstain!r}")
    call, place, name = _resolve(entry, where)
    served = place.startswith(ADDRESS)
    patience, of_server = read_patience(entry, call, served, where)
    if call is not None:
        required, optional, takes_all = parameters_of(call)
        for parameter in entry.get("columns") or {}:
            if not takes_all and parameter not in (*required, *optional):
                known = [one for one in (*required, *optional) if one not in ("prompts", "completions")]
                raise UserError(
                    f"{where}: columns: the source takes no '{parameter}'.{nearest(parameter, known)} It takes "
                    f"{', '.join(known) or 'no column'}; write {{parameter: column}}"
                )
    return RewardSource(
        call,
        _names_of(call, entry.get("name")) if call is not None else (str(entry.get("name") or name),),
        tuple(map(float, given)) if isinstance(given, (list, tuple)) else float(given),
        build_transform(entry.get("transform")),
        dict(entry.get("columns") or {}),
        may_abstain,
        role,
        "" if served else place,
        of_server if served else dict(entry.get("settings") or {}),
        place if served else "",
        patience,
    )


def _resolve(entry: Mapping[str, Any], where: str) -> tuple[Callable[..., Any] | None, str, str]:
    """Return callable, folder or address, and default name: exactly one of the first two is there."""
    source, settings = entry["source"], entry.get("settings") or {}
    if callable(source):
        return source, "", ""
    text = str(source)
    if text in VERIFIERS:
        return build_verifier(text, settings), "", text
    if text.startswith(ADDRESS):
        split_address(text)
        if settings:
            raise UserError(f"{where}: a server has no settings here; its keys are {', '.join(SERVER_KEYS)}")
        return None, text, str(urlsplit(text).hostname)
    path, colon, function = text.rpartition(":")
    if colon and path.endswith(".py"):
        if settings:
            raise UserError(f"{where}: settings are for verifiers and models; {function} takes its own defaults")
        return load_function(Path(path), function), "", function
    if Path(text).is_dir():
        for key in settings:
            if key not in MODEL_SETTINGS:
                raise UserError(f"{where}: a reward model has no setting '{key}'; it has {', '.join(MODEL_SETTINGS)}")
        return None, text, Path(text).resolve().name
    raise UserError(
        f"{where}: source '{text}' is no folder, no verifier ({', '.join(VERIFIERS)}), no file.py:function and no "
        "http address."
        f"{nearest(text, VERIFIERS)}"
    )


def load_function(path: Path, name: str) -> Callable[..., Any]:
    """Return the function ``name`` of a Python file that the user named; this runs the file."""
    if not path.is_file():
        raise UserError(f"{path}: no such file (looked in {Path.cwd()})")
    spec = importlib.util.spec_from_file_location(USERS_MODULE + path.stem, path)
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
