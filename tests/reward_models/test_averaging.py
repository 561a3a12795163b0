"""Averaged weights (WARM, arXiv 2401.12187), streamed from disk to disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file

from reward_models import RewardModel
from reward_models.averaging import average_models
from reward_models.errors import ModelError
from reward_models.mode_connectivity import mode_connectivity
from tests.tiny import save_tiny, tiny_bert, tiny_llama, tiny_tokenizer


def folder(path: Path, **tensors: object) -> Path:
    """A model folder of bare tensors."""
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "toy", "transformers_version": path.name}))
    save_file({name: torch.tensor(value) for name, value in tensors.items()}, path / "model.safetensors")
    return path


def reward_model(path: Path, seed: int, base: Path) -> RewardModel:
    """A reward model on ``base`` whose weights have moved by small noise, saved."""
    model = RewardModel.from_backbone(base)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.02 * torch.randn(value.shape, generator=generator))
    model.statistics = {"score": {"mean": float(seed)}}
    model.save_pretrained(path)
    return model


def test_worked_numbers(tmp_path) -> None:
    """w [1, 2], [2, 0], [3, 4] and b .3, .6, 0 -> w [2, 2], b .3; with weights 1 : 1 : 2 w is [2.25, 2.5]."""
    members = [
        folder(tmp_path / "a", w=[1.0, 2.0], b=[0.3]),
        folder(tmp_path / "b", w=[2.0, 0.0], b=[0.6]),
        folder(tmp_path / "c", w=[3.0, 4.0], b=[0.0]),
    ]
    average_models(members, tmp_path / "mean")
    found = load_file(tmp_path / "mean" / "model.safetensors")
    torch.testing.assert_close(found["w"], torch.tensor([2.0, 2.0]))
    torch.testing.assert_close(found["b"], torch.tensor([0.3]))
    record = average_models(members, tmp_path / "weighted", [1, 1, 2])
    assert record["weights"] == [0.25, 0.25, 0.5]
    torch.testing.assert_close(load_file(tmp_path / "weighted" / "model.safetensors")["w"], torch.tensor([2.25, 2.5]))


@pytest.mark.parametrize("make", [tiny_llama, tiny_bert])
def test_the_average_of_reward_models_is_one(tmp_path, make) -> None:
    """Every parameter, the head's too, is the mean; statistics of no member are carried over."""
    encoder = make is tiny_bert
    base = save_tiny(tmp_path / "base", make(), tiny_tokenizer(encoder=encoder))
    models = [reward_model(tmp_path / f"m{seed}", seed, base) for seed in range(3)]
    average_models([tmp_path / f"m{seed}" for seed in range(3)], tmp_path / "mean")
    found = RewardModel.from_pretrained(tmp_path / "mean")
    parts = [dict(model.named_parameters()) for model in models]
    for name, value in found.named_parameters():
        torch.testing.assert_close(value, sum(part[name] for part in parts) / 3)
    assert found.statistics == {}
    assert found.score(["a"], ["x"]).shape == (1, 1)


