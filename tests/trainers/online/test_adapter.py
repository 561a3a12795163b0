"""LoRA: the base stays, the adapter learns, and both ways of saving give the trained policy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM

from prefopt.errors import UserError
from prefopt.trainers.online import align_online
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer
from tests.trainers.online.support import config, fixed_rollouts, prompts, short, token_mean, trainer

IDS = torch.tensor([[70, 71, 72, 73, 2]])


def logits(model: torch.nn.Module) -> torch.Tensor:
    """What a model says of a few tokens."""
    with torch.no_grad():
        return model.eval()(IDS).logits


def test_only_the_adapter_learns(tmp_path: Path) -> None:
    """After two steps every weight of the base is what it was, and every ``lora_B`` has left its zero."""
    run = trainer(tmp_path, use_peft=True, lora_r=4, max_steps=2, gradient_accumulation_steps=2)
    base = dict(tiny_llama().named_parameters())
    run.train()
    learned = 0
    for name, parameter in run.model.named_parameters():
        if "lora_B" in name:
            learned += 1
            assert parameter.abs().max() > 0, name
        elif "lora_" not in name:
            own = name.removeprefix("base_model.model.").replace(".base_layer", "")
            assert torch.equal(parameter, base[own]), name
    assert learned == 14  # seven linear layers in each of two blocks


@pytest.mark.parametrize("merge", [False, True])
def test_saved_and_loaded(merge: bool, tmp_path: Path) -> None:
    """The folder, adapter or whole model, says the same as the trained policy, to 1e-5."""
    folder = save_tiny(tmp_path / "model", tiny_llama(), tiny_tokenizer())
    settings = config(tmp_path / "out", use_peft=True, lora_r=4, max_steps=2, merge_adapter=merge)
    done = align_online(str(folder), prompts(), [token_mean, short], settings, rollout_func=fixed_rollouts)
    kind = AutoModelForCausalLM if merge else AutoPeftModelForCausalLM
    loaded = kind.from_pretrained(tmp_path / "out")
    torch.testing.assert_close(logits(loaded), logits(done.model), atol=1e-5, rtol=0)
    assert (logits(loaded) - logits(tiny_llama())).abs().max() > 1e-3


def test_dropout_that_would_not_act(tmp_path: Path) -> None:
    """disable_dropout would silently switch lora_dropout off."""
    with pytest.raises(UserError, match="lora_dropout has no effect with disable_dropout"):
        config(tmp_path, use_peft=True, lora_dropout=0.1)
