"""Weights of several models averaged from disk to disk, one tensor at a time (WARM, arXiv 2401.12187).

    average_models(["run/member-0", "run/member-1", "run/member-2"], "averaged")

Memory holds a piece of one tensor of each member, a quarter of a million numbers, however large the models are.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor

from reward_models.errors import ModelError
from reward_models.folder import HEAD_INFO, read_info
from reward_models.safe_folder import read_settings
from reward_models.tensor_files import KINDS, Weights, header_of

INDEX = "model.safetensors.index.json"
RECORD = "average.json"
# What a configuration says of a file's making, not of the model.
IGNORED = frozenset({"_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache", "pad_token_id"})
COPIED = ("config.json", "generation_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer*",
          "vocab*", "merges.txt", "*.model", "chat_template*", HEAD_INFO, INDEX)  # fmt: skip
CODE = (".py", ".pyc", ".so")
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "spiece.model", "tokenizer.model", "vocab.json", "merges.txt")


def average_models(
    members: Sequence[str | Path], output: str | Path, weights: Sequence[float] | None = None
) -> dict[str, Any]:
    """Write the (weighted) mean of the members' weights, head included, as a model folder; return its record.

    ``phi = sum_i w_i phi_i`` with ``sum w = 1``, in float64 for each tensor, saved in the members' type. Configuration,
    tokenizer and layout are the first member's. Score statistics and temperature are not carried over: they are those
    of no member.

    Args:
        members: folders of models with one architecture, tokenizer and set of heads, from one pretrained start.
        output: a folder that is not there yet. weights: one a member, or equal; divided by their sum.

    Raises:
        ModelError: fewer than two members, something that differs between them, or a folder that exists.
    """
    if len(members) < 2:
        raise ModelError(f"averaging needs at least two models, not {len(members)}")
    shares = _shares(weights, len(members))
    target = Path(output)
    if target.exists() and any(target.iterdir()):
        raise ModelError(f"{target} is not empty; name a new folder")
    found = [Weights.of(member) for member in members]
    check_alike([weights.folder for weights in found])
    _check_tensors(found)
    waiting = target.with_name(f"{target.name}.tmp-{uuid4().hex[:8]}")
    waiting.mkdir(parents=True)
    try:
        _copy_small_files(found[0].folder, waiting)
        for file in sorted({place.file for place in found[0].places.values()}):
            _write_means(file, waiting / file.name, found, shares)
        record = {
            "members": [str(weights.folder) for weights in found],
            "weights": shares,
            "sha256": [_digest(weights) for weights in found],
        }
        (waiting / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        if target.exists():
            target.rmdir()
        os.replace(waiting, target)
    except BaseException:
        shutil.rmtree(waiting, ignore_errors=True)
        raise
    return record


def check_alike(folders: Sequence[Path]) -> None:
    """Raise ``ModelError`` that names the first thing in which models differ that must not differ."""
    first = folders[0]
    for other in folders[1:]:
        ours, theirs = (_configuration(folder) for folder in (first, other))
        for key in sorted({*ours, *theirs}):
            if ours.get(key) != theirs.get(key):
                raise ModelError(
                    f"{other} and {first} differ in {key} ({theirs.get(key)!r}, {ours.get(key)!r}): models of two "
                    "architectures have no average"
                )
        for name in TOKENIZER_FILES:
            if _content(first / name) != _content(other / name):
                raise ModelError(
                    f"{other} and {first} have different tokenizers ({name}): their tokens mean other things"
                )
        _check_heads(first, other)


def _check_heads(first: Path, other: Path) -> None:
    ours, theirs = (read_info(folder) or {} for folder in (first, other))
    for key, why in (
        ("heads", "a head would be averaged with another"),
        ("pooling", "their heads read different states"),
        ("start", "heads that were drawn apart have no common average; start all members from one folder"),
    ):
        if ours.get(key) != theirs.get(key):
            raise ModelError(f"{other} and {first} differ in {key} ({theirs.get(key)!r}, {ours.get(key)!r}): {why}")


def _check_tensors(found: Sequence[Weights]) -> None:
    first = found[0]
    for other in found[1:]:
        missing = sorted(set(first.places) ^ set(other.places))
        if missing:
            raise ModelError(f"{other.folder} and {first.folder} do not hold the same tensors, such as {missing[0]}")
        for name, ours in first.places.items():
            theirs = other.places[name]
            if (ours.kind, ours.shape) != (theirs.kind, theirs.shape):
                raise ModelError(
                    f"tensor {name} is {theirs.kind} {theirs.shape} in {other.folder} and {ours.kind} {ours.shape} in "
                    f"{first.folder}"
                )
    unknown = next((place.kind for place in first.places.values() if place.kind not in KINDS), None)
    if unknown is not None:
        raise ModelError(f"{first.folder} holds numbers of type {unknown}; known are {', '.join(KINDS)}")


def _write_means(source: Path, target: Path, found: Sequence[Weights], shares: Sequence[float]) -> None:
    """Write a file like ``source``, a member's, with each tensor's mean in its place.

    Names, types, shapes and places are the same, so the header is copied, and the data follow piece by piece.
    """
    header, entries = header_of(source)
    with target.open("wb") as file:
        file.write(header)
        for name in entries:
            for pieces in zip(*(weights.places[name].pieces() for weights in found), strict=True):
                _check_finite(name, pieces, found)
                file.write(_mean(name, pieces, shares).view(torch.uint8).numpy().data)
        file.flush()
        os.fsync(file.fileno())


def _check_finite(name: str, pieces: Sequence[Tensor], found: Sequence[Weights]) -> None:
    """Raise ``ModelError`` for a member whose numbers would make the mean's of no use."""
    for piece, weights in zip(pieces, found, strict=True):
        if piece.is_floating_point() and not bool(torch.isfinite(piece).all()):
            raise ModelError(
                f"tensor {name} of {weights.folder} holds NaN or infinity, as after a run that diverged; leave that "
                "member out, or take an earlier checkpoint of it"
            )


