"""The reference policy: computed only where a part needs it, and never moving."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from prefopt.errors import UserError
from reward_models.errors import ModelError
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer
from tests.trainers.online.support import furthest, trainer, weights

WITH_KL = {"recipe": "grpo", "beta": 0.1}


def test_nobody_asked(tmp_path: Path) -> None:
    """Without a KL part no reference exists and no log-probabilities of one are computed."""
    run = trainer(tmp_path, max_steps=1)
    run.train()
    assert run.reference is None
    assert "extra.ref_logps" not in run.buffer[0]


def test_a_copy_of_the_start(tmp_path: Path) -> None:
    """Two steps on: the policy has moved, the copy has the weights of the start, and reference_kl grows from 0."""
    start = weights(tiny_llama())
    run = trainer(tmp_path, recipe=WITH_KL, max_steps=3)
    run.train()
    assert run.reference.model is not None
    assert furthest(start, weights(run.reference.model)) == 0
    assert furthest(start, weights(run.model)) > 1e-2
    figures = [line["reference_kl"] for line in run.state.log_history if "reference_kl" in line]
    assert figures[0] == pytest.approx(0, abs=1e-6)
    assert figures[2] > figures[1] > 1e-5


def test_a_named_folder(tmp_path: Path) -> None:
    """The reference is the folder's model; without a part that uses it, the setting is refused."""
    other = tiny_llama(seed=5)
    folder = str(save_tiny(tmp_path / "reference", other, tiny_tokenizer()))
    run = trainer(tmp_path, recipe=WITH_KL, reference_model=folder)
    assert furthest(weights(other), weights(run.reference.model)) == 0
    with pytest.raises(UserError, match="no part of the recipe uses a reference"):
        trainer(tmp_path, reference_model=folder)
    with pytest.raises(ModelError, match="nowhere does not exist"):
        trainer(tmp_path, recipe=WITH_KL, reference_model=str(tmp_path / "nowhere"))


def test_the_base_under_a_fresh_adapter(tmp_path: Path) -> None:
    """With LoRA from the settings no copy is made: the adapter is switched off, which gives the start's figures."""
    run = trainer(tmp_path, recipe=WITH_KL, use_peft=True, lora_r=4, max_steps=3)
    assert run.reference.model is None
    run.train()
    batch = run.buffer[0]
    plain = trainer(tmp_path, recipe=WITH_KL)
    plain.model.train()
    torch.testing.assert_close(run.reference.logps(batch), plain.reference.logps(batch), atol=1e-6, rtol=0)
    assert (run.reference.logps(batch) - run.fixed_outputs(run.model, batch)[0]).abs().max() > 1e-3


def test_a_copy_of_an_adapter_that_has_learned(tmp_path: Path) -> None:
    """A PEFT model that the caller brings starts where its adapter is, not at the base: so does its reference."""
    model = get_peft_model(tiny_llama(), LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    run = trainer(tmp_path, recipe=WITH_KL, model=model, max_steps=1)
    run.train()
    line = run.state.log_history[0]
    assert line["reference_kl"] == pytest.approx(0, abs=1e-6)
