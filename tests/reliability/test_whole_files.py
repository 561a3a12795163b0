"""Files that are there whole or not at all, and caches that are made again where they were damaged."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from prefopt.errors import UserError
from prefopt.trainers.games.pairs import in_chunks, read_chunks
from prefopt.trainers.threshold_search import FILE, ThresholdSearch, Trial
from reward_models.checked_tensors import load_checked, save_checked
from reward_models.whole_files import UNFINISHED, model_written_beside, replace_json, replace_text, written_beside


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """The old one stays, and nothing beside it."""
    replace_text(tmp_path / "page", "old")

    def refused(waiting: Path) -> None:
        waiting.write_text("ne", encoding="utf-8")
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"), written_beside(tmp_path / "page") as waiting:
        refused(waiting)
    assert (tmp_path / "page").read_text() == "old"
    assert names(tmp_path) == ["page"]
    replace_json(tmp_path / "deep" / "numbers.json", [1, 2])
    assert json.loads((tmp_path / "deep" / "numbers.json").read_text()) == [1, 2]


def test_who_reads_meanwhile_reads_the_old_file_to_its_end(tmp_path: Path) -> None:
    """It is replaced in one step and never written over: an open file is still the old one, whole."""
    replace_text(tmp_path / "page", "the old page")
    with (tmp_path / "page").open(encoding="utf-8") as opened:
        replace_text(tmp_path / "page", "new")
        assert opened.read() == "the old page"
    assert (tmp_path / "page").read_text(encoding="utf-8") == "new"


def model(folder: Path, value: float, shards: int = 1) -> None:
    """Write what stands for a model: a configuration and weights in one file or several."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"value": value}), encoding="utf-8")
    if shards == 1:
        save_file({"weight": torch.full((3,), value)}, folder / "model.safetensors")
        return
    for number in range(1, shards + 1):
        name = f"model-{number:05d}-of-{shards:05d}.safetensors"
        save_file({f"weight{number}": torch.full((3,), value)}, folder / name)
    (folder / "model.safetensors.index.json").write_text("{}", encoding="utf-8")


def test_a_model_in_one_file_over_one_in_several(tmp_path: Path) -> None:
    """No shard and no index of the old one is left; other files of the folder are."""
    model(tmp_path, 1.0, shards=3)
    (tmp_path / "history.jsonl").write_text("{}\n", encoding="utf-8")
    with model_written_beside(tmp_path) as beside:
        assert beside.name.startswith(UNFINISHED)
        model(beside, 2.0)
    assert names(tmp_path) == ["config.json", "history.jsonl", "model.safetensors"]
    assert load_file(tmp_path / "model.safetensors")["weight"].tolist() == [2.0, 2.0, 2.0]


def test_a_model_that_cannot_be_written(tmp_path: Path) -> None:
    """The old one stays."""
    model(tmp_path, 1.0)

    def refused(beside: Path) -> None:
        model(beside, 2.0)
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"), model_written_beside(tmp_path) as beside:
        refused(beside)
    assert names(tmp_path) == ["config.json", "model.safetensors"]
    assert load_file(tmp_path / "model.safetensors")["weight"].tolist() == [1.0, 1.0, 1.0]
    assert json.loads((tmp_path / "config.json").read_text()) == {"value": 1.0}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_a_flipped_bit_in_a_cache(dtype: torch.dtype, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every byte of the file is watched: header, values, and the checksum itself."""
    file = tmp_path / "states.safetensors"
    held = {"states": torch.arange(6).reshape(2, 3).to(dtype), "one": torch.ones(()).to(dtype)}
    save_checked(held, file)
    found = load_checked(file)
    assert found is not None
    assert all(torch.equal(found[name], value) for name, value in held.items())
    whole = file.read_bytes()
    start = len(whole) - sum(value.numel() * value.element_size() for value in held.values())
    for place in range(start, len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert load_checked(file) is None
    file.write_bytes(whole[:-1])
    assert load_checked(file) is None
    assert "states.safetensors" in caplog.text


def test_one_element_of_a_wider_tensor(tmp_path: Path) -> None:
    """It counts as contiguous whatever its stride, here 3."""
    save_checked({"one": torch.arange(6.0).reshape(2, 3).t()[1:2, :1]}, tmp_path / "one.safetensors")
    found = load_checked(tmp_path / "one.safetensors")
    assert found is not None
    assert found["one"].tolist() == [[1.0]]


def test_a_damaged_chunk_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Three chunks of two rows; the second one is cut short: only that one is made again."""
    made: list[int] = []

    def work(number: int, rows: list[int]) -> list[int]:
        made.append(number)
        return [10 * row for row in rows]

    in_chunks(tmp_path, "rows", 2, range(6), work)
    chunk = tmp_path / "rows_0001.json"
    chunk.write_bytes(chunk.read_bytes()[:3])
    in_chunks(tmp_path, "rows", 2, range(6), work)
    assert made == [0, 1, 2, 1]
    assert list(read_chunks(tmp_path, "rows")) == [0, 10, 20, 30, 40, 50]
    assert "rows_0001.json is damaged and made again" in caplog.text


def test_a_damaged_search(tmp_path: Path) -> None:
    """The file of trials is named, and what to do."""
    search = ThresholdSearch((0.0,), (1.0,), most=3)

    def evaluate(thresholds: tuple[float, ...], number: int) -> Trial:
        return Trial(thresholds, -abs(thresholds[0] - 0.5))

    found: Any = search(evaluate, tmp_path)
    assert len(found.trials) == 3
    (tmp_path / FILE).write_text('{"lower": [0', encoding="utf-8")
    with pytest.raises(UserError, match=r"thresholds.json is damaged: .*; remove it, and the trials are run anew"):
        search(evaluate, tmp_path)
