"""Tensors on disk that are read as they were written or not at all: one file, with a checksum of its contents."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from reward_models.whole_files import written_beside

logger = logging.getLogger(__name__)
CHECKSUM = "sha256"


def save_checked(tensors: Mapping[str, Tensor], file: Path) -> None:
    """Write tensors with a SHA-256 of their names, shapes and values; whole or not at all."""
    with written_beside(file) as waiting:
        save_file(dict(tensors), waiting, {CHECKSUM: checksum(tensors)})


def load_checked(file: Path) -> dict[str, Tensor] | None:
    """Return what `save_checked` wrote; None where there is no file, or one that was torn or changed."""
    if not file.exists():
        return None
    try:
        with safe_open(file, "pt") as opened:
            found = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            said = (opened.metadata() or {}).get(CHECKSUM)
    except (SafetensorError, OSError, ValueError) as error:
        logger.warning("%s cannot be read: %s", file, error)
        return None
    if said != checksum(found):
        logger.warning("%s is torn or was changed", file)
        return None
    return found


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return a SHA-256 of tensors with their names, types and shapes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        # A copy: one element is contiguous whatever its stride, and could not be seen as bytes.
        value = tensors[name].detach().cpu().clone(memory_format=torch.contiguous_format)
        digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
