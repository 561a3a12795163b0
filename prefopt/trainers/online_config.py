"""Settings of an online run."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from trl import GRPOConfig

from prefopt.errors import UserError
from prefopt.trainers.adapters import AdapterArguments
from prefopt.trainers.checkpointing.settings import CheckpointArguments
from prefopt.trainers.guards.settings import GuardArguments
from prefopt.trainers.optimiser import OptimiserArguments
from prefopt.trainers.supply.settings import SupplyArguments
from prefopt.trainers.token_budget import BUDGET_HELP, check_token_budget
from reward_models.attention_choice import ATTENTION_HELP, check_attention

ONLINE_ATTENTION = f"{ATTENTION_HELP}; auto stays with SDPA where transformers generates, a token at a time"
IDLE: dict[str, str] = {
    "loss_type": "name the loss by `recipe:` (grpo, dr_grpo, dapo, gspo, cispo, sapo, ...)",
    "beta": "give `beta` to the recipe: `recipe: {recipe: grpo, beta: 0.04}`",
    "use_bias_correction_kl": "the KL penalty is a part of the recipe",
    "epsilon": "give `clip_low` and `clip_high` to the recipe: `recipe: {recipe: grpo, clip_low: 0.1}`",
    "epsilon_high": "give `clip_high` to the recipe, or `cap` to cispo",
    "delta": "the clip is a part of the recipe; see `prefopt methods`",
    "sapo_temperature_neg": "give `tau_negative` to the recipe: `recipe: {recipe: sapo, tau_negative: 1.1}`",
    "sapo_temperature_pos": "give `tau_positive` to the recipe: `recipe: {recipe: sapo, tau_positive: 1.1}`",
    "importance_sampling_level": "whole completions are weighted by `recipe: gspo`, or its slot: `ratio: gspo`",
    "reward_weights": "write `weight:` into the entries of `rewards:`",
    "multi_objective_aggregation": "name it by `weighting:` (gdpo, mo_grpo, ...)",
    "scale_rewards": "the advantage is a part of the recipe: `recipe: dr_grpo`, or `advantage: dr_grpo`",
    "sync_ref_model": "the reference stays as it is",
    "ref_model_mixup_alpha": "the reference stays as it is",
    "ref_model_sync_steps": "the reference stays as it is",
    "top_entropy_quantile": "token weights are a part of the recipe",
    "entropy_coef": "regularisers are a part of the recipe",
    "use_adaptive_entropy": "regularisers are a part of the recipe",
    "entropy_coef_min": "regularisers are a part of the recipe",
    "entropy_coef_max": "regularisers are a part of the recipe",
    "entropy_coef_delta": "regularisers are a part of the recipe",
    "entropy_target": "regularisers are a part of the recipe",
    "off_policy_mask_threshold": "gates are a part of the recipe",
    "vespo_k_pos": "gates are a part of the recipe",
    "vespo_k_neg": "gates are a part of the recipe",
    "vespo_lambda_pos": "gates are a part of the recipe",
    "vespo_lambda_neg": "gates are a part of the recipe",
    "trust_remote_code": "code that comes with a model is never run; use an architecture of transformers",
}
"""Settings of TRL that do not act here -> what to write instead."""


@dataclass
class OnlineConfig(
    AdapterArguments, CheckpointArguments, OptimiserArguments, SupplyArguments, GuardArguments, GRPOConfig
):
    """TRL's GRPOConfig for generation and training; advantages, weights and loss come from the recipe.

    A loss setting of TRL that is changed from its default is refused, as it would have no effect.
    """

    recipe: str | dict[str, Any] = field(
        default="grpo",
        metadata={"help": "name of an online recipe, or {recipe: NAME, setting: value, slot: other recipe}"},
    )
    recipe_settings: dict[str, Any] = field(
        default_factory=dict, metadata={"help": "settings and slots of the recipe, where `recipe` is a name"}
    )
    weighting: str | dict[str, Any] | None = field(
        default=None, metadata={"help": "recipe that combines the rewards: gdpo, mo_grpo, ...; unset: the recipe's own"}
    )
    reference_model: str | None = field(
        default=None,
        metadata={"help": "folder of the reference policy, where a part needs one; unset: the weights at the start"},
    )
    max_unscored: float = field(
        default=0.05, metadata={"help": "stop when a source leaves more than this share of completions unscored ..."}
    )
    unscored_window: int = field(default=10, metadata={"help": "... within this number of generation batches"})
    disable_dropout: bool = field(
        default=True, metadata={"help": "train without dropout, which would make importance ratios noisy"}
    )
    prefix_sharing: str = field(
        default="auto",
        metadata={
            "help": "auto computes a prompt once for its completions where the model allows it; never: once for each"
        },
    )
    attention: str = field(default="auto", metadata={"help": ONLINE_ATTENTION})
    token_budget: int | None = field(default=None, metadata={"help": BUDGET_HELP})
    num_generations: int = field(default=8, metadata={"help": "completions a prompt"})
    num_generations_eval: int | None = field(
        default=None, metadata={"help": "completions a prompt in evaluation; unset: as in training"}
    )
    bf16: bool | None = field(
        default=None, metadata={"help": "compute in bfloat16 over float32 weights; unset: on a GPU that can"}
    )
    gradient_checkpointing: bool | None = field(
        default=None, metadata={"help": "older name of activation_checkpointing: slower, less memory; unset: off"}
    )
    logging_steps: float = field(default=10, metadata={"help": "steps between two log lines"})
    report_to: str | list[str] | None = field(
        default="none", metadata={"help": "where to log beside history.jsonl: none, tensorboard, wandb, ..."}
    )

    def __post_init__(self) -> None:
        self._refuse_idle_settings()
        self._check_ranges()
        if self.bf16 is None:
            usable = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
            self.bf16 = usable and not self.fp16 and not self.use_cpu
        if not torch.accelerator.is_available():
            self.dataloader_pin_memory = False
        groups = self.num_generations
        self._check_groups(groups)
        # TRL refuses a single completion a prompt; recipes without a group baseline can use it.
        self.num_generations = self._local_rows() if groups == 1 else groups
        if groups == 1 and self.num_generations_eval is None:
            self.num_generations_eval = 1
        super().__post_init__()
        self.num_generations = groups

    def lora(self) -> Any:
        """Return PEFT's settings of the adapter, or None without one. Raises ``UserError`` where peft is missing."""
        if not self.use_peft:
            return None
        try:
            from peft import LoraConfig
        except ImportError as error:
            raise UserError("use_peft needs the package peft: pip install 'prefopt[peft]'") from error
        names = self.lora_target_modules
        return LoraConfig(
            task_type="CAUSAL_LM",
            r=self.lora_r,
            lora_alpha=self.lora_alpha,
            lora_dropout=self.lora_dropout,
            target_modules=names[0] if names == ["all-linear"] else list(names),
        )

    def _local_rows(self) -> int:
        return self.per_device_train_batch_size * (self.steps_per_generation or self.gradient_accumulation_steps)

    def _refuse_idle_settings(self) -> None:
        defaults = {one.name: one.default for one in fields(self)}
        for name, instead in IDLE.items():
            if getattr(self, name) != defaults[name]:
                raise UserError(f"{name}={getattr(self, name)!r} has no effect here: {instead}")

    def _check_ranges(self) -> None:
        if self.lora_dropout and self.disable_dropout and self.use_peft:
            raise UserError("lora_dropout has no effect with disable_dropout: true; set disable_dropout: false")
        if self.prefix_sharing not in ("auto", "never"):
            raise UserError(f"prefix_sharing must be auto or never, not '{self.prefix_sharing}'")
        check_attention(self.attention)
        check_token_budget(self.token_budget)
        if not 0 <= self.max_unscored <= 1:
            raise UserError(f"max_unscored is a share between 0 and 1, not {self.max_unscored}")
        if self.unscored_window < 1:
            raise UserError(f"unscored_window must be at least 1, not {self.unscored_window}")
        if isinstance(self.recipe, dict) and "recipe" not in self.recipe:
            raise UserError("recipe names no recipe: write `recipe: {recipe: grpo, beta: 0.04}`")

    def _check_groups(self, groups: int) -> None:
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        rows = self.generation_batch_size or self._local_rows() * processes
        if groups < 1:
            raise UserError(f"num_generations must be at least 1, not {groups}")
        if rows % groups:
            steps = self.steps_per_generation or self.gradient_accumulation_steps
            raise UserError(
                f"a generation batch of {rows} completions (per_device_train_batch_size="
                f"{self.per_device_train_batch_size} x steps_per_generation={steps} x {processes} process(es)) does "
                f"not divide into groups of num_generations={groups}; make the product a multiple of {groups}"
            )
        if groups == 1 and rows // processes < 2:
            raise UserError("a generation batch needs at least two completions; raise per_device_train_batch_size")
