from __future__ import annotations

import json
import math
import shutil

import pytest
import torch

from prefopt import recipes
from prefopt.batch import PairOutputs
from prefopt.errors import UserError
from prefopt.offline import OfflineObjective
from prefopt.trainers.history import read_history
from prefopt.trainers.offline import AdapterArguments, OfflineTrainer, align_offline, offline_objective
from prefopt.trainers.pairs.reference import ReferenceLogps
from tests.tiny import save_tiny, tiny_gpt2, tiny_llama, tiny_tokenizer
from tests.trainers.pairs import pairs, quiet

LOG_2 = math.log(2)


def run(folder, model=None, data=None, **settings):
    return align_offline(model or tiny_llama(), data or pairs(), quiet(folder, **settings), tokenizer=tiny_tokenizer())


def losses(done) -> list[float]:
    return [line["loss"] for line in done.log if "loss" in line]


def weights(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def perturbed(seed: int = 1):
    """The tiny model with its weights moved in memory: nothing on disk knows them."""
    model = tiny_llama()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=draw))
    return model


def test_dpo_learns_its_training_pairs(tmp_path):
    """From a margin of 0 to more than nine of ten pairs right, and the loss below log 2."""
    settings = {"max_steps": 20, "optim": "adamw_torch", "learning_rate": 1e-3, "per_device_train_batch_size": 4}
    done = align_offline(
        tiny_llama(), pairs(20), quiet(tmp_path, **settings), evaluation=pairs(20), tokenizer=tiny_tokenizer()
    )
    assert done.metrics["rewards/accuracy"] > 0.9
    assert done.metrics["loss"] < LOG_2 - 0.2
    assert losses(done)[0] == pytest.approx(LOG_2, abs=1e-6)


@pytest.mark.parametrize(
    ("recipe", "settings", "first"),
    [
        ("dpo", {}, LOG_2),
        ("dpo_norm", {}, LOG_2),
        ("hinge", {}, 1.0),
        ("ipo", {}, 25.0),
        ("ipo", {"length_normalised": True}, 25.0),
    ],
)
def test_first_loss_is_that_of_equal_policies(tmp_path, recipe, settings, first):
    """The reference is the policy at the start, so every score is 0: log 2, 1 and (1 / (2 * 0.1))^2 = 25."""
    done = run(tmp_path, recipe=recipe, recipe_settings=settings)
    assert losses(done)[0] == pytest.approx(first, abs=1e-5)


@pytest.mark.parametrize("alignment", ["sampled", "greedy", "none"])
def test_wpo_weights_the_first_loss(tmp_path, alignment):
    """At equal policies the loss is the mean weight times log 2, and the weight is in (0, 1]."""
    done = run(tmp_path, recipe="wpo", recipe_settings={"alignment": alignment})
    weight = done.log[0]["pair_weight"]
    assert 0 < weight <= 1
    assert losses(done)[0] == pytest.approx(weight * LOG_2, rel=1e-5)


def test_the_reference_is_the_weights_in_memory(tmp_path):
    """Weights moved since loading: a reference reloaded from the folder would not give log 2."""
    folder = save_tiny(tmp_path / "base", tiny_llama(), tiny_tokenizer())
    model = type(tiny_llama()).from_pretrained(folder)
    model.load_state_dict(perturbed().state_dict())
    done = run(tmp_path / "out", model)
    assert losses(done)[0] == pytest.approx(LOG_2, abs=1e-6)


def test_a_named_folder_is_the_reference(tmp_path):
    """The first loss is the mean of log(1 + exp(-0.1 D)) with D from whole logits of both models."""
    folder = save_tiny(tmp_path / "reference", tiny_llama(), tiny_tokenizer())
    done = run(tmp_path / "out", perturbed(), reference_model=str(folder))
    tokenizer, policy, reference = tiny_tokenizer(), perturbed(), tiny_llama()

    def summed(model, prompt: str, answer: str) -> torch.Tensor:
        asked = tokenizer(prompt)["input_ids"]
        ids = torch.tensor([[*asked, *tokenizer(answer)["input_ids"], tokenizer.eos_token_id]])
        logps = model(ids).logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])
        return logps[0, len(asked) - 1 :].sum()

    with torch.no_grad():
        margins = [
            sum(
                sign * (summed(policy, row["prompt"], row[side]) - summed(reference, row["prompt"], row[side]))
                for side, sign in (("chosen", 1), ("rejected", -1))
            )
            for row in pairs()
        ]
    expected = torch.nn.functional.softplus(-0.1 * torch.stack(margins)).mean().item()
    assert losses(done)[0] == pytest.approx(expected, abs=1e-5)
    assert abs(expected - LOG_2) > 1e-3


