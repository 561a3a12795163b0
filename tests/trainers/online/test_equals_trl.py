"""Where TRL implements the same loss, ours is the same number on the same inputs.

Both trainers generate the same completions and score them alike; the behaviour log-probabilities in both batches are
then the policy's own plus the same noise, so that ratios differ from 1 and clips act. All rewards are scored: unscored
rows would leave our denominators, and stay in TRL's.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel
from trl import GRPOConfig, GRPOTrainer

from prefopt import recipes
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer
from tests.trainers.online.support import GROUP, fixed_rollouts, prompts, short, token_mean, trainer

SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "grpo": ({}, {"loss_type": "grpo"}),
    "dr_grpo": ({}, {"loss_type": "dr_grpo", "scale_rewards": "none"}),
    # TRL has no sampling of informative groups; one that is left out would leave our denominator.
    "dapo": ({"sampling": ()}, {"loss_type": "dapo", "epsilon": 0.2, "epsilon_high": 0.28}),
    "gspo": ({}, {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4}),
    "cispo": ({"cap": 1.2}, {"loss_type": "cispo", "epsilon_high": 1.2}),
    "sapo": ({}, {"loss_type": "sapo"}),
    "gdpo": ({}, {"loss_type": "grpo", "multi_objective_aggregation": "normalize_then_sum"}),
}


def peer(folder: Path, model: PreTrainedModel | str, **settings: Any) -> GRPOTrainer:
    """TRL's trainer on the same prompts, completions and rewards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args = GRPOConfig(
            output_dir=str(folder), per_device_train_batch_size=8, num_generations=GROUP, max_completion_length=6,
            use_cpu=True, bf16=False, activation_checkpointing=False, disable_tqdm=True, report_to="none",
            use_bias_correction_kl=False, disable_dropout=True, **settings,
        )  # fmt: skip
        return GRPOTrainer(
            model, [token_mean, short], args, prompts(), processing_class=tiny_tokenizer(), rollout_func=fixed_rollouts
        )


def batches(*runs: GRPOTrainer) -> list[dict[str, Any]]:
    """The generated batch of each trainer, with the same noise on the behaviour log-probabilities."""
    generated = []
    for run in runs:
        run.current_gradient_accumulation_steps = 1
        run.model.train()
        rows = [dict(prompts()[i // GROUP]) for i in range(8)]
        batch = run._generate_and_score_completions(rows)
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
        with torch.no_grad():
            logps = run._get_per_token_logps_and_entropies(run.model, ids, mask, batch["completion_ids"].size(1))[0]
        noise = 0.3 * torch.randn(logps.shape, generator=torch.Generator().manual_seed(7))
        batch["old_per_token_logps"] = logps + noise
        generated.append(batch)
    return generated


def gradient(run: GRPOTrainer, batch: dict[str, Any]) -> tuple[float, torch.Tensor]:
    """Loss, and gradient of all parameters as one vector."""
    run.model.zero_grad()
    loss = run._compute_loss(run.model, batch)
    loss.backward()
    grads = [p.grad.flatten() for p in run.model.parameters() if p.grad is not None]
    return float(loss), torch.cat(grads)


@pytest.mark.parametrize("name", SAME)
def test_same_loss_and_gradient(name: str, tmp_path: Path) -> None:
    """Loss and gradient agree to 1e-5; the advantages are TRL's, on every token of their row."""
    settings, theirs = SAME[name]
    objective = recipes.build(name, **settings)
    ours = trainer(tmp_path, objective=objective)
    trl = peer(tmp_path, tiny_llama(), **theirs)
    our_batch, trl_batch = batches(ours, trl)
    spread = trl_batch["advantages"][:, None] * trl_batch["completion_mask"]
    torch.testing.assert_close(our_batch["advantages"], spread, atol=1e-5, rtol=0)
    our_loss, our_gradient = gradient(ours, our_batch)
    trl_loss, trl_gradient = gradient(trl, trl_batch)
    assert abs(our_loss) > 1e-3
    assert our_loss == pytest.approx(trl_loss, abs=1e-5)
    torch.testing.assert_close(our_gradient, trl_gradient, atol=1e-5, rtol=0)


def test_same_penalty(tmp_path: Path) -> None:
    """The KL penalty agrees too: TRL reads its reference from disk, ours is a copy in memory of the same weights."""
    folder = str(save_tiny(tmp_path / "model", tiny_llama(), tiny_tokenizer()))
    ours = trainer(tmp_path, model=folder, recipe="grpo", recipe_settings={"beta": 0.5})
    trl = peer(tmp_path, folder, loss_type="grpo", beta=0.5)
    for run in (ours, trl):
        generator = torch.Generator().manual_seed(11)
        for parameter in run.model.parameters():
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    our_batch, trl_batch = batches(ours, trl)
    torch.testing.assert_close(our_batch["extra.ref_logps"], trl_batch["ref_per_token_logps"], atol=1e-5, rtol=0)
    our_loss, our_gradient = gradient(ours, our_batch)
    trl_loss, trl_gradient = gradient(trl, trl_batch)
    assert our_loss == pytest.approx(trl_loss, abs=1e-5)
    torch.testing.assert_close(our_gradient, trl_gradient, atol=1e-5, rtol=0)


def test_a_whole_run_is_the_same(tmp_path: Path) -> None:
    """Three steps of Adam with accumulation 2 end at the same parameters, to 1e-5: scaling agrees as well.

    One row a completion in TRL's order: Adam divides by gradients that are near 0, where another order of sums differs.
    """
    settings: dict[str, Any] = {"max_steps": 3, "learning_rate": 1e-3, "lr_scheduler_type": "constant"}
    ours = trainer(tmp_path, recipe="grpo", gradient_accumulation_steps=2, prefix_sharing="never", **settings)
    trl = peer(tmp_path, tiny_llama(), loss_type="grpo", gradient_accumulation_steps=2, save_strategy="no", **settings)
    ours.train()
    trl.train()
    for one, other in zip(ours.model.parameters(), trl.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
