"""A state may grow with what it has seen, and still belongs to its recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from prefopt import recipes
from prefopt.errors import UserError
from prefopt.trainers.progress import Progress, load, save


def restored(folder: Path, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Write a checkpoint with this state of CAPO and read it."""
    save(Progress(3, state), folder, 0, 1, "capo")
    then = load(folder, 0, 1, recipes.build("capo").init_state(), torch.device("cpu"))
    assert then is not None
    return then.state


def test_moments_of_rows_that_were_seen(tmp_path: Path) -> None:
    """CAPO starts with no row of width 0; five rows of width 4 later it is still CAPO's state, bit for bit."""
    state = recipes.build("capo").init_state()
    grown = {
        "policy_weight.0/ids": torch.arange(5),
        "policy_weight.0/first": torch.randn(5, 4),
        "policy_weight.0/second": torch.rand(5, 4),
        "policy_weight.0/step": torch.tensor(7),
    }
    assert grown.keys() == state.keys()
    found = restored(tmp_path, grown)
    assert all(torch.equal(found[name], value) for name, value in grown.items())


def test_another_shape_is_another_state(tmp_path: Path) -> None:
    """A scalar that has become a vector, or a matrix of three dimensions, is refused."""
    state = recipes.build("capo").init_state()
    for name, wrong in (("step", torch.zeros(2)), ("first", torch.zeros(1, 2, 3))):
        with pytest.raises(UserError, match="holds the state of recipe 'capo'"):
            restored(tmp_path, {**state, f"policy_weight.0/{name}": wrong})
