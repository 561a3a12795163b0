"""What the README shows runs: its Python as it stands, its commands as far as their arguments."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from prefopt.cli import COMMANDS, arguments, main
from tests.test_house_rules import ParsedError
from tests.test_module_graph import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PYTHON = [body for language, body in BLOCKS if language == "python"]
CONSOLE = [
    (command, expected)
    for language, body in BLOCKS
    if language == "console"
    for command, expected in re.findall(r"^\$ prefopt (.*)\n((?:[^$].*\n)+)", body, re.MULTILINE)
]
YAML = [body for language, body in BLOCKS if language == "yaml"]
SHELL = [line for language, body in BLOCKS if language == "bash" for line in body.replace("\\\n", " ").splitlines()]
COMMAND_LINES = [line for line in SHELL if re.search(r"(^|-m )prefopt ", line)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample data and the YAML files of the README under the names of their first lines."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "data").symlink_to(ROOT / "data")
    for body in YAML:
        match = re.match(r"# prefopt [a-z-]+ --config (\S+)", body)
        assert match, "the first line of a YAML block is '# prefopt COMMAND --config NAME'"
        (folder / match[1]).write_text(body, encoding="utf-8")
    return folder


def test_python(folder: Path) -> None:
    """All Python blocks in their order, in one process and one folder: later ones use what earlier ones wrote."""
    assert PYTHON
    runner = [
        "import runpy, sys",
        "for name in sys.argv[1:]:",
        "    print(name, flush=True)",
        "    runpy.run_path(name)",
    ]
    names = [f"block_{number}.py" for number in range(len(PYTHON))]
    for name, body in zip(names, PYTHON, strict=True):
        (folder / name).write_text(body, encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(runner), *names], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_commands(folder: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """The command exists and takes every flag, and every key of its YAML file."""
    words = shlex.split(line.split("prefopt ", 1)[1], comments=True)
    assert words[0] in COMMANDS
    command = importlib.import_module(COMMANDS[words[0]].module)
    parse = arguments.parse

    def parse_then_stop(*given: object) -> None:
        parse(*given)  # type: ignore[call-overload]
        raise ParsedError

    monkeypatch.chdir(folder)
    monkeypatch.setattr(arguments, "parse", parse_then_stop)
    monkeypatch.setattr(command, "parse", parse_then_stop, raising=False)
    with pytest.raises(ParsedError):
        command.run(words[1:])


@pytest.mark.parametrize(("command", "expected"), CONSOLE)
def test_messages(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, expected: str
) -> None:
    """Bad input gets the message that the README shows; longer messages begin with it."""
    monkeypatch.chdir(folder)
    assert main(shlex.split(command)) == 2
    assert capsys.readouterr().err.startswith(expected)


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_links(target: str) -> None:
    """A link to a file of the repository leads to one."""
    assert "://" in target or (ROOT / target).exists()
