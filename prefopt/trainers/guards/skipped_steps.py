"""A skipped step on disk: the batch that it was made of, as safetensors, and a page about it, as JSON.

about, tensors = read_skipped("run/skipped_steps/step-12.json")
about["rows"]                      # what was trained on, with texts; "finite": false is a row that was not
tensors["0.trees.input_ids"]       # of the first micro-batch, as the model saw it
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

FOLDER = "skipped_steps"
MOST_DUMPS = 10
MOST_BYTES = 64 * 2**20
"""Of the tensors of one step; what does not fit is listed as left out."""


def dump(
    folder: Path, step: int, process: int, processes: int, about: Mapping[str, Any], batches: Sequence[Any]
) -> str:
    """Write a step under ``folder/skipped_steps``; return the page's path, or "" where there are enough already.

    Args:
        folder: of the run.
        step: number of the step, from 1 on.
        process, processes: each process writes what it held.
        about: what is known of the step, as JSON can hold it.
        batches: its micro-batches.
    """
    place = folder / FOLDER
    name = f"step-{step}" + (f"-rank-{process}" if processes > 1 else "")
    page = place / f"{name}.json"
    own = f"step-*-rank-{process}.json" if processes > 1 else "step-*.json"
    if not page.exists() and len(list(place.glob(own))) >= MOST_DUMPS:
        return ""
    place.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Tensor] = {}
    left_out, room = {}, MOST_BYTES
    for number, batch in enumerate(batches):
        for key, value in _tensors(batch, str(number)):
            size = value.numel() * value.element_size()
            if size > room:
                left_out[key] = list(value.shape)
                continue
            room -= size
            kept[key] = value.detach().cpu().clone().contiguous()
    save_file(kept, place / f"{name}.safetensors")
    whole = {"step": step, "process": process, "processes": processes, **about, "left_out": left_out}
    page.write_text(json.dumps(plain(whole), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return str(page)


def read_skipped(page: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what `dump` wrote: the page, and the tensors by ``MICRO-BATCH.NAME``."""
    page = Path(page)
    return json.loads(page.read_text(encoding="utf-8")), load_file(page.with_suffix(".safetensors"))


def plain(value: Any) -> Any:
    """Return a value as JSON holds it; numbers that are not finite become "nan", "inf" and "-inf"."""
    if isinstance(value, Tensor):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _tensors(value: Any, key: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield key, value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from _tensors(one, f"{key}.{name}")
    elif isinstance(value, (list, tuple)):
        for number, one in enumerate(value):
            yield from _tensors(one, f"{key}.{number}")
