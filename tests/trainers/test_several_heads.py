"""Several heads on one policy in training, on disk and averaged."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from prefopt.errors import UserError
from prefopt.offline.score import HeadLogRatio
from prefopt.trainers.offline import AdapterArguments, align_offline
from prefopt.trainers.policy_heads import NAME, attach_heads, averaged, load_heads, untie, weigh_heads
from tests.tiny import tiny_llama, tiny_tokenizer
from tests.trainers.pairs import pairs, quiet

HEADS = [0, 1, 1, 0, 1, 1, 1]


def run(folder, model=None, heads=HEADS, settings=None, **more):
    chosen = {"heads": 2, "beta": 0.5, **(settings or {})}
    config = quiet(folder, **{"recipe": "mah_dpo", "recipe_settings": chosen, "per_device_train_batch_size": 7, **more})
    rows = pairs(7, head=heads)
    return align_offline(tiny_llama() if model is None else model, rows, config, rows, tokenizer=tiny_tokenizer())


def losses(done):
    return [line["loss"] for line in done.log if "loss" in line]


def test_the_mean_of_linear_heads_is_one_head():
    """|sum_h w_h W_h x - (sum_h w_h W_h) x| < 1e-6, weights made to sum to 1: 1, 3 are .25, .75."""
    draw = torch.Generator().manual_seed(0)
    heads = [{"weight": torch.randn(11, 5, generator=draw)} for _ in range(2)]
    x = torch.randn(4, 5, generator=draw)
    together = averaged(heads, [1.0, 3.0])["weight"]
    apart = 0.25 * x @ heads[0]["weight"].T + 0.75 * x @ heads[1]["weight"].T
    torch.testing.assert_close(x @ together.T, apart, atol=1e-6, rtol=0)
    for wrong, said in (([1.0], "1 weights for 2 heads"), ([1.0, -1.0], "must not be negative"), ([0, 0], "positive")):
        with pytest.raises(UserError, match=said):
            averaged(heads, wrong)


def test_the_first_loss_is_log_2_without_noise(tmp_path):
    """Heads without noise are the reference's: every margin is 0. With noise they differ from it, and from another."""
    assert losses(run(tmp_path / "still", settings={"noise": 0.0})) == pytest.approx([math.log(2)], abs=1e-6)
    assert losses(run(tmp_path / "noisy", settings={"noise": 0.5}))[0] != pytest.approx(math.log(2), abs=1e-3)


def test_one_head_without_noise_trains_like_an_untied_dpo(tmp_path):
    """One head, every pair its own: the same weights after two steps as DPO on the same model with an untied head."""
    plain = tiny_llama()
    untie(plain)
    config = quiet(tmp_path / "dpo", recipe="dpo", recipe_settings={"beta": 0.5}, max_steps=2)
    theirs = align_offline(plain, pairs(7), config, tokenizer=tiny_tokenizer()).model.state_dict()
    ours = run(tmp_path / "mah", heads=[0] * 7, settings={"heads": 1, "noise": 0.0}, max_steps=2).model.state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], atol=1e-6, rtol=0)


def test_a_pair_moves_its_own_head_alone(tmp_path):
    """All pairs of head 1: head 0 stays what it was at the start, and head 1 does not."""
    start = attach_heads(tiny_llama(), HeadLogRatio(heads=2), seed=42)
    run(tmp_path / "run", heads=[1] * 7)
    first, second = load_heads(tmp_path / "run")
    torch.testing.assert_close(first["weight"], start["0"].weight.detach(), atol=0, rtol=0)
    assert (second["weight"] - start["1"].weight.detach()).abs().max() > 1e-4


