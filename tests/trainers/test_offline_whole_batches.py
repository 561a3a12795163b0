"""Losses of the whole optimiser batch, and states, in training: nothing that cuts a batch changes them."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.errors import UserError
from prefopt.trainers.offline import OfflineTrainer, align_offline, offline_objective
from tests.tiny import tiny_llama, tiny_tokenizer
from tests.trainers.pairs import pairs, quiet
from tests.trainers.test_offline import losses, perturbed, run, weights

BATCHED = [
    ("aot", {}),
    ("aot_unpaired", {"beta": 0.5}),
    ("bco_pair", {"beta": 0.5}),
    ([{"recipe": "aot", "weight": 0.7}, {"recipe": "bco_pair", "weight": 0.3}, "cpo"], None),
]
every_batched = pytest.mark.parametrize(("recipe", "settings"), BATCHED, ids=["aot", "aot_unpaired", "bco_pair", "mix"])


def trained(folder, recipe, settings, **more):
    """Two steps of 7 pairs; the policy starts away from its reference, so that scores differ."""
    base = folder.parent / "reference"
    if not base.exists():
        tiny_llama().save_pretrained(base)
        tiny_tokenizer().save_pretrained(base)
    more = {"per_device_train_batch_size": 7, "max_steps": 2, "reference_model": str(base), **more}
    return run(folder, perturbed(), pairs(7), recipe=recipe, recipe_settings=settings, **more)


@every_batched
def test_cutting_the_batch_changes_nothing(tmp_path, recipe, settings):
    """Whole; in micro-batches of 2; under a budget of 40 tokens a pass: losses, metrics and weights to 1e-6."""
    whole = trained(tmp_path / "whole", recipe, settings)
    micro = trained(tmp_path / "micro", recipe, settings, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    budget = trained(tmp_path / "budget", recipe, settings, token_budget=40)
    for other in (micro, budget):
        assert losses(other) == pytest.approx(losses(whole), abs=1e-6)
        assert other.log[1]["rewards/margin"] == pytest.approx(whole.log[1]["rewards/margin"], abs=1e-6)
        torch.testing.assert_close(weights(other.model), weights(whole.model), atol=1e-6, rtol=0)
    assert (weights(whole.model) - weights(perturbed())).abs().max() > 1e-4


def test_the_first_loss_is_that_of_the_objective(tmp_path):
    """First step of unpaired AOT against the objective on the whole batch, computed beside the trainer."""
    done = trained(
        tmp_path / "run", "aot_unpaired", {}, per_device_train_batch_size=2, gradient_accumulation_steps=4, max_steps=1
    )
    config = quiet(tmp_path / "beside", reference_model=str(tmp_path / "reference"), recipe="aot_unpaired")
    trainer = OfflineTrainer(
        perturbed(), config, offline_objective(config), pairs(7), processing_class=tiny_tokenizer()
    )
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(7)])
    expected = trainer.objective.losses(*trainer.outputs(trainer.model, batch)).mean().item()
    assert losses(done)[0] == pytest.approx(expected, abs=1e-6)
    plain = recipes.build("dpo").losses(*trainer.outputs(trainer.model, batch)).mean().item()
    assert abs(expected - plain) > 1e-5


def test_a_resumed_run_knows_its_mean(tmp_path):
    """Four steps of BCO over two epochs; resumed after step 2 the losses are the same bit for bit.

    The shift is a mean over all steps, so a run that forgot it would differ: that of a fresh state does.
    """
    settings = {
        "recipe": "bco_pair", "recipe_settings": {"beta": 1.0}, "max_steps": 4, "save_strategy": "steps",
        "save_steps": 2,
        "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2,
    }  # fmt: skip
    whole = run(tmp_path / "run", data=pairs(7), **settings)
    checkpoint = tmp_path / "run" / "checkpoint-2"
    assert (checkpoint / "objective_state.safetensors").exists()

    def resumed():
        config = quiet(tmp_path / "run", **settings)
        return align_offline(tiny_llama(), pairs(7), config, tokenizer=tiny_tokenizer(), resume_from=str(checkpoint))

    again = resumed()
    assert losses(again) == losses(whole)
    assert torch.equal(weights(again.model), weights(whole.model))
    (checkpoint / "objective_state.safetensors").unlink()
    with pytest.raises(UserError, match=r"objective_state\.safetensors is missing"):
        resumed()


def test_a_state_of_another_recipe_is_refused(tmp_path):
    settings = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    run(tmp_path / "run", recipe="bco_pair", **settings)
    config = quiet(tmp_path / "run", recipe="dpo", **settings)
    with pytest.raises(UserError, match="holds the state of recipe 'bco_pair'"):
        align_offline(
            tiny_llama(), pairs(), config, tokenizer=tiny_tokenizer(),
            resume_from=str(tmp_path / "run" / "checkpoint-1"),
        )  # fmt: skip


def test_a_skipped_step_leaves_the_state(tmp_path):
    """A pair whose margin overflows makes the first step of two bad: BCO counts the responses of the second alone."""
    config = quiet(tmp_path, max_steps=2, per_device_train_batch_size=4, train_sampling_strategy="sequential")
    objective = recipes.mix([{"recipe": "dpo", "margin_scale": 100.0}, "bco_pair"])
    data = pairs(8, margin=[3e38, *[0.0] * 7])
    trainer = OfflineTrainer(tiny_llama(), config, objective, data, processing_class=tiny_tokenizer())
    trainer.train()
    assert trainer.finite_steps.skipped == 1
    assert trainer.whole.state["1.link/count"] == 8


@pytest.mark.parametrize("recipe", ["aot", "aot_unpaired"])
def test_evaluation_compares_the_whole_evaluation_data(tmp_path, recipe):
    """Its loss is that of the objective on all 5 pairs together, however they are cut into batches."""
    found = {}
    for size, budget in ((5, None), (2, None), (1, None), (5, 30)):
        config = quiet(tmp_path, per_device_eval_batch_size=size, token_budget=budget)
        trainer = OfflineTrainer(
            perturbed(), config, recipes.build(recipe, reference=folder(tmp_path)), pairs(7), pairs(5),
            processing_class=tiny_tokenizer(),
        )  # fmt: skip
        found[size, budget] = trainer.evaluate()["eval_loss"]
    assert list(found.values()) == pytest.approx([found[5, None]] * 4, abs=1e-6)
    batch = trainer.data_collator([trainer.eval_dataset[i] for i in range(5)])
    parts = batch.get("parts", [batch])
    rows = [trainer.outputs(trainer.model, part) for part in parts]
    observed = [trainer.objective.observe(*one) for one in rows]
    prepared = trainer.objective.prepare({name: torch.cat([one[name] for one in observed]) for name in observed[0]})
    ends, total = 0, 0.0
    for one in rows:
        size = len(one[2])
        total += trainer.objective.losses(*one, prepared[slice(ends, ends + size)]).sum().item()
        ends += size
    assert found[5, None] == pytest.approx(total / 5, abs=1e-6)


def folder(tmp_path):
    from prefopt.offline.reference import Folder

    tiny_llama().save_pretrained(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    return Folder(str(tmp_path / "base"))


def test_evaluation_does_not_move_the_mean(tmp_path):
    """Eight training pairs are 16 responses, before and after an evaluation; its loss reads their mean."""
    config = quiet(tmp_path, recipe="bco_pair", recipe_settings={"beta": 1.0})
    trainer = OfflineTrainer(
        tiny_llama(), config, offline_objective(config), pairs(8), pairs(5), processing_class=tiny_tokenizer()
    )
    trainer.train()
    before = {name: value.clone() for name, value in trainer.whole.state.items()}
    first, second = trainer.evaluate()["eval_loss"], trainer.evaluate()["eval_loss"]
    assert first == second
    assert before["link/count"] == 16
    assert all(torch.equal(trainer.whole.state[name], value) for name, value in before.items())


def test_no_survey_where_nothing_asks_for_it(tmp_path, monkeypatch):
    """DPO on 7 pairs in 4 micro-batches: 4 forward passes of the policy, and none before the step; AOT has 8."""
    counted = []
    original = OfflineTrainer.outputs
    monkeypatch.setattr(
        OfflineTrainer,
        "outputs",
        lambda self, model, batch: counted.append(torch.is_grad_enabled()) or original(self, model, batch),
    )
    settings = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "data": pairs(7)}
    run(tmp_path / "dpo", recipe="dpo", **settings)
    assert counted == [True] * 4
    counted.clear()
    run(tmp_path / "aot", recipe="aot", **settings)
    assert counted == [False] * 4 + [True] * 4


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ([{"recipe": "dpo", "weight": 0.0}], "weights must be positive"),
        (["dpo", "grpo"], "of kind online"),
        (["dpo", "dpp"], "unknown recipe 'dpp'"),
        ([{"weight": 1.0}], "names no recipe"),
        ([], "one weight for each objective"),
    ],
)
def test_mixtures_that_cannot_be(tmp_path, recipe, message):
    with pytest.raises(UserError, match=message):
        offline_objective(quiet(tmp_path, recipe=recipe))


def test_a_mixture_takes_no_settings_of_one_recipe(tmp_path):
    with pytest.raises(UserError, match="recipe_settings goes with one recipe"):
        offline_objective(quiet(tmp_path, recipe=["dpo", "ipo"], recipe_settings={"beta": 0.1}))
