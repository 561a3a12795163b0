"""States of answers and of their prompts under a frozen model, kept on disk in parts, so that a stopped run goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from tqdm.auto import tqdm

from reward_models.checked_tensors import load_checked, save_checked
from reward_models.errors import ModelError
from reward_models.whole_files import replace_json

if TYPE_CHECKING:
    from reward_models.formatting import Encoded
    from reward_models.model import RewardModel

ROWS = 2048
MANIFEST = "manifest.json"


def embed(
    model: RewardModel,
    rows: Sequence[Encoded],
    folder: str | Path,
    batch_size: int = 16,
    part: tuple[int, int] = (0, 1),
    quiet: bool = False,
) -> tuple[Tensor, Tensor] | None:
    """Return states of the answers and of their prompts, each ``(N, d)`` float32, from disk where they are.

    Rows are embedded 2,048 at a time in the batches of the scoring engine, where answers to a prompt share its tokens,
    and written before the next are begun. Several processes may embed parts of the same rows side by side.

    Args:
        model: whose weights stay as they are. rows: tokenised.
        folder: made where absent; of one model and one set of rows.
        batch_size: rows in one forward pass, about.
        part: ``(i, n)``: embed every n-th block from the i-th on, and return None unless all blocks are there.
        quiet: no progress bar.

    Raises:
        ModelError: the folder holds states of another model or of other rows.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    _claim(target, _fingerprint(model, rows))
    blocks = range(0, len(rows), ROWS)
    mine = [start for number, start in enumerate(blocks) if number % part[1] == part[0]]
    for start in tqdm(mine, desc="Embedding", disable=quiet, unit=f"{ROWS} rows"):
        if load_checked(_file(target, start)) is None:
            answers, prompts = model.embed_encoded(rows[start : start + ROWS], batch_size)
            save_checked({"answers": answers, "prompts": prompts}, _file(target, start))
    found = [load_checked(_file(target, start)) for start in blocks]
    if any(block is None for block in found):
        return None
    whole = [block for block in found if block is not None]
    return torch.cat([block["answers"] for block in whole]), torch.cat([block["prompts"] for block in whole])


def _file(folder: Path, start: int) -> Path:
    return folder / f"states-{start:09d}.safetensors"


def _claim(folder: Path, fingerprint: str) -> None:
    manifest = folder / MANIFEST
    if manifest.exists():
        if json.loads(manifest.read_text(encoding="utf-8"))["fingerprint"] != fingerprint:
            raise ModelError(
                f"{folder} holds states of another model or of other rows; name another folder or remove it"
            )
        return
    replace_json(manifest, {"fingerprint": fingerprint}, indent=None)


def _fingerprint(model: RewardModel, rows: Sequence[Encoded]) -> str:
    """Return a SHA-256 of the backbone's weights, the pooling, and every token of every row."""
    digest = hashlib.sha256(f"{model.pooling} {len(rows)}".encode())
    for name, value in sorted(model.backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    for row in rows:
        digest.update(f"{row.response_start}:{','.join(map(str, row.input_ids))};".encode())
    return digest.hexdigest()
