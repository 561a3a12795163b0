"""Cached log-probabilities of a reference: found for the same content, for no other, and never from a torn file."""

from __future__ import annotations

import json

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from prefopt import recipes
from prefopt.offline.reference import Folder
from prefopt.offline.slots import TokenMask
from prefopt.trainers import reference_cache
from prefopt.trainers.offline import AdapterArguments, align_offline
from prefopt.trainers.pairs.reference import ReferenceLogps, fingerprint
from prefopt.trainers.reference_cache import with_reference
from tests.tiny import tiny_llama, tiny_tokenizer
from tests.trainers.pairs import pairs, quiet


def run(folder, cache, model=None, data=None, tokenizer=None, objective=None, **settings):
    precomputed = {} if cache is None else {"precompute_reference": True, "reference_cache_dir": str(cache)}
    config = quiet(folder, **{"max_steps": 2, **precomputed, **settings})
    return align_offline(
        model or tiny_llama(), data or pairs(), config, tokenizer=tokenizer or tiny_tokenizer(), objective=objective
    )


def losses(done) -> list[float]:
    return [line["loss"] for line in done.log if "loss" in line]


def files(cache) -> list:
    return sorted(cache.glob("*.safetensors"))


def another_rotary_base():
    """The same weights under another configuration."""
    model = tiny_llama()
    config = type(model.config).from_dict(model.config.to_dict())
    config.rope_parameters = {"rope_type": "default", "rope_theta": 77.0}
    other = type(model)(config)
    other.load_state_dict(model.state_dict())
    return other


def another_tokenizer():
    """Two bytes change places, so the same text has other ids."""
    tokenizer = tiny_tokenizer()
    plan = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = plan["model"]["vocab"]
    vocabulary["B"], vocabulary["N"] = vocabulary["N"], vocabulary["B"]
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(plan))
    return tokenizer


def one_character_more():
    return pairs().map(lambda row, i: {"chosen": row["chosen"] + "!" * (i == 3)}, with_indices=True)


CHANGES = {
    "weights": lambda: {"model": tiny_llama(seed=1)},
    "configuration": lambda: {"model": another_rotary_base()},
    "tokenizer": lambda: {"tokenizer": another_tokenizer()},
    "truncation": lambda: {"max_length": 32},
    "side of truncation": lambda: {"max_length": 32, "over_length": "truncate_response"},
    "one character": lambda: {"data": one_character_more()},
    "order of rows": lambda: {"data": pairs().select(range(7, -1, -1))},
    "fewer rows": lambda: {"data": pairs(7)},
    "precision": lambda: {"model": tiny_llama().bfloat16()},
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_the_values_misses_the_cache(tmp_path, change):
    """Two files, and the second run's losses are those of a run without a cache."""
    cache, changed = tmp_path / "cache", CHANGES[change]
    if "max_length" in changed():
        run(tmp_path / "first", cache, max_length=33)
    else:
        run(tmp_path / "first", cache)
    found = run(tmp_path / "second", cache, **changed())
    assert len(files(cache)) == 2
    live = run(tmp_path / "live", None, **changed())
    assert losses(found) == pytest.approx(losses(live), abs=2e-2 if change == "precision" else 1e-6)


class First(TokenMask):
    """The first three tokens alone count."""

    def __call__(self, pairs):
        return tuple(
            (torch.arange(mask.shape[1]) < 3).expand_as(mask) for mask in (pairs.chosen_mask, pairs.rejected_mask)
        )


def test_token_masks_act_on_what_is_stored(tmp_path):
    """Stored are values of tokens, no sums: one file serves every mask, with the losses of a live reference."""
    cache, folder = tmp_path / "cache", tmp_path / "reference"
    tiny_llama(seed=2).save_pretrained(folder)
    first = {}
    for name, masks in (("plain", ()), ("masked", (First(),))):
        objective = recipes.build("dpo", token_mask=masks, reference=Folder(str(folder)))
        cached = losses(run(tmp_path / name, cache, objective=objective))
        assert cached == pytest.approx(losses(run(tmp_path / f"{name} live", None, objective=objective)), abs=1e-6)
        first[name] = cached[0]
    assert len(files(cache)) == 1
    assert abs(first["plain"] - first["masked"]) > 1e-4


@pytest.mark.parametrize("damage", ["cut short", "empty", "one bit", "another file", "of fewer rows", "no checksum"])
def test_a_torn_file_is_found_and_computed_again(tmp_path, damage, caplog):
    """The run says so, its losses are right, and the file is whole afterwards."""
    cache = tmp_path / "cache"
    tiny_llama(seed=2).save_pretrained(tmp_path / "reference")
    settings = {"reference_model": str(tmp_path / "reference")}
    expected = losses(run(tmp_path / "first", cache, **settings))
    (file,) = files(cache)
    content = file.read_bytes()
    if damage == "cut short":
        file.write_bytes(content[:-40])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "one bit":
        file.write_bytes(content[:-3] + bytes([content[-3] ^ 64]) + content[-2:])
    elif damage == "another file":
        file.write_text("not found", encoding="utf-8")
    elif damage == "no checksum":
        save_file(load_file(file), file)
    else:
        run(tmp_path / "fewer", tmp_path / "other", data=pairs(7), **settings)
        file.write_bytes(files(tmp_path / "other")[0].read_bytes())
    assert losses(run(tmp_path / "second", cache, **settings)) == expected
    assert "computed anew" in caplog.text
    assert file.read_bytes() == content


def test_whole_files_are_not_computed_again(tmp_path, monkeypatch):
    run(tmp_path / "first", tmp_path / "cache")

    def refuse(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(ReferenceLogps, "__call__", refuse)
    run(tmp_path / "second", tmp_path / "cache", recipe="ipo", recipe_settings={"beta": 0.3})
    assert len(files(tmp_path / "cache")) == 1


def test_two_trained_adapters_on_one_base_have_two_files(tmp_path):
    """A policy that brings its adapter is its own reference: base and adapter together. Without, the base alone."""
    adapter = AdapterArguments(use_peft=True, lora_r=2, lora_alpha=4)
    trained = []
    for steps in (1, 2):
        config = quiet(tmp_path / f"adapter {steps}", max_steps=steps, learning_rate=1.0)
        trained.append(align_offline(tiny_llama(), pairs(), config, tokenizer=tiny_tokenizer(), adapter=adapter).model)
    assert fingerprint(trained[0]) != fingerprint(trained[1])
    assert fingerprint(trained[0], without=True) == fingerprint(trained[1], without=True)
    for number, model in enumerate(trained):
        run(tmp_path / f"run {number}", tmp_path / "cache", model=model)
    assert len(files(tmp_path / "cache")) == 2


def test_processes_that_do_not_find_the_same(tmp_path, monkeypatch) -> None:
    """Values are computed by all processes together: where one has no file on its own disk, all of them compute."""
    rows = Dataset.from_list([{"row": 0, "prompt_ids": [1], "chosen_ids": [2, 3], "rejected_ids": [4]}])
    asked = []

    def compute(given):
        asked.append(len(given))
        return {"chosen": [torch.tensor([-1.0, -2.0])], "rejected": [torch.tensor([-3.0])]}

    with_reference(rows, tmp_path, "key", compute, writer=True)
    with_reference(rows, tmp_path, "key", compute, writer=True)
    assert asked == [1]
    monkeypatch.setattr(reference_cache, "gathered", lambda mine: [mine, False], raising=False)
    found = with_reference(rows, tmp_path, "key", compute, writer=True)
    assert asked == [1, 1]
    assert found["ref_chosen_logps"] == [[-1.0, -2.0]]