def test_cutting_the_batch_changes_nothing(tmp_path):
    """Heads of 2 and 5 pairs, whole, in micro-batches of 2 or under a budget of tokens: losses and heads to 1e-6."""
    whole = run(tmp_path / "whole", max_steps=2)
    cuts = ({"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}, {"token_budget": 40})
    for number, more in enumerate((*cuts, {"prefix_sharing": "never"})):
        other = run(tmp_path / str(number), max_steps=2, **more)
        assert losses(other) == pytest.approx(losses(whole), abs=1e-6)
        assert other.metrics["loss"] == pytest.approx(whole.metrics["loss"], abs=1e-6)
        found = zip(load_heads(tmp_path / "whole"), load_heads(tmp_path / str(number)), strict=True)
        for ours, theirs in found:
            torch.testing.assert_close(ours["weight"], theirs["weight"], atol=1e-6, rtol=0)


def test_what_is_saved_is_an_ordinary_model(tmp_path):
    """The folder's head is the mean of the heads, the model in memory too; other weights give another model."""
    done = run(tmp_path / "run", settings={"noise": 0.1})
    heads = [head["weight"] for head in load_heads(tmp_path / "run")]
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "run")
    assert NAME not in dict(saved.named_modules())
    assert NAME not in dict(done.model.named_modules())
    for model in (saved, done.model):
        torch.testing.assert_close(model.lm_head.weight, (heads[0] + heads[1]) / 2, atol=1e-6, rtol=0)
    ids = torch.tensor([[1, 2, 3]])
    logits = [weigh_heads(tmp_path / "run", w)(ids).logits for w in ([1.0, 0.0], [0.0, 1.0], [0.3, 0.7])]
    torch.testing.assert_close(logits[2], 0.3 * logits[0] + 0.7 * logits[1], atol=1e-5, rtol=0)
    assert (logits[0] - logits[1]).abs().max() > 1e-3
    with pytest.raises(UserError, match="holds no heads"):
        weigh_heads(tmp_path, [1.0])


def test_resumed_after_the_first_step_it_ends_the_same(tmp_path):
    whole = run(tmp_path / "whole", max_steps=2)
    settings = {"recipe": "mah_dpo", "recipe_settings": {"heads": 2, "beta": 0.5}, "per_device_train_batch_size": 7}
    run(tmp_path / "run", max_steps=2, save_strategy="steps", save_steps=1)
    config = quiet(tmp_path / "run", **settings, max_steps=2)
    again = align_offline(
        tiny_llama(), pairs(7, head=HEADS), config, tokenizer=tiny_tokenizer(),
        resume_from=str(tmp_path / "run" / "checkpoint-1"),
    )  # fmt: skip
    for ours, theirs in zip(load_heads(tmp_path / "whole"), load_heads(tmp_path / "run"), strict=True):
        torch.testing.assert_close(ours["weight"], theirs["weight"], atol=1e-6, rtol=0)
    torch.testing.assert_close(again.model.state_dict(), whole.model.state_dict(), atol=1e-6, rtol=0)


def test_the_rate_of_heads(tmp_path):
    """Gradient descent at rate .1: with ``head_rate`` 2 the first step of heads is twice as long, all else is alike."""
    start = attach_heads(tiny_llama(), HeadLogRatio(heads=2), seed=42)["1"].weight.detach()
    plain, fast = run(tmp_path / "plain"), run(tmp_path / "fast", settings={"head_rate": 2.0})
    one, two = (load_heads(tmp_path / name)[1]["weight"] - start for name in ("plain", "fast"))
    torch.testing.assert_close(two, 2 * one, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(plain.model.model.state_dict(), fast.model.model.state_dict())


def test_what_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"row 4: head is 2, and the heads are 0 to 1"):
        run(tmp_path / "run", heads=[0, 1, 0, 2, 0, 0, 0])
    with pytest.raises(UserError, match="no column 'head'"):
        align_offline(tiny_llama(), pairs(7), quiet(tmp_path / "none", recipe="mah_dpo"), tokenizer=tiny_tokenizer())
    with pytest.raises(UserError, match="run it without use_peft"):
        align_offline(
            tiny_llama(), pairs(7, head=HEADS), quiet(tmp_path / "peft", recipe="mah_dpo"),
            tokenizer=tiny_tokenizer(), adapter=AdapterArguments(use_peft=True),
        )  # fmt: skip
