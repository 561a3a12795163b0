"""Where tensors lie in the safetensors files of a folder, and their numbers piece by piece."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from reward_models.errors import ModelError
from reward_models.folder import ADAPTER_INFO
from reward_models.safe_folder import check_weights

PIECE = 1 << 18
KINDS = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where a tensor's bytes are in a safetensors file, and what they mean."""

    file: Path
    kind: str
    shape: tuple[int, ...]
    begin: int
    end: int

    def pieces(self) -> Iterator[Tensor]:
        """Yield the numbers in order, ``PIECE`` at a time, each in the memory of the one before."""
        kind = KINDS[self.kind]
        buffer = bytearray(min(PIECE * kind.itemsize, self.end - self.begin))
        with self.file.open("rb") as handle:
            handle.seek(self.begin)
            for start in range(self.begin, self.end, max(1, len(buffer))):
                size = min(len(buffer), self.end - start)
                handle.readinto(memoryview(buffer)[:size])
                yield torch.frombuffer(buffer, dtype=kind, count=size // kind.itemsize)


@dataclass(frozen=True)
class Weights:
    """Where a folder's tensors are: name -> place."""

    folder: Path
    places: Mapping[str, Place]

    @classmethod
    def of(cls, folder: str | Path) -> Weights:
        """Find them. Raises ``ModelError`` where there are none, or the folder holds an adapter."""
        path = Path(folder)
        if (path / ADAPTER_INFO).exists():
            raise ModelError(
                f"{path} holds an adapter: the mean of products B A is not the product of the means. Train with "
                "merge_adapter, or merge it first, and average the whole models"
            )
        check_weights(path)
        files = sorted(path.glob("*.safetensors"))
        found: dict[str, Place] = {}
        for file in files:
            header, entries = header_of(file)
            for name, entry in entries.items():
                begin, end = (len(header) + offset for offset in entry["data_offsets"])
                found[name] = Place(file, entry["dtype"], tuple(entry["shape"]), begin, end)
        return cls(path, found)


def header_of(file: Path) -> tuple[bytes, dict[str, Any]]:
    """Return the first bytes of a safetensors file, up to its data, and its entries in the order of the data.

    The library checks the file first: that places fit and do not overlap.
    """
    try:
        with safe_open(file, framework="pt") as handle:
            handle.keys()
    except SafetensorError as error:
        raise ModelError(f"{file} is damaged: {error}") from error
    with file.open("rb") as given:
        length = given.read(8)
        text = given.read(int.from_bytes(length, "little"))
    entries = {name: entry for name, entry in json.loads(text).items() if name != "__metadata__"}
    ordered = sorted(entries, key=lambda name: (entries[name]["data_offsets"], name))
    return length + text, {name: entries[name] for name in ordered}
