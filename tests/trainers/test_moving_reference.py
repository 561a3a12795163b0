"""A reference that follows the policy: exact averages, with and without an adapter, in checkpoints too."""

from __future__ import annotations

import copy

import pytest
import torch

from prefopt import recipes
from prefopt.errors import UserError
from prefopt.offline.reference import MovingAverage
from prefopt.trainers.moving_reference import FILE, MovingWeights, merged_copy
from prefopt.trainers.offline import AdapterArguments, OfflineTrainer, align_offline, offline_objective
from prefopt.trainers.offline_data import tokenised
from tests.tiny import tiny_llama, tiny_tokenizer
from tests.trainers.pairs import pairs, quiet


def trainer(folder, share: float, every: int, adapter: AdapterArguments | None = None, **settings) -> OfflineTrainer:
    """A run of tr_dpo that is not started yet."""
    from prefopt.trainers.adapters import wrap

    model = tiny_llama()
    model = model if adapter is None else wrap(model, adapter, task_type="CAUSAL_LM")
    config = quiet(folder, **settings)
    objective = recipes.build("tr_dpo", share=share, every=every)
    rows = tokenised(pairs(), config, objective.needs, tiny_tokenizer(), model.config, "training data")
    return OfflineTrainer(
        model, config, objective, rows, processing_class=tiny_tokenizer(), fresh_adapter=adapter is not None
    )


class Watch:
    """Keeps the policy's merged weights after each step."""

    def __init__(self, run: OfflineTrainer) -> None:
        from transformers import TrainerCallback

        seen = self.seen = []

        class Keep(TrainerCallback):
            def on_step_end(self, args, state, control, **kwargs):
                model = run.accelerator.unwrap_model(kwargs["model"])
                seen.append({name: p.detach().clone() for name, p in merged_copy(model).named_parameters()})

        run.add_callback(Keep())


ADAPTER = AdapterArguments(use_peft=True, lora_r=2, lora_alpha=4)


@pytest.mark.parametrize("adapter", [None, ADAPTER], ids=["whole", "lora"])
@pytest.mark.parametrize(("share", "every"), [(0.6, 2), (1.0, 2), (0.1, 1)])
def test_weights_follow_the_recurrence(tmp_path, adapter, share, every):
    """After 4 steps the reference is what share * policy + (1 - share) * reference gives by hand, every `every` steps.

    With LoRA policy weights are W + B A / scale, and their mean is no product of mean factors: for share 0.6 the
    reference after two updates is 0.4 * (0.4 W_0 + 0.6 W_2) + 0.6 W_4 of whole weights.
    """
    rate = 0.5 if adapter is None else 5.0
    run = trainer(tmp_path, share, every, adapter, max_steps=4, learning_rate=rate)
    expected = {name: p.detach().clone() for name, p in merged_copy(tiny_llama()).named_parameters()}
    watch = Watch(run)
    run.train()
    for step, policy in enumerate(watch.seen, start=1):
        if step % every == 0:
            expected = {name: share * policy[name] + (1 - share) * value for name, value in expected.items()}
    found = dict(run.reference.model.named_parameters())
    moved = max((expected[name] - p).abs().max() for name, p in tiny_llama().named_parameters())
    assert moved > 1e-4
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=0)


def test_a_hard_update_makes_policy_and_reference_equal(tmp_path):
    """share 1, every 2: the third step is taken where both are equal, so its loss is log 2 again."""
    done = align_offline(
        tiny_llama(), pairs(), quiet(tmp_path, max_steps=4, learning_rate=0.5), tokenizer=tiny_tokenizer(),
        objective=recipes.build("tr_dpo", share=1.0, every=2),
    )  # fmt: skip
    losses = [line["loss"] for line in done.log if "loss" in line]
    log_2 = torch.tensor(2.0).log().item()
    assert losses[0] == pytest.approx(log_2, abs=1e-6)
    assert losses[1] < log_2 - 1e-4
    assert losses[2] == pytest.approx(log_2, abs=1e-6)
    assert losses[3] < log_2 - 1e-4


