"""What the pages under docs/ show works: Python runs, commands and YAML keys are taken, examples in docstrings hold.

Most pages have a test beside what they describe, which runs their Python; the others are run here.
"""

from __future__ import annotations

import doctest
import importlib
import re
import runpy
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from prefopt.cli import COMMANDS, arguments
from prefopt.cli.align_online import AlignOnlineArguments
from prefopt.errors import UserError
from prefopt.trainers.offline_config import OfflineConfig
from prefopt.trainers.online_config import OnlineConfig
from prefopt.trainers.preference_prompt import PreferencePrompt
from tests.test_house_rules import ParsedError
from tests.test_module_graph import MODULES, ROOT

PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
RUN_BY = {
    "constraints": "tests/weighting/test_constraints_document.py",
    "evaluation": "tests/reward_models/evaluation/test_document.py",
    "games": "tests/games/test_document.py",
    "offline": "tests/offline/test_document.py",
    "online": "tests/online/test_document.py",
    "serving": "tests/reward_models/serving/test_document.py",
    "weighting": "tests/weighting/test_document.py",
}
"""Pages whose Python another test runs."""
NOT_RUN = {"sandbox": "grades on another machine's server"}
"""Pages whose Python nothing runs, and why."""
PLACEHOLDER = "..."


def blocks(page: str, language: str) -> list[str]:
    """Code of a language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python") and page not in {**RUN_BY, **NOT_RUN}]
)
def test_python(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page run one after the other, in a folder with what a run that aligned by preferences left."""
    (tmp_path / "aligned").mkdir()
    PreferencePrompt(("helpful", "brief")).save(tmp_path / "aligned")
    (tmp_path / "page.py").write_text("\n".join(blocks(page, "python")), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path("page.py")


@pytest.mark.parametrize("page", RUN_BY)
def test_python_that_another_test_runs(page: str) -> None:
    """That test is there, reads the page and its Python blocks; the page has some."""
    text = (ROOT / RUN_BY[page]).read_text(encoding="utf-8")
    assert f'"{page}.md"' in text
    assert "python" in text
    assert blocks(page, "python")


def command_lines() -> list[tuple[str, str]]:
    """Commands in fences and in indented lines, continued ones put together, comments and pipes left out."""
    found = []
    for page, text in PAGES.items():
        fenced = "\n".join(blocks(page, "bash") + blocks(page, "console"))
        indented = "\n".join(re.findall(r"^    .*$", text, re.MULTILINE))
        for line in f"{fenced}\n{indented}".replace("\\\n", " ").splitlines():
            match = re.match(r"\s*(?:\$ )?prefopt ([a-z-]+.*)$", line)
            if match:
                found.append((page, match[1]))
    return found


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_commands(page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is there and takes every flag; a line with ``...`` may leave out what is required."""
    words = shlex.split(line, comments=True)
    short = PLACEHOLDER in words
    words = [word for word in words if word != PLACEHOLDER]
    command = importlib.import_module(COMMANDS[words[0]].module)
    parse = arguments.parse

    def parse_then_stop(*given: object) -> None:
        parse(*given)  # type: ignore[call-overload]
        raise ParsedError

    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for name in ("align.yaml", "run.yaml"):
        (tmp_path / name).write_text("" if short or "offline" in words[0] else ONLINE)
    if words[0] == "align-offline" and "run.yaml" in words:
        (tmp_path / "run.yaml").write_text("model: M\ndata: D\noutput_dir: out\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(arguments, "parse", parse_then_stop)
    monkeypatch.setattr(command, "parse", parse_then_stop, raising=False)
    with pytest.raises((ParsedError, UserError) if short else ParsedError) as stopped:
        command.run(words[1:])
    assert stopped.type is ParsedError or "must be given" in str(stopped.value)


ONLINE = "model: M\ndata: D\nrewards: [{source: exact_answer}]\noutput_dir: out\n"


@pytest.mark.parametrize(("page", "text"), [(page, text) for page in PAGES for text in blocks(page, "yaml")])
def test_yaml(page: str, text: str) -> None:
    """Every key is one of the command that the page is about."""
    classes = (OfflineConfig,) if page == "offline" else (AlignOnlineArguments, OnlineConfig)
    known = {field.name for one in classes for field in fields(one)}
    assert set(yaml.safe_load(text)) <= known


@pytest.mark.parametrize(
    "target", [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)]+)\)", PAGES[page])]
)
def test_links(target: tuple[str, str]) -> None:
    """A link to a file leads to one."""
    link = target[1].partition("#")[0]
    assert not link or "://" in link or (ROOT / "docs" / link).exists()


@pytest.mark.parametrize("name", [name for name, path in MODULES.items() if ">>> " in path.read_text(encoding="utf-8")])
def test_docstrings(name: str) -> None:
    """Examples behind ``>>>`` run, and give what stands below them."""
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
