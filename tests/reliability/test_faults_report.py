"""The figures of broken things: what is printed, kept, and stands on the page."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from scripts.faults import __main__ as command
from scripts.faults import report
from scripts.faults.figure import Figure

FOUND = [("disks", 12.0, [Figure("disks filled", 8, 8, note="all had room later"), Figure("rows", 1000, 999, 1)])]


def test_the_page_is_in_step() -> None:
    """docs/reliability.md shows the kept figures; ``python -m scripts.faults --kept`` writes them there."""
    assert report.on_page() == report.page_table(list(report.kept()))


def test_every_experiment_has_figures() -> None:
    """An experiment that is there was run, each of its figures counts something, and none was lost."""
    kept = {name: figures for name, _, figures in report.kept()}
    assert set(kept) == set(command.experiments())
    for name, figures in kept.items():
        assert figures, name
        assert all(figure.tried > 0 and figure.kept for figure in figures), name


def test_what_is_printed() -> None:
    """Eight disks held; of a thousand rows one was lost."""
    console = Console(width=70, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115
    console.print(report.table(FOUND))
    lines = console.export_text().splitlines()
    (disks,) = [line for line in lines if "disks filled" in line]
    assert [cell.strip() for cell in disks.strip("│").split("│")] == ["disks", "disks filled", "8", "8", "0"]
    assert any("12 s" in line and "all had room later" in line for line in lines)
    (rows,) = [line for line in lines if "1,000" in line]
    assert [cell.strip() for cell in rows.strip("│").split("│")][1:] == ["rows", "1,000", "999", "1"]
    assert report.summary(FOUND) == "1,008 faults, requests and steps in 1 experiments; 1,007 held, 1 lost"


def test_the_table_of_the_page() -> None:
    """A line a figure, with its experiment."""
    assert report.page_table(FOUND).splitlines()[2:4] == [
        "| disks filled (`disks`) | 8 | 8 | 0 |",
        "| rows (`disks`) | 1,000 | 999 | 1 |",
    ]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page and results of one's own, and one experiment."""
    page = tmp_path / "page.md"
    page.write_text(f"Before\n{report.BEGIN}\nold\n{report.END}\nAfter\n", encoding="utf-8")
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(command, "experiments", lambda: ["disks"])
    return tmp_path


@pytest.mark.parametrize(("lost", "status"), [(0, 0), (1, 1)])
def test_the_command(lost: int, status: int, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs, keeps and shows; its status is 1 where something was lost. What stands around the marks stays."""
    figures = [Figure("disks filled", 8, 8 - lost, lost)]
    monkeypatch.setattr(command, "import_module", lambda name: SimpleNamespace(inject=lambda seed: figures))
    assert command.main(["--here", "disks"]) == status
    assert json.loads((elsewhere / "results" / "disks.json").read_text())["figures"][0]["lost"] == lost
    text = (elsewhere / "page.md").read_text()
    assert text.startswith("Before\n")
    assert text.endswith("After\n")
    assert f"| disks filled (`disks`) | 8 | {8 - lost} | {lost} |" in text


def test_an_experiment_that_breaks(elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """The others' figures are shown, the last lines that it printed too, and the status is 1."""

    def broken(name: str, seed: int, log: Path) -> bool:
        log.write_text("first\nRuntimeError: no room\n")
        return False

    monkeypatch.setattr(command, "run_apart", broken)
    assert command.main([]) == 1
    printed = capsys.readouterr().out
    assert "disks ended with an error:" in printed
    assert "RuntimeError: no room" in printed
