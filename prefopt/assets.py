"""Where the embedded sample data and the tiny model lie: in the installed wheel, or in ``data/`` of a checkout."""

from __future__ import annotations

from pathlib import Path

from prefopt.errors import UserError, nearest

PACKAGE = Path(__file__).resolve().parent
INSTALLED, CHECKOUT = PACKAGE / "_data", PACKAGE.parent / "data"


def root() -> Path:
    """Return the folder that holds all assets. Raises UserError where the installation has none."""
    for folder in (INSTALLED, CHECKOUT):
        if folder.is_dir():
            return folder
    raise UserError(
        f"The sample data is missing: neither {INSTALLED} nor {CHECKOUT} exists. Install prefopt again from its wheel "
        "or from a full checkout."
    )


def names() -> list[str]:
    """Return the assets' names, sorted: files and folders directly under the root."""
    return sorted(entry.name for entry in root().iterdir() if not entry.name.startswith("."))


def path(name: str) -> Path:
    """Return the path of one asset, such as ``"model"`` or ``"preferences/train.jsonl"``.

    Raises UserError for a name that does not exist, and for one that leads out of the assets' folder.
    """
    folder = root()
    found = folder / name
    if not found.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"'{name}' leads out of the folder of the sample data, {folder}.")
    if not found.exists():
        raise UserError(f"The sample data has no '{name}' (in {folder}).{nearest(name, names())}")
    return found
