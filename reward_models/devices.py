"""Which device to run on."""

from __future__ import annotations

import torch

from reward_models.errors import ModelError


def pick_device(name: str | None = None) -> torch.device:
    """The device named, or the accelerator that torch finds, or the CPU.

    Raises:
        ModelError: torch knows no such device, or it is not there.
    """
    if name is None:
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found or torch.device("cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelError(f"device '{name}' cannot be used: {str(error).splitlines()[0]}") from error
