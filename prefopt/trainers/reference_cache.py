"""Reference log-probabilities on disk, found again by the content that they follow from."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from torch import Tensor

from prefopt.errors import UserError
from prefopt.trainers.checkpointing.together import gathered
from prefopt.trainers.pairs.batches import response_mask
from prefopt.trainers.reading import longest_first
from reward_models.checked_tensors import load_checked, save_checked

logger = logging.getLogger(__name__)
SIDES = ("chosen", "rejected")


def cache_key(model_hash: str, rows: Dataset, precision: str) -> str:
    """Return a SHA-256 of the reference's weights and configuration, the precision, and every token of every row.

    Tokenizer, chat template and truncation act through the tokens alone, so any change of theirs that matters changes
    the key, and none that doesn't. Token masks and weights (``ld_alpha``, learned masks) are put on the stored values
    when a loss is computed: a value a token is kept, never a sum, so one file serves all of them.
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
    values = _read(file, rows)
    # On disks of their own, one process may find what another does not, and it takes all of them to compute.
    everywhere = all(gathered(values is not None))
    if values is None or not everywhere:
        values = {side: list(column) for side, column in compute(rows).items()}
        _check_finite(values, rows)
        if writer:
            _write(file, values)
    _check_finite(values, rows, f" (kept in {file})")
    for side in SIDES:
        rows = rows.add_column(f"ref_{side}_logps", [value.tolist() for value in values[side]])  # type: ignore[call-arg]
    return rows


def _check_finite(values: Mapping[str, Sequence[Tensor]], rows: Dataset, where: str = "") -> None:
    """Raise ``UserError`` for a row of which the reference says what no loss can be computed with."""
    for side in SIDES:
        for i, value in enumerate(values[side]):
            if not bool(torch.isfinite(value).all()):
                raise UserError(
                    f"row {rows[i]['row'] + 1}: the reference gives its {side} response log-probabilities that are not "
                    f"finite{where}. Look at the row and at the reference's weights and precision (float16 overflows "
                    "where bfloat16 does not), or quarantine the row"
                )


def compute_reference(
    rows: Dataset, logps: Callable[[Any], Tensor], collate: Callable[[list[Any]], dict[str, Any]], accelerator: Any,
    batch_size: int, quiet: bool, lengths: Sequence[int],
) -> dict[str, list[Tensor]]:  # fmt: skip
    """Return for each side and row the log-probabilities of its response tokens, computed by all processes together."""
    mine: list[tuple[int, Tensor, Tensor]] = []
    what = "Reference log-probabilities"
    for members, part in longest_first(rows, collate, accelerator, batch_size, lengths, quiet, what):
        found, mask = logps(part).float().cpu(), response_mask(part).cpu()
        values = [row[keep] for row, keep in zip(found, mask, strict=True)]
        mine += [(i, values[j], values[len(members) + j]) for j, i in enumerate(members)]
    everything = sorted(gather_object(mine) if accelerator.num_processes > 1 else mine, key=lambda item: item[0])
    return {side: [item[1 + k] for item in everything] for k, side in enumerate(SIDES)}


def _read(file: Path, rows: Dataset) -> dict[str, list[Tensor]] | None:
    """Return the values of a file; None where there is none, or one that is not what was written for these rows."""
    found = load_checked(file)
    if found is not None:
        lengths = {side: found[f"{side}_lengths"].tolist() for side in SIDES}
        if all(lengths[side] == [len(ids) - (not prompt) for prompt, ids in _sides(rows, side)] for side in SIDES):
            return {side: list(found[side].split(lengths[side])) for side in SIDES}
    if file.exists():
        logger.warning("%s is not what was written for these rows; its log-probabilities are computed anew", file)
    return None


def _sides(rows: Dataset, side: str) -> Iterator[tuple[list[int], list[int]]]:
    return ((row["prompt_ids"], row[f"{side}_ids"]) for row in rows)


def _write(file: Path, values: Mapping[str, list[Tensor]]) -> None:
    tensors: dict[str, Tensor] = {}
    for side in SIDES:
        tensors[side] = torch.cat(values[side])
        tensors[f"{side}_lengths"] = torch.tensor([len(value) for value in values[side]])
    save_checked(tensors, file)