def _mean(name: str, pieces: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    first = pieces[0]
    if not first.is_floating_point():
        if any(not torch.equal(first, other) for other in pieces[1:]):
            raise ModelError(f"tensor {name} holds whole numbers that differ between the members")
        return first
    total = torch.zeros_like(first, dtype=torch.float64)
    for piece, share in zip(pieces, shares, strict=True):
        total.add_(piece, alpha=share)
    return total.to(first.dtype)


def _shares(weights: Sequence[float] | None, count: int) -> list[float]:
    given = [1.0] * count if weights is None else [float(one) for one in weights]
    if len(given) != count:
        raise ModelError(f"{len(given)} weights for {count} models; give one each")
    total = sum(given)
    if not math.isfinite(total) or total <= 0:
        raise ModelError(f"the weights add up to {total}; they must be finite with a positive sum")
    return [one / total for one in given]


def _configuration(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.exists():
        raise ModelError(f"{folder} has no config.json; name a model folder")
    return {key: value for key, value in read_settings(file).items() if key not in IGNORED}


def _content(file: Path) -> bytes | None:
    return hashlib.sha256(file.read_bytes()).digest() if file.exists() else None


def _copy_small_files(source: Path, target: Path) -> None:
    for file in {file for pattern in COPIED for file in source.glob(pattern) if file.is_file()}:
        if file.suffix in CODE:
            continue
        shutil.copyfile(file, target / file.name)
    info = read_info(target)
    if info is not None:
        info |= {"statistics": {}}
        info.pop("temperature", None)
        (target / HEAD_INFO).write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")


def _digest(weights: Weights) -> str:
    """Return a SHA-256 over a member's files of weights."""
    digest = hashlib.sha256()
    for file in sorted({place.file for place in weights.places.values()}):
        with file.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
