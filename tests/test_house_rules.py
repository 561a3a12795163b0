"""Rules that no reviewer should have to remember: no code from data, no pickle, types shipped, YAML that parses."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from prefopt.cli import COMMANDS, arguments
from tests.test_module_graph import MODULES, ROOT, imports

SCRIPTS = sorted((ROOT / "scripts").rglob("*.py"))
SOURCES = {**MODULES, **{".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in SCRIPTS}}
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
# The only places that import a module whose name is not written there: tables of our own modules, and a user's own
# reward function, named `file.py:function` in a configuration that the user wrote.
LOADERS = {"prefopt.cli", "prefopt.trainers.rewards.reading", "scripts.bench.__main__", "scripts.claims.table"}
# Folders whose programs run inside a sandbox, where running a candidate's code is the purpose.
INSIDE = "inside"


def calls(name: str) -> list[ast.Call]:
    """All calls in a module."""
    tree = ast.parse(SOURCES[name].read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("name", MODULES)
def test_no_pickle(name: str) -> None:
    """What we write is safetensors and JSON; nothing reads or writes pickle."""
    assert PICKLES & {other.partition(".")[0] for other in imports(name)} == set()


@pytest.mark.parametrize("name", SOURCES)
def test_no_code_from_data(name: str) -> None:
    """No eval, exec, torch.load, unsafe YAML or remote code; modules by computed name only in the named places."""
    for call in calls(name):
        function = ast.unparse(call.func)
        where = f"{SOURCES[name].relative_to(ROOT)}:{call.lineno}: {function}"
        inside = INSIDE in name.split(".") and function in {"eval", "exec", "compile", "__import__"}
        assert inside or function not in {"eval", "exec", "compile", "torch.load", "__import__"}, where
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        if "trust_remote_code" in keywords:
            assert ast.unparse(keywords["trust_remote_code"]) == "False", where
        if function in {"yaml.load", "yaml.unsafe_load", "yaml.full_load"}:
            assert ast.unparse(keywords.get("Loader", ast.Constant(None))) == "StrictLoader", where
        if function in {"importlib.import_module", "importlib.util.spec_from_file_location"}:
            literal = bool(call.args) and isinstance(call.args[0], ast.Constant)
            assert literal or name in LOADERS, where


@pytest.mark.parametrize("name", MODULES)
def test_annotations_are_postponed(name: str) -> None:
    """Each module that defines something starts with ``from __future__ import annotations``."""
    text = MODULES[name].read_text(encoding="utf-8")
    tree = ast.parse(text)
    has_code = any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in tree.body)
    assert not has_code or "from __future__ import annotations" in text


@pytest.mark.parametrize("package", ["prefopt", "reward_models"])
def test_types_are_shipped(package: str) -> None:
    """``py.typed`` tells a checker that the annotations are meant."""
    assert (ROOT / package / "py.typed").is_file()


def requirements() -> list[Requirement]:
    """What pyproject.toml declares, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = chain.from_iterable(project["optional-dependencies"].values())
    return [Requirement(line) for line in [*project["dependencies"], *extras]]


def test_every_library_is_declared() -> None:
    """A library that we import stands in pyproject.toml; none comes along by chance with another."""
    distributions = {"yaml": "pyyaml", "sklearn": "scikit-learn"}
    declared = {canonicalize_name(requirement.name) for requirement in requirements()}
    used = {(other.partition(".")[0], name) for name in MODULES for other in imports(name)}
    foreign = {(top, name) for top, name in used if top not in {*sys.stdlib_module_names, "prefopt", "reward_models"}}
    assert {
        (top, name) for top, name in foreign if canonicalize_name(distributions.get(top, top)) not in declared
    } == set()


class ParsedError(Exception):
    """Raised in place of running the command, once its arguments were read."""


def yaml_files() -> list[Path]:
    """Every YAML file of the repository that is a configuration of a command: its first line says which."""
    found = [path for pattern in ("*.yaml", "*.yml") for path in ROOT.rglob(pattern)]
    return sorted(path for path in found if not set(path.relative_to(ROOT).parts) & {".venv", "runs", ".git", "build"})


@pytest.mark.parametrize("path", yaml_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_yaml_parses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first line is ``# prefopt COMMAND --config FILE``, with the flags that it leaves to the caller, and that
    command takes every key and value of it.
    """
    first = path.read_text(encoding="utf-8").splitlines()[0]
    match = re.match(r"# prefopt ([a-z-]+) --config \S+(.*)", first)
    assert match, f"{path.name}: the first line must be '# prefopt COMMAND --config {path.name}', it is {first!r}"
    command = importlib.import_module(COMMANDS[match[1]].module)

    parse = arguments.parse

    def parse_then_stop(*given: object) -> None:
        parse(*given)  # type: ignore[call-overload]
        raise ParsedError

    monkeypatch.setattr(arguments, "parse", parse_then_stop)
    monkeypatch.setattr(command, "parse", parse_then_stop, raising=False)
    with pytest.raises(ParsedError):
        command.run(["--config", str(path), *shlex.split(match[2])])