def test_no_reference_is_kept_where_none_is_read(tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("a reference was made")

    monkeypatch.setattr(ReferenceLogps, "__init__", refuse)
    assert len(losses(run(tmp_path, recipe="simpo"))) == 1


@pytest.mark.parametrize(("size", "accumulation"), [(4, 2), (2, 4), (3, 3), (1, 7)])
def test_accumulation_changes_nothing(tmp_path, size, accumulation):
    """One step on 7 pairs, taken whole or in parts whose last one is smaller: the same parameters to 1e-6."""
    whole = run(tmp_path / "whole", data=pairs(7), per_device_train_batch_size=7, recipe="wpo")
    parts = run(
        tmp_path / "parts",
        data=pairs(7),
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulation,
        recipe="wpo",
    )
    torch.testing.assert_close(weights(parts.model), weights(whole.model), atol=1e-6, rtol=0)
    assert losses(parts)[0] == pytest.approx(losses(whole)[0], abs=1e-6)
    assert parts.log[0]["rewards/margin"] == pytest.approx(whole.log[0]["rewards/margin"], abs=1e-6)
    assert (weights(whole.model) - weights(tiny_llama())).abs().max() > 1e-4


def test_equals_trl(tmp_path):
    """Three steps of TRL's DPOTrainer on the same model and pairs, the whole data set a batch: losses to 1e-5."""
    from trl import DPOConfig, DPOTrainer

    folder = save_tiny(tmp_path / "base", perturbed(), tiny_tokenizer())
    ours = run(tmp_path / "ours", type(tiny_llama()).from_pretrained(folder), max_steps=3)
    settings = {k: v for k, v in quiet(tmp_path / "theirs", max_steps=3).to_dict().items() if k in SHARED}
    theirs = DPOTrainer(
        str(folder),
        args=DPOConfig(**settings, beta=0.1, bf16=False, max_length=None, model_init_kwargs={"dtype": "float32"}),
        train_dataset=pairs(),
        processing_class=tiny_tokenizer(),
    )
    theirs.train()
    expected = [line["loss"] for line in theirs.state.log_history if "loss" in line]
    assert losses(ours) == pytest.approx(expected, abs=1e-5)
    assert losses(ours)[2] < losses(ours)[0] - 1e-3
    torch.testing.assert_close(weights(ours.model), weights(theirs.model), atol=1e-5, rtol=0)


SHARED = {
    "output_dir", "use_cpu", "disable_tqdm", "save_strategy", "warmup_steps", "lr_scheduler_type", "logging_steps",
    "optim", "learning_rate", "per_device_train_batch_size", "max_steps", "report_to",
}  # fmt: skip


def test_padding_does_not_matter(tmp_path):
    """The loss of a pair alone equals its loss beside a much longer pair."""
    long = pairs(2)
    long = long.map(lambda row, i: {"chosen": row["chosen"] * (1 + 8 * i)}, with_indices=True)
    model = perturbed()
    trainer = OfflineTrainer(model, quiet(tmp_path), recipes.build("simpo"), long, processing_class=tiny_tokenizer())
    rows = trainer.train_dataset

    def loss(picked: list[int]) -> torch.Tensor:
        batch = trainer.data_collator([rows[i] for i in picked])
        return trainer.objective.losses(*trainer.outputs(trainer.model, batch))

    torch.testing.assert_close(loss([0, 1])[0], loss([0])[0], atol=1e-5, rtol=0)


def test_dropout_is_off(tmp_path):
    """GPT-2 with dropout 0.5 would not give log 2."""
    model = tiny_gpt2()
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.5
    assert losses(run(tmp_path, model))[0] == pytest.approx(LOG_2, abs=1e-6)


def test_soft_labels_and_margins_reach_the_objective(tmp_path):
    """All ties at equal policies: log 2 and no gradient, so the weights stay. Margin 1: log(1 + e)."""
    ties = pairs(8, label_chosen_preferred=[0.5] * 8)
    done = run(tmp_path / "ties", data=ties, recipe_settings={"labels": "soft"})
    assert losses(done)[0] == pytest.approx(LOG_2, abs=1e-6)
    torch.testing.assert_close(weights(done.model), weights(tiny_llama()), atol=1e-7, rtol=0)
    done = run(tmp_path / "margin", data=pairs(8, margin=[1.0] * 8), recipe_settings={"margin_scale": 1.0})
    assert losses(done)[0] == pytest.approx(math.log1p(math.e), abs=1e-5)


def test_resumed_run_equals_the_uninterrupted_one(tmp_path):
    """Six steps over two epochs of 7 pairs in micro-batches of 2; the resumed run starts after step 3, bit for bit."""
    settings = {
        "max_steps": 6, "save_strategy": "steps", "save_steps": 3, "per_device_train_batch_size": 2, "recipe": "wpo",
        "gradient_accumulation_steps": 2, "optim": "adamw_torch", "learning_rate": 1e-3, "lr_scheduler_type": "linear",
    }  # fmt: skip
    whole = run(tmp_path / "run", data=pairs(7), **settings)
    lines = read_history(tmp_path / "run" / "history.jsonl")
    checkpoint = tmp_path / "run" / "checkpoint-3"
    resumed = align_offline(
        tiny_llama(), pairs(7), quiet(tmp_path / "run", **settings), tokenizer=tiny_tokenizer(),
        resume_from=str(checkpoint),
    )  # fmt: skip
    assert torch.equal(weights(resumed.model), weights(whole.model))
    assert losses(resumed) == losses(whole)
    after = read_history(tmp_path / "run" / "history.jsonl")
    assert [(line["step"], line.get("loss")) for line in after] == [(line["step"], line.get("loss")) for line in lines]


def test_a_torn_newest_checkpoint_is_passed_over(tmp_path):
    """Four steps, saved after each of the first three; the third's last file is cut short, so the run goes on from 2.

    Losses 3 and 4 and the final weights are those of the uninterrupted run.
    """
    settings = {"max_steps": 4, "save_strategy": "steps", "save_steps": 1, "optim": "adamw_torch"}
    whole = run(tmp_path / "run", data=pairs(7), **settings)
    shutil.rmtree(tmp_path / "run" / "checkpoint-4")
    state = tmp_path / "run" / "checkpoint-3" / "trainer_state.json"
    state.write_text(state.read_text()[:100])
    (tmp_path / "run" / "checkpoint-3" / "model.safetensors").unlink()
    resumed = align_offline(
        tiny_llama(), pairs(7), quiet(tmp_path / "run", **settings), tokenizer=tiny_tokenizer(), resume_from=True
    )
    assert torch.equal(weights(resumed.model), weights(whole.model))
    assert losses(resumed) == losses(whole)


def test_a_pair_with_an_infinite_loss_skips_the_step_and_is_named(tmp_path, caplog):
    """A margin near the largest float overflows: parameters stay as they were at that step."""
    data = pairs(1, margin=[3e38])
    done = run(tmp_path, data=data, recipe_settings={"margin_scale": 100.0})
    assert done.skipped_steps == 1
    assert torch.equal(weights(done.model), weights(tiny_llama()))
    assert "rows: row 1;" in caplog.text


def test_metrics_are_computed_on_logging_steps_only(tmp_path, monkeypatch):
    """Six steps, a line every third: two calls."""
    calls = []
    original = OfflineObjective.metrics
    monkeypatch.setattr(
        OfflineObjective, "metrics", lambda self, *batch: calls.append(len(batch[2])) or original(self, *batch)
    )
    done = run(tmp_path, max_steps=6, logging_steps=3)
    assert calls == [8, 8]
    assert [line["step"] for line in done.log if "rewards/margin" in line] == [3, 6]


def test_gradient_checkpointing_changes_nothing(tmp_path):
    plain = run(tmp_path / "plain", max_steps=2)
    checkpointed = run(tmp_path / "checkpointed", max_steps=2, gradient_checkpointing=True)
    torch.testing.assert_close(weights(checkpointed.model), weights(plain.model), atol=1e-6, rtol=0)


@pytest.mark.parametrize("strategy", ["sequential", "group_by_length"])
def test_other_orders_see_every_pair_once_an_epoch(tmp_path, strategy):
    """The whole data set is one batch, so the order cannot change the step."""
    other = run(tmp_path / "other", max_steps=2, train_sampling_strategy=strategy)
    torch.testing.assert_close(weights(other.model), weights(run(tmp_path / "r", max_steps=2).model), atol=1e-6, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
@pytest.mark.parametrize("alignment", ["sampled", "greedy"])
def test_bfloat16_on_an_accelerator_stays_near_float32(tmp_path, alignment):
    """Same pairs, same start: three losses within 2 percent of those of a CPU in float32."""
    settings = {"recipe": "wpo", "recipe_settings": {"alignment": alignment, "beta": 0.1}, "max_steps": 3}
    exact = run(tmp_path / "cpu", **settings)
    fast = run(tmp_path / "gpu", use_cpu=False, bf16=True, **settings)
    assert losses(fast) == pytest.approx(losses(exact), rel=0.02)


def test_what_a_run_leaves(tmp_path):
    done = run(tmp_path, recipe="wpo", max_steps=2)
    lines = [line for line in read_history(tmp_path / "history.jsonl") if "loss" in line]
    assert [line["step"] for line in lines] == [1, 2]
    assert lines[1]["rewards/accuracy"] == done.log[1]["rewards/accuracy"]
    summary = json.loads((tmp_path / "alignment.json").read_text())
    assert (summary["recipe"], summary["pairs"], summary["refused"]) == ("wpo", 8, 0)
    assert not list(tmp_path.glob("*.bin"))
    loaded = type(tiny_llama()).from_pretrained(tmp_path)
    assert torch.equal(weights(loaded), weights(done.model))


def lora(**settings) -> AdapterArguments:
    return AdapterArguments(use_peft=True, lora_r=4, lora_alpha=8, **settings)


def test_lora_trains_against_its_own_base(tmp_path):
    """No copy is made: the base without the adapter is the reference, so log 2 at the start; the base stays."""
    done = align_offline(
        tiny_llama(), pairs(), quiet(tmp_path, max_steps=3, learning_rate=1.0), tokenizer=tiny_tokenizer(),
        adapter=lora(),
    )  # fmt: skip
    assert losses(done)[0] == pytest.approx(LOG_2, abs=1e-6)
    assert losses(done)[2] < LOG_2 - 1e-4
    base = {name.replace(".base_layer", ""): p for name, p in done.model.get_base_model().named_parameters()}
    for name, parameter in tiny_llama().named_parameters():
        assert torch.equal(base[name], parameter)
    assert (tmp_path / "adapter_model.safetensors").exists()


def test_a_policy_that_brings_a_trained_adapter_is_copied_with_it(tmp_path):
    """Its base alone is not where this run starts: with the base as the reference the first loss would not be log 2."""
    config = quiet(tmp_path / "first", max_steps=3, learning_rate=1.0)
    first = align_offline(tiny_llama(), pairs(), config, tokenizer=tiny_tokenizer(), adapter=lora())
    again = run(tmp_path / "second", first.model)
    assert losses(again)[0] == pytest.approx(LOG_2, abs=1e-6)


def test_merged_adapter_is_a_whole_model(tmp_path):
    config = quiet(tmp_path, max_steps=2, learning_rate=1.0)
    done = align_offline(tiny_llama(), pairs(), config, tokenizer=tiny_tokenizer(), adapter=lora(merge_adapter=True))
    loaded = type(tiny_llama()).from_pretrained(tmp_path)
    ids = torch.arange(7, 20)[None]
    torch.testing.assert_close(loaded(ids).logits, done.model(ids).logits, atol=1e-5, rtol=1e-5)
    assert (loaded(ids).logits - tiny_llama()(ids).logits).abs().max() > 1e-5


class TestPrecomputedReference:
    def settings(self, tmp_path, **more):
        return {"precompute_reference": True, "reference_cache_dir": str(tmp_path / "cache"), "max_steps": 2, **more}

    def files(self, tmp_path):
        return sorted(path.name for path in (tmp_path / "cache").glob("*.safetensors"))

    def test_same_run_and_no_reference_in_memory(self, tmp_path):
        live = run(tmp_path / "live", perturbed(), max_steps=2, reference_model=self.base(tmp_path))
        settings = self.settings(tmp_path, reference_model=self.base(tmp_path))
        cached = run(tmp_path / "cached", perturbed(), **settings)
        assert losses(cached) == pytest.approx(losses(live), abs=1e-6)
        torch.testing.assert_close(weights(cached.model), weights(live.model), atol=1e-6, rtol=0)
        again = run(tmp_path / "again", perturbed(), **settings)
        assert losses(again) == losses(cached)
        assert len(self.files(tmp_path)) == 1

    def base(self, tmp_path) -> str:
        return str(save_tiny(tmp_path / "base", tiny_llama(), tiny_tokenizer()))

    def test_found_values_are_not_computed_again(self, tmp_path, monkeypatch):
        run(tmp_path / "first", **self.settings(tmp_path))

        def refuse(*_):
            raise AssertionError("computed again")

        monkeypatch.setattr(ReferenceLogps, "__call__", refuse)
        assert len(losses(run(tmp_path / "second", **self.settings(tmp_path)))) == 2

    @pytest.mark.parametrize(
        "change",
        [
            {"model": perturbed()},
            {"data": pairs(7)},
            {"data": pairs().map(lambda row, i: {"chosen": row["chosen"] + "!" * (i == 3)}, with_indices=True)},
            {"max_length": 32},
        ],
        ids=["weights", "rows", "one character", "truncation"],
    )
    def test_what_changes_the_values_changes_the_key(self, tmp_path, change):
        run(tmp_path / "first", **self.settings(tmp_path))
        run(tmp_path / "second", **{**self.settings(tmp_path), **change})
        assert len(self.files(tmp_path)) == 2

    def test_settings_of_the_loss_do_not_change_the_key(self, tmp_path):
        run(tmp_path / "first", **self.settings(tmp_path))
        run(tmp_path / "second", **self.settings(tmp_path, recipe="ipo", recipe_settings={"beta": 0.3}))
        assert len(self.files(tmp_path)) == 1

    def test_evaluation_data_has_its_own(self, tmp_path):
        config = quiet(tmp_path / "out", **self.settings(tmp_path))
        done = align_offline(tiny_llama(), pairs(), config, pairs(4), tokenizer=tiny_tokenizer())
        assert len(self.files(tmp_path)) == 2
        assert done.metrics["loss"] < LOG_2


def test_recipe_as_one_mapping_or_name_and_settings(tmp_path):
    expected = recipes.build("wpo", beta=0.3, score="dpo_norm")
    assert offline_objective(quiet(tmp_path, recipe={"recipe": "wpo", "beta": 0.3, "score": "dpo_norm"})) == expected
    assert (
        offline_objective(quiet(tmp_path, recipe="wpo", recipe_settings={"beta": 0.3, "score": "dpo_norm"})) == expected
    )


def test_an_objective_of_ones_own(tmp_path):
    done = align_offline(
        tiny_llama(), pairs(), quiet(tmp_path), tokenizer=tiny_tokenizer(),
        objective=recipes.build("hinge", score="dpo_norm"),
    )  # fmt: skip
    assert losses(done)[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recipe": "dpp"}, "unknown recipe 'dpp'. Did you mean 'dpo'"),
        ({"recipe": {"beta": 0.1}}, "names no recipe"),
        ({"recipe": "grpo"}, "of kind online, not offline"),
        ({"recipe_settings": {"betta": 1}}, "no setting 'betta'. Did you mean 'beta'"),
        ({"recipe_settings": {"beta": -1.0}}, "beta must be positive"),
        (
            {"recipe": "simpo", "recipe_settings": {"link": "ipo"}},
            "nothing would hold the policy near a reference",
        ),
        ({"recipe": "simpo", "precompute_reference": True}, "uses no reference"),
        ({"recipe": "simpo", "reference_model": "x"}, "uses no reference"),
    ],
)
def test_recipes_and_settings_that_cannot_be(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        offline_objective(quiet(tmp_path, **settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"over_length": "cut"}, "over_length must be one of"),
        ({"on_bad_row": "quarantin"}, "Did you mean 'quarantine'"),
        ({"max_length": 1}, "max_length must be at least 2"),
        ({"label_smoothing_factor": 0.1}, r"recipe_settings \{label_smoothing: 0.1\}"),
    ],
)
def test_configuration_is_checked(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        quiet(tmp_path, **settings)


def test_context_is_not_exceeded(tmp_path):
    with pytest.raises(UserError, match="max_length=1000 exceeds the model's context of 512 tokens"):
        run(tmp_path, max_length=1000)


def test_nothing_outside_the_masks_is_read(tmp_path):
    """A filler row of another process weighs nothing: its loss is in neither sum nor count."""
    trainer = OfflineTrainer(
        perturbed(), quiet(tmp_path), recipes.build("simpo"), pairs(), processing_class=tiny_tokenizer()
    )
    rows = [trainer.train_dataset[i] for i in range(4)]
    batch = trainer.data_collator(rows)
    filled = trainer.data_collator([*rows, trainer.train_dataset[8 + 5]])
    count = trainer._get_num_items_in_batch([filled], torch.device("cpu"))
    assert count == 4
    torch.testing.assert_close(
        trainer.compute_loss(trainer.model, filled, num_items_in_batch=count),
        trainer.compute_loss(trainer.model, batch, num_items_in_batch=count),
        atol=1e-5,
        rtol=0,
    )
    assert isinstance(trainer.outputs(trainer.model, batch)[0], PairOutputs)