def test_goals_are_averaged_like_weights(tmp_path) -> None:
    """Goals (1, 0, 0, ...) and (0, 1, 0, ...): the mean is (.5, .5, 0, ...). One model of two has none: refused."""
    base = save_tiny(tmp_path / "base", tiny_llama(), tiny_tokenizer())
    for number in range(3):
        model = reward_model(tmp_path / f"m{number}", number, base)
        if number < 2:
            model.goal = torch.eye(model.config.hidden_size)[number]
            model.save_pretrained(tmp_path / f"m{number}")
    average_models([tmp_path / "m0", tmp_path / "m1"], tmp_path / "mean")
    goal = RewardModel.from_pretrained(tmp_path / "mean").goal
    assert goal is not None
    torch.testing.assert_close(goal, torch.tensor([0.5, 0.5, *[0.0] * (len(goal) - 2)]))
    with pytest.raises(ModelError, match="same tensors, such as goal"):
        average_models([tmp_path / "m0", tmp_path / "m2"], tmp_path / "other")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config.json": '{"model_type": "other"}'}, "differ in model_type"),
        ({"tokenizer.json": "{}"}, r"different tokenizers \(tokenizer.json\)"),
        ({"reward_head.json": '{"heads": ["other"]}'}, "differ in heads"),
        ({"reward_head.json": '{"heads": ["score"], "start": "b"}'}, "start all members from one folder"),
        ({"adapter_config.json": "{}"}, "holds an adapter"),
    ],
)
def test_refusals_name_what_differs(tmp_path, change, message) -> None:
    """Two models that have no average."""
    first, second = folder(tmp_path / "a", w=[1.0]), folder(tmp_path / "b", w=[2.0])
    (first / "reward_head.json").write_text('{"heads": ["score"], "start": "a"}')
    (second / "reward_head.json").write_text('{"heads": ["score"], "start": "a"}')
    for name, text in change.items():
        (second / name).write_text(text)
    with pytest.raises(ModelError, match=message):
        average_models([first, second], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_tensors_that_differ(tmp_path) -> None:
    """Another shape, another set, one model, weights without a sum, a folder in use."""
    first = folder(tmp_path / "a", w=[1.0])
    wide, extra = folder(tmp_path / "b", w=[1.0, 2.0]), folder(tmp_path / "c", w=[1.0], v=[1.0])
    with pytest.raises(ModelError, match=r"tensor w is F32 \(2,\)"):
        average_models([first, wide], tmp_path / "mean")
    with pytest.raises(ModelError, match="same tensors, such as v"):
        average_models([first, extra], tmp_path / "mean")
    with pytest.raises(ModelError, match="at least two"):
        average_models([first], tmp_path / "mean")
    with pytest.raises(ModelError, match="add up to 0"):
        average_models([first, first], tmp_path / "mean", [1, -1])
    with pytest.raises(ModelError, match="is not empty"):
        average_models([first, first], wide)


def test_a_failure_leaves_nothing(tmp_path) -> None:
    """Whole-number tensors that differ are found in the middle of the work: no folder and no part of it stays."""
    members = [folder(tmp_path / name, a=[1.0], counts=[value]) for name, value in (("m", 1), ("n", 2))]
    with pytest.raises(ModelError, match="counts holds whole numbers"):
        average_models(members, tmp_path / "mean")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m", "n"]


def test_peak_memory_does_not_grow_with_the_members(tmp_path) -> None:
    """Four members of two 32 MiB files with a tensor each: private memory grows by less than one member, 64 MiB.

    A piece is 1 MiB a member, and 2 + 1 MiB for the mean; the rest is the interpreter's. Holding the members would take
    256 MiB. Measured from a first call on small files, which loads what torch loads once.
    """
    small = [folder(tmp_path / f"s{number}", w=[1.0]) for number in range(2)]
    for number in range(4):
        place = folder(tmp_path / f"m{number}")
        (place / "model.safetensors").unlink()
        for part in range(2):
            tensor = torch.full((4096, 2048), float(number))
            save_file({f"t{part}": tensor}, place / f"model-{part + 1:05d}-of-00002.safetensors")
    script = f"""
import threading, time
from pathlib import Path
import reward_models.averaging as averaging
averaging.average_models({[str(one) for one in small]!r}, Path({str(tmp_path)!r}) / "warm-up")
def private():
    return int(next(l for l in open("/proc/self/status") if l.startswith("RssAnon")).split()[1]) / 1024
peak, done, start = 0.0, False, private()
def watch():
    global peak
    while not done:
        peak = max(peak, private()); time.sleep(0.001)
thread = threading.Thread(target=watch); thread.start()
averaging.average_models([Path({str(tmp_path)!r}) / f"m{{i}}" for i in range(4)], Path({str(tmp_path)!r}) / "mean")
done = True; thread.join()
print(peak - start)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(found.stdout) < 64
    mean = load_file(tmp_path / "mean" / "model-00002-of-00002.safetensors")["t1"]
    assert torch.equal(mean, torch.full((4096, 2048), 1.5))  # mean of 0 to 3


def test_path_between_two_models(tmp_path) -> None:
    """Ends have their own accuracies, the line is between them, weights are put back; a model and itself: flat."""
    base = save_tiny(tmp_path / "base", tiny_llama(), tiny_tokenizer())
    first, second = (reward_model(tmp_path / f"m{seed}", seed, base) for seed in (0, 1))
    data = Dataset.from_list([{"prompt": "ab" * i, "chosen": "x" * i, "rejected": "yz" * i} for i in range(1, 30)])
    before = {name: value.clone() for name, value in first.named_parameters()}
    found = mode_connectivity(first, second, data, steps=4)
    assert all(torch.equal(value, before[name]) for name, value in first.named_parameters())
    assert [point.share for point in found.points] == [0, 0.25, 0.5, 0.75, 1]
    for point, model in ((found.points[0], first), (found.points[-1], second)):
        scores = model.score(list(data["prompt"]) * 2, [*data["chosen"], *data["rejected"]])[:, 0]
        wins = int((scores[:29] >= scores[29:]).sum())
        assert (point.weights.successes, point.scores.successes) == (wins, wins)
        assert point.line == pytest.approx(wins / 29)
    middle = found.points[2]
    assert middle.line == pytest.approx((found.points[0].line + found.points[-1].line) / 2)
    same = mode_connectivity(first, first, data, steps=2)
    assert (same.worst, same.connected) == (0.0, True)


def test_a_barrier_is_seen(tmp_path) -> None:
    """A network and its copy with permuted hidden units agree at the ends; with the sign of a head flipped at one end

    accuracy there is 1 - Acc, and the line is one half: worst is measured against it, and no slack means not connected
    wherever the path dips below.
    """
    base = save_tiny(tmp_path / "base", tiny_llama(), tiny_tokenizer())
    first = reward_model(tmp_path / "m", 0, base)
    data = Dataset.from_list([{"prompt": "ab" * i, "chosen": "x" * i, "rejected": "yz" * i} for i in range(1, 30)])
    other = RewardModel.from_pretrained(tmp_path / "m")
    with torch.no_grad():
        other.score_head.weight.mul_(-1)
    found = mode_connectivity(first, other, data, steps=4, slack=0.0)
    ends = found.points[0].weights.value, found.points[-1].weights.value
    assert sum(ends) == pytest.approx(1.0)
    shortfalls = [point.line - point.weights.value for point in found.points]
    assert found.worst == pytest.approx(max(shortfalls))
    assert found.connected is (max(shortfalls) <= 0)
