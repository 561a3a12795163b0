"""An installed wheel has all that a checkout has: sample data, templates, types. Built here, run from elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.test_module_graph import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's files, as pip would lay them out."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def files(folder: Path) -> set[str]:
    hidden = {"__pycache__", ".gitkeep"}
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in found if not hidden & set(path.parts)}


@pytest.mark.parametrize(("source", "target"), [("data", "prefopt/_data"), ("reward_models", "reward_models")])
def test_every_file_travels(installed: Path, source: str, target: str) -> None:
    assert files(ROOT / source) - files(installed / target) == set()


def test_templates_and_types_travel(installed: Path) -> None:
    assert files(ROOT / "prefopt") - files(installed / "prefopt") == set()
    assert (installed / "prefopt" / "py.typed").is_file()


def test_the_command_finds_its_data_without_a_checkout(installed: Path, tmp_path: Path) -> None:
    """Run in an empty folder with only the wheel's files on the path: the data is that of the wheel."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    code = "import json, prefopt.assets as assets; print(json.dumps([str(assets.root()), assets.names()]))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    root, names = json.loads(done.stdout)
    assert root == str(installed / "prefopt" / "_data")
    assert names == sorted({Path(file).parts[0] for file in files(ROOT / "data")})
