"""``main``: exit codes, and one clean message where the user can mend the mistake."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Callable

import pytest

from prefopt.cli import COMMANDS, Command, main
from prefopt.errors import UserError
from reward_models.errors import DataError, ModelError


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[list[str]], int]], None]:
    """Put a command named 'probe' in the table, whose ``run`` is the function given."""

    def install(run: Callable[[list[str]], int]) -> None:
        module = types.ModuleType("probe_module")
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "probe_module", module)
        monkeypatch.setitem(COMMANDS, "probe", Command("probe_module", "A probe"))
        monkeypatch.delenv("PREFOPT_DEBUG", raising=False)

    return install


def raiser(error: BaseException) -> Callable[[list[str]], int]:
    def run(argv: list[str]) -> int:
        raise error

    return run


def test_arguments_and_status_pass_through(command: Callable[[Callable[[list[str]], int]], None]) -> None:
    seen: list[str] = []
    command(lambda argv: seen.extend(argv) or 7)
    assert main(["probe", "--x", "1"]) == 7
    assert seen == ["--x", "1"]


@pytest.mark.parametrize("error", [UserError("row 3: empty"), DataError("row 3: empty"), ModelError("row 3: empty")])
def test_mendable_errors_are_one_message(command, capsys, error: Exception) -> None:
    command(raiser(error))
    assert main(["probe"]) == 2
    assert capsys.readouterr() == ("", "Error: row 3: empty\n")


def test_debug_shows_the_traceback(command, monkeypatch: pytest.MonkeyPatch) -> None:
    command(raiser(UserError("x")))
    with pytest.raises(UserError):
        main(["--debug", "probe"])
    monkeypatch.setenv("PREFOPT_DEBUG", "1")
    with pytest.raises(UserError):
        main(["probe"])


def test_a_bug_is_not_hidden(command) -> None:
    command(raiser(KeyError("ours")))
    with pytest.raises(KeyError):
        main(["probe"])


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (KeyboardInterrupt(), 130, "\nInterrupted.\n"),
        (SystemExit(0), 0, ""),
        (SystemExit(3), 3, ""),
        (SystemExit("no"), 1, "no\n"),
    ],
)
def test_stops(command, capsys, error: BaseException, status: int, shown: str) -> None:
    command(raiser(error))
    assert main(["probe"]) == status
    assert capsys.readouterr().err == shown


def test_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train-rewrad"]) == 2
    assert capsys.readouterr().err == (
        "Error: Unknown command 'train-rewrad'. Did you mean 'train-reward'? `prefopt --help` lists them all.\n"
    )


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    assert main(argv) == 0
    shown = capsys.readouterr().out
    assert [name for name in COMMANDS if f"  {name} " not in shown] == []


def test_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "prefopt", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "prefopt 0.1.0\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """No promise that is not kept: each command of the table exists and prints its usage."""
    assert main([name, "--help"]) == 0
    assert f"Usage: prefopt {name} " in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_refuses_an_unknown_flag(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Before anything is loaded or written."""
    assert main([name, "--no-such-flag-anywhere"]) == 2
    assert "--no-such-flag-anywhere: unknown flag." in capsys.readouterr().err