@pytest.mark.parametrize("adapter", [None, ADAPTER], ids=["whole", "lora"])
def test_a_resumed_run_has_the_reference_of_the_uninterrupted_one(tmp_path, adapter):
    """Stopped after step 3 of 6, an update every 2 steps: its reference comes from the checkpoint, bit by bit.

    Without it the resumed run would compare with the weights of the start, and end elsewhere.
    """
    settings = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3, "optim": "adamw_torch",
                "learning_rate": 1e-2, "lr_scheduler_type": "linear"}  # fmt: skip
    objective = recipes.build("tr_dpo", share=0.6, every=2)

    def run(folder, resume=None):
        return align_offline(
            tiny_llama(), pairs(), quiet(folder, **settings), tokenizer=tiny_tokenizer(), adapter=adapter,
            objective=objective, resume_from=resume,
        )  # fmt: skip

    whole = run(tmp_path)
    checkpoint = tmp_path / "checkpoint-3"
    assert (checkpoint / FILE).is_file()
    again = run(tmp_path, str(checkpoint))
    for (name, one), (_, other) in zip(whole.model.named_parameters(), again.model.named_parameters(), strict=True):
        assert torch.equal(one, other), name
    assert [line.get("loss") for line in again.log] == [line.get("loss") for line in whole.log]
    (checkpoint / FILE).unlink()
    with pytest.raises(UserError, match=r"moving_reference\.safetensors is missing"):
        run(tmp_path, str(checkpoint))


def test_small_shares_are_not_lost_in_bfloat16():
    """100 updates of share 0.001 from 1 towards 2: 2 - 0.999^100 = 1.0952, in bfloat16 1.09375.

    Averaged in bfloat16, whose neighbours of 1 are 1/128 apart, each 0.001 would round to nothing.
    """
    policy = tiny_llama().bfloat16()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.fill_(2.0)
    reference = copy.deepcopy(policy)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.fill_(1.0)
    weights = MovingWeights(MovingAverage(share=0.001, every=1), reference)
    for step in range(1, 101):
        weights.after_step(step, policy)
    expected = torch.tensor(2 - 0.999**100).bfloat16()
    assert all(torch.equal(p, expected.expand_as(p)) for p in reference.parameters())
    assert float(expected) == 1.09375


def test_the_policy_is_not_touched_by_an_update():
    """merge and unmerge of an adapter would leave rounding behind."""
    from prefopt.trainers.adapters import wrap

    policy = wrap(tiny_llama(), ADAPTER, task_type="CAUSAL_LM")
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(3))
    before = {name: p.clone() for name, p in policy.state_dict().items()}
    weights = MovingWeights(MovingAverage(share=0.5, every=1), merged_copy(tiny_llama()))
    weights.after_step(1, policy)
    assert all(torch.equal(p, before[name]) for name, p in policy.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recipe": "tr_dpo", "precompute_reference": True}, "this one moves"),
        ({"recipe": "simpo", "recipe_settings": {"reference": "tr_dpo"}}, "nothing in the objective reads a reference"),
        ({"recipe": "tr_dpo", "recipe_settings": {"share": 0.0}}, "share must be in"),
        ({"recipe": "tr_dpo", "recipe_settings": {"every": 0}}, "every must be at least 1"),
        ({"recipe": "dpo", "first_stage": {"learning_rate": 1e-6}}, "is one run; pre_dpo has two"),
    ],
)
def test_settings_that_cannot_be(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        offline_objective(quiet(tmp_path, **settings))


def test_what_is_trained_beside_the_policy_is_no_part_of_the_reference(tmp_path):
    """Networks of masks stand under the policy and not under the reference, which moves past them: share 1 copies."""
    objective = recipes.build("sparse_po", reference=MovingAverage(share=1.0, every=1))
    run = OfflineTrainer(
        tiny_llama(), quiet(tmp_path, max_steps=2), objective, pairs(), processing_class=tiny_tokenizer()
    )
    run.train()
    moved = dict(run.reference.model.named_parameters())
    policy = dict(run.model.named_parameters())
    assert any(name.startswith("token_masks.") for name in policy)
    assert not any(name.startswith("token_masks.") for name in moved)
    assert all(torch.equal(value, policy[name]) for name, value in moved.items())
