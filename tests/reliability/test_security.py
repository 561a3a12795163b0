"""Canaries: files that are written if anything runs that was only to be read. None may fire."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prefopt import assets
from reward_models.backbones import load_tokenizer
from reward_models.chat_template import TemplateRefusesError, by_template
from reward_models.errors import ModelError
from reward_models.safe_folder import check_weights
from scripts.faults.canaries import files, folders, plants, runs
from scripts.faults.canaries.outcome import Outcome


def check(found: list[Outcome], at_least: int) -> None:
    """No canary fired, what had to be refused was, and a refusal is a sentence."""
    assert len(found) >= at_least
    assert [outcome.name for outcome in found if outcome.fired] == []
    assert [outcome.name for outcome in found if not outcome.held] == []
    assert [outcome.name for outcome in found if outcome.refusal is not None and len(outcome.refusal) < 20] == []


def test_a_canary_fires_where_it_is_let(tmp_path: Path) -> None:
    """The traps are real: unpickled as they are, both kinds write the canary; else nothing here would prove a thing."""
    import pickle

    import torch

    plants.trap(tmp_path / "bare", tmp_path / "first")
    plants.trap(tmp_path / "archive", tmp_path / "second", zipped=True)
    pickle.loads((tmp_path / "bare").read_bytes())
    torch.load(tmp_path / "archive", weights_only=False)
    assert (tmp_path / "first").exists()
    assert (tmp_path / "second").exists()


def test_model_folders_and_adapters(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Pickled weights, code beside or in place of a model or tokenizer, kernels, indices that lead elsewhere: for every
    loader of policies, reward models, judges, adapters, and for `score`, `serve` and `average`.
    """
    check(folders.try_all(tmp_path), 130)


def test_configurations_data_templates_and_caches(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """YAML tags, pickled tests and columns, folders with scripts, templates that reach out of their sandbox."""
    check(files.try_all(tmp_path), 20)


def test_checkpoints(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """All three trainers go on from checkpoints whose optimiser, scheduler, generators or settings are malicious."""
    check(runs.try_all(tmp_path), 21)


@pytest.mark.parametrize("text", ["{{ 1 / 0 }}", "{{ 'a'.encode('latin99') }}", "{{ 'a' * 10**14 }}"])
def test_templates_that_fail(text: str) -> None:
    """A division, an encoding that nobody knows and a hundred terabytes: a sentence, and not an error of Python's."""
    tokenizer = load_tokenizer(assets.path("tiny-policy"))
    tokenizer.chat_template = text
    with pytest.raises(TemplateRefusesError, match=r"the chat template refuses messages of user: .+"):
        by_template(tokenizer, [{"role": "user", "content": "x"}])


KERNEL, ELSEWHERE = "someone/kernel", "../outside.safetensors"


@pytest.mark.parametrize(
    ("file", "settings", "words"),
    [
        ("config.json", {"attn_implementation": {"text_config": {"": KERNEL}}}, "kernel that would be fetched"),
        ("config.json", {"sub_configs": [{"_experts_implementation": KERNEL}]}, "kernel that would be fetched"),
        ("config.json", {"configuration_files": ["config.4.0.0.json"]}, "to be read in its place"),
        ("config.json", {"transformers_weights": ELSEWHERE}, "not weights of this folder"),
        ("config.json", {"transformers_weights": "deep/model.safetensors.index.json"}, "not weights of this folder"),
        ("config.json", {"transformers_weights": "adapter_model.bin"}, "not weights of this folder"),
        ("adapter_config.json", {"peft_type": "XLORA", "adapters": {"0": "/elsewhere"}}, "adapters names '/elsewhere'"),
        ("adapter_config.json", {"corda_config": [{"cache_file": "cache.pt"}]}, "cache_file names 'cache.pt'"),
        ("model.safetensors.index.json", {"weight_map": {"a": "a" * 300 + ".safetensors"}}, "which is not there"),
        ("model.safetensors.index.json", {"weight_map": {"a": "a\0b.safetensors"}}, "which is not there"),
        ("model.safetensors.index.json", {"weight_map": {"a": ["model.safetensors"]}}, "by plain names"),
        ("model.safetensors.index.json", {"weight_map": {"a": "..\\model.safetensors"}}, "by plain names"),
    ],
)
def test_settings_and_names_that_lead_elsewhere(
    tmp_path: Path, file: str, settings: dict[str, Any], words: str
) -> None:
    """At any depth, in lists and under other keys, one sentence before a library opens the folder."""
    folder = folders.good_policy(tmp_path / "policy")
    check_weights(folder)
    plants.change(folder / file, **settings)
    with pytest.raises(ModelError, match=words):
        check_weights(folder)


@pytest.mark.parametrize("file", ["config.json", "adapter_config.json", "model.safetensors.index.json"])
def test_settings_that_are_a_folder_or_nest_deeply(tmp_path: Path, file: str) -> None:
    """Neither is an error of Python's own: the file is named, and 900 levels, which JSON reads, are walked through."""
    folder = folders.good_policy(tmp_path / "policy")
    (folder / file).unlink(missing_ok=True)
    deep: Any = {"attn_implementation": KERNEL, "cache_file": "cache.pt"}
    for _ in range(900):
        deep = {"a": deep}
    (folder / file).write_text(json.dumps(deep), encoding="utf-8")
    with pytest.raises(ModelError, match=r"kernel|cache\.pt|no weight_map"):
        check_weights(folder)
    (folder / file).unlink()
    (folder / file).mkdir()
    with pytest.raises(ModelError, match=file):
        check_weights(folder)


def test_a_manifest_does_not_make_code_welcome(tmp_path: Path) -> None:
    """Hashes are no signature: whoever plants a pickle can write the manifest anew. It is refused all the same."""
    from prefopt.trainers.checkpointing import manifest
    from prefopt.trainers.checkpointing.verification import verify

    runs.offline(tmp_path, None)
    folder = tmp_path / "checkpoint-1"
    assert verify(folder).faults == ()
    said = manifest.read(folder)
    plants.trap(folder / "optimizer.pt", tmp_path / "canary", zipped=True)
    manifest.write(folder, said)
    assert verify(folder).reason.startswith("optimizer.pt names code (")
    assert not (tmp_path / "canary").exists()
