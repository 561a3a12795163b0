"""Every module imports, and the light entrances stay light."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from tests.test_module_graph import MODULES

HEAVY = ("trl", "transformers", "torch", "datasets", "accelerate", "matplotlib")


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_module_imports(name: str) -> None:
    """A module that cannot be imported fails here under its own name."""
    assert importlib.import_module(name).__name__ == name


def loaded_by(code: str) -> set[str]:
    """Which heavy libraries a fresh interpreter has loaded after running ``code``."""
    tail = f"; import sys; print('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=True)
    return set(done.stdout.rsplit("LOADED", 1)[1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import prefopt",
        "from prefopt.cli import main; main(['--help'])",
        "from prefopt.cli import main; main(['--version'])",
        "from prefopt.cli import main; main(['no-such-command'])",
    ],
)
def test_the_entrance_loads_nothing_heavy(code: str) -> None:
    """Help, version and a mistyped command answer without torch, transformers or trl."""
    assert loaded_by(code) == set()


def test_recipes_load_torch_alone() -> None:
    """Building an objective needs torch, and neither transformers nor trl."""
    assert loaded_by("from prefopt import recipes; recipes.build('grpo')") == {"torch"}
