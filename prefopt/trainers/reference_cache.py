"""Reference log-probabilities on disk, found again by the content that they follow from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object, send_to_device
from datasets import Dataset
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

from prefopt.trainers.pair_batches import response_mask
from prefopt.trainers.token_budget import parts_of

SIDES = ("chosen", "rejected")


def cache_key(model_hash: str, rows: Dataset, precision: str) -> str:
    """Return a SHA-256 of the reference's weights, the precision, and every token of every row.

    Tokenizer, chat template and truncation act through the tokens alone, so any change of theirs that matters changes
    the key, and none that doesn't.
    """
    digest = hashlib.sha256(f"{model_hash} {precision}".encode())
    for row in rows:
        for name in ("prompt_ids", "chosen_ids", "rejected_ids"):
            digest.update(f"{len(row[name])}:{','.join(map(str, row[name]))};".encode())
    return digest.hexdigest()


def with_reference(
    rows: Dataset, folder: Path, key: str, compute: Callable[[Dataset], Mapping[str, Sequence[Tensor]]], writer: bool
) -> Dataset:
    """Return the rows with columns ``ref_chosen_logps`` and ``ref_rejected_logps``, from the file or computed once.

    Args:
        rows: tokenised pairs.
        folder: where the file is.
        key: see `cache_key`.
        compute: gives for each side one tensor a row, a value a response token; called on all processes together.
        writer: whether this process writes the file.
    """
    file = folder / f"{key}.safetensors"
    if file.exists():
        found = load_file(file)
        values = {side: list(found[side].split(found[f"{side}_lengths"].tolist())) for side in SIDES}
    else:
        values = {side: list(column) for side, column in compute(rows).items()}
        if writer:
            _write(file, values)
    for side in SIDES:
        rows = rows.add_column(f"ref_{side}_logps", [value.tolist() for value in values[side]])  # type: ignore[call-arg]
    return rows


def compute_reference(
    rows: Dataset, logps: Callable[[Any], Tensor], collate: Callable[[list[Any]], dict[str, Any]], accelerator: Any,
    batch_size: int, quiet: bool, lengths: Sequence[int],
) -> dict[str, list[Tensor]]:  # fmt: skip
    """Return for each side and row the log-probabilities of its response tokens, computed by all processes together."""
    rank, world = accelerator.process_index, accelerator.num_processes
    mine: list[tuple[int, Tensor, Tensor]] = []
    # Neighbours of similar length need little padding; longest first, so that too little memory shows at once.
    order = sorted(range(len(rows)), key=lambda i: -lengths[i])
    starts = range(rank * batch_size, len(rows), world * batch_size)
    for start in tqdm(starts, desc="Reference log-probabilities", disable=quiet or rank > 0):
        picked = order[start : start + batch_size]
        batch = send_to_device(collate([rows[i] for i in picked]), accelerator.device)
        for part in parts_of(batch):
            found, mask = logps(part).float().cpu(), response_mask(part).cpu()
            values = [row[keep] for row, keep in zip(found, mask, strict=True)]
            members = [picked[place] for place in part["place"].tolist()] if "place" in part else picked
            mine += [(i, values[j], values[len(members) + j]) for j, i in enumerate(members)]
    everything = sorted(gather_object(mine) if world > 1 else mine, key=lambda item: item[0])
    return {side: [item[1 + k] for item in everything] for k, side in enumerate(SIDES)}


def _write(file: Path, values: Mapping[str, list[Tensor]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Any] = {}
    for side in SIDES:
        tensors[side] = torch.cat(values[side])
        tensors[f"{side}_lengths"] = torch.tensor([len(value) for value in values[side]])
    waiting = file.with_suffix(f".tmp-{os.getpid()}")
    save_file(tensors, waiting)
    os.replace(waiting, file)
