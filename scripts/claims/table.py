"""The table of all experiments: every file of ``experiments/``."""

from __future__ import annotations

import importlib
import pkgutil

from scripts.claims import experiments as folder
from scripts.claims.experiment import EXPERIMENTS, Experiment


def experiments() -> dict[str, Experiment]:
    """Import every file of ``experiments/`` and return what they registered, by recipe."""
    for module in pkgutil.iter_modules(folder.__path__):
        importlib.import_module(f"{folder.__name__}.{module.name}")
    return dict(sorted(EXPERIMENTS.items()))
