"""What bad settings get: a sentence that names the key and the fix, before any model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from datasets import Dataset
from torch import Tensor

from prefopt import recipes
from prefopt.errors import UserError
from prefopt.online.slots import TokenWeight
from prefopt.trainers.compose import compose, with_length, with_weights
from prefopt.trainers.online import align_online
from reward_models.data import read_quarantine
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer
from tests.trainers.online.support import config, prompts, token_mean, trainer


@dataclass(frozen=True)
class NeedsSteps(TokenWeight):
    """A part that wants what online training does not have."""

    needs: ClassVar[frozenset[str]] = frozenset({"step_rewards"})

    def __call__(self, advantages: Tensor, rollouts: Any) -> Tensor:
        """Return ones."""
        return torch.ones_like(advantages)


@dataclass(frozen=True)
class NeedsSampler(TokenWeight):
    """A part that wants the sampling engine's log-probabilities."""

    needs: ClassVar[frozenset[str]] = frozenset({"sampler_logps"})

    def __call__(self, advantages: Tensor, rollouts: Any) -> Tensor:
        """Return ones."""
        return torch.ones_like(advantages)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"loss_type": "dr_grpo"}, "loss_type='dr_grpo' has no effect here: name the loss by `recipe:`"),
        ({"beta": 0.04}, r"beta=0.04 has no effect here: give `beta` to the recipe"),
        ({"scale_rewards": "none"}, "scale_rewards='none' has no effect"),
        ({"reward_weights": [1.0, 2.0]}, "write `weight:` into the entries of `rewards:`"),
        ({"epsilon_high": 0.28}, "epsilon_high=0.28 has no effect"),
        ({"trust_remote_code": True}, "code that comes with a model is never run"),
        ({"per_device_train_batch_size": 6}, r"6 completions \(per_device_train_batch_size=6 x steps_per_generation=1 x"
         r" 1 process\(es\)\) does not divide into groups of num_generations=4; make the product a multiple of 4"),
        ({"num_generations": 0}, "num_generations must be at least 1"),
        ({"max_unscored": 5}, "max_unscored is a share between 0 and 1, not 5"),
        ({"recipe": {"gate": "sapo"}}, "recipe names no recipe"),
    ],
)  # fmt: skip
def test_configuration(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    """Refused when the configuration is built."""
    with pytest.raises(UserError, match=words):
        config(tmp_path, **settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"recipe": "grop"}, r"unknown recipe 'grop'. Did you mean 'grpo'"),
        ({"recipe": "sigmoid"}, r"'sigmoid' is of kind offline.*Use `prefopt align-offline`"),
        ({"recipe": "grpo", "recipe_settings": {"clip_hi": 0.3}}, "'grpo' has no setting 'clip_hi'. Did you"),
        ({"weighting": "gdop"}, "unknown recipe 'gdop'. Did you mean 'gdpo'"),
        ({"weighting": "gdpo", "recipe": {"recipe": "grpo", "weighting": "mo_grpo"}}, "is named twice"),
        ({"num_generations": 1}, "num_generations=1: GroupNormalised compares a completion with others of its prompt"),
        ({"data": Dataset.from_dict({"question": ["a"]})}, "has no column 'prompt'"),
        ({"objective": recipes.build("grpo", token_weight=NeedsSteps())},
         r"token_weight.0=NeedsSteps needs 'step_rewards': reward of each step.*`inputs: {step_rewards: COLUMN}`"),
        ({"objective": recipes.build("grpo", token_weight=NeedsSampler()), "fixed": False},
         r"needs 'sampler_logps': which the sampler gives only with use_vllm: true or a rollout_func"),
    ],
)  # fmt: skip
def test_construction(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    """Refused before the model, which does not exist, is looked for."""
    with pytest.raises(UserError, match=words):
        trainer(tmp_path, model="no/such/model", **settings)


def test_no_rewards(tmp_path: Path) -> None:
    """Nothing to learn from."""
    with pytest.raises(UserError, match="`rewards` is empty"):
        trainer(tmp_path, rewards=[])


def test_weights_go_into_the_weighting() -> None:
    """Weights fill the field; all ones leave the recipe as it is; where there is no field they are refused."""
    gdpo = with_weights(compose("gdpo"), [1.0, 0.5])
    assert gdpo.weighting.weights == (1.0, 0.5)
    assert with_weights(compose("mo_grpo"), [1.0, 1.0]) == compose("mo_grpo")
    with pytest.raises(UserError, match="AdvantageSum gives every reward the same say and takes no weights"):
        with_weights(compose("mo_grpo"), [1.0, 0.5])
    with pytest.raises(UserError, match=r"weights stand both in the recipe .* and in `rewards`"):
        with_weights(compose({"recipe": "gdpo", "weights": [2.0, 1.0]}), [1.0, 0.5])


def test_lengths_are_filled_in() -> None:
    """Only where they are left open."""
    assert with_length(compose("dr_grpo"), 24).aggregate.max_length == 24
    assert with_length(compose({"recipe": "delta_l", "max_length": 9}), 24).aggregate.max_length == 9
    assert with_length(compose("grpo"), 24) == compose("grpo")


def test_recipes_by_parts() -> None:
    """A mapping, or a name with settings: the same objective."""
    built = recipes.build("gdpo", gate="sapo", aggregate="delta_l")
    assert compose({"recipe": "gdpo", "gate": "sapo", "aggregate": "delta_l"}) == built
    assert compose("gdpo", {"gate": "sapo", "aggregate": "delta_l"}) == built
    assert compose("grpo", None, "mo_grpo") == recipes.build("grpo", weighting="mo_grpo")
    assert compose(built, {"gate": recipes.build("cispo").gate}).gate == recipes.build("cispo").gate


def test_prompts_longer_than_the_context(tmp_path: Path) -> None:
    """A model of 16 positions, completions of 6 tokens: a prompt of 12 bytes is named with its row, or left out."""
    folder = str(save_tiny(tmp_path / "model", tiny_llama(positions=16), tiny_tokenizer()))
    data = Dataset.from_dict({"prompt": ["1+1=", "x" * 12, "2+2="]})
    settings = config(tmp_path / "out", max_steps=1)
    words = r"row 2: its prompt has 12 tokens, which with max_completion_length=6 is more than the model's 16 positions"
    with pytest.raises(UserError, match=words):
        align_online(folder, data, [token_mean], settings)
    done = align_online(folder, data, [token_mean], settings, on_bad_row="quarantine")
    assert done.log[0]["step"] == 1
    (row,) = read_quarantine(tmp_path / "out" / "quarantine_training_length.jsonl")
    assert (row.row_number, row.reason, row.row["prompt"]) == (2, "over_length", "x" * 12)


def test_folders_without_weights(tmp_path: Path) -> None:
    """A folder with a configuration alone is not filled with random weights."""
    folder = save_tiny(tmp_path / "model", tiny_llama(), tiny_tokenizer())
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="has no weights"):
        align_online(str(folder), prompts(), [token_mean], config(tmp_path))


def test_too_few_prompts(tmp_path: Path) -> None:
    """A generation batch of 8 completions takes two prompts."""
    folder = str(save_tiny(tmp_path / "model", tiny_llama(), tiny_tokenizer()))
    with pytest.raises(UserError, match=r"takes 2 prompts \(8 completions / num_generations=4\), and the data has 1"):
        align_online(folder, prompts(1), [token_mean], config(tmp_path))


def test_evaluation_batches_hold_whole_groups(tmp_path: Path) -> None:
    """Groups of 4 in evaluation batches of 6."""
    folder = str(save_tiny(tmp_path / "model", tiny_llama(), tiny_tokenizer()))
    with pytest.raises(UserError, match="an evaluation batch of 6 completions does not divide into groups of 4"):
        align_online(folder, prompts(), [token_mean], config(tmp_path, per_device_eval_batch_size=6), prompts(3))


def test_a_tokenizer_without_pad_token(tmp_path: Path) -> None:
    """The end token serves; the first end token still belongs to the completion."""
    run = trainer(tmp_path, fixed=False, processing_class=tiny_tokenizer(pad=False), max_steps=1)
    run.train()
    assert run.processing_class.pad_token_id == run.processing_class.eos_token_id == 2
