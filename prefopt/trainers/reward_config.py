"""Settings of a reward-model run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainingArguments

from prefopt import recipes
from prefopt.errors import UserError, nearest
from prefopt.trainers.checkpointing.settings import CheckpointArguments
from prefopt.trainers.guards.settings import GuardArguments
from prefopt.trainers.optimiser import OptimiserArguments
from prefopt.trainers.token_budget import BUDGET_HELP, check_token_budget
from reward_models.attention_choice import ATTENTION_HELP, check_attention
from reward_models.losses import BradleyTerry, Focal, PairRows, RaoKupper, RowLoss, Safety
from reward_models.procedure import Procedure


@dataclass
class RewardConfig(CheckpointArguments, OptimiserArguments, GuardArguments, TrainingArguments):
    """transformers' TrainingArguments, and what a loss of reward models adds."""

    loss: str = field(
        default="bradley_terry",
        metadata={
            "help": "a recipe of kind reward (`prefopt methods --kind reward` lists them): bradley_terry, rao_kupper "
            "(ties), focal, safety (a cost model), process_reward, ..."
        },
    )
    loss_settings: dict[str, Any] | None = field(
        default=None, metadata={"help": "the recipe's settings, apart from those that have a flag: {gamma: 1.0}"}
    )
    centring: float = field(
        default=0.01,
        metadata={
            "help": "weight c of the penalty c (r_chosen + r_rejected)^2 of a loss of pairs; 0, and the loss safety, "
            "turn it off"
        },
    )
    pair_label_smoothing: float = field(
        default=0.0, metadata={"help": "probability that a pair's label is wrong (bradley_terry)"}
    )
    tie_theta: float = field(default=3.0, metadata={"help": "theta > 1 of rao_kupper: larger means more ties"})
    use_margin: bool = field(
        default=False, metadata={"help": "subtract the data's margin column inside the loss (bradley_terry)"}
    )
    max_length: int | None = field(
        default=None, metadata={"help": "longest prompt + response in tokens; unset: the model's limit, at most 1024"}
    )
    over_length: str = field(
        default="truncate_prompt",
        metadata={"help": "a pair longer than max_length: truncate_prompt (on its left) or drop (and count)"},
    )
    attention: str = field(default="auto", metadata={"help": ATTENTION_HELP})
    disable_dropout: bool = field(default=True, metadata={"help": "train without dropout"})
    trainable_layers: int | None = field(
        default=None, metadata={"help": "train only the heads and the last N layers; unset: everything"}
    )
    head_learning_rate: float | None = field(
        default=None, metadata={"help": "peak learning rate of the heads, which start from nothing; unset: the same"}
    )
    token_budget: int | None = field(default=None, metadata={"help": BUDGET_HELP})

    train_sampling_strategy: str = field(
        default="group_by_length",
        metadata={"help": "order of the pairs: group_by_length (less padding) or random, each once an epoch"},
    )
    learning_rate: float = field(default=1e-5, metadata={"help": "peak learning rate"})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "learning-rate schedule"})
    num_train_epochs: float = field(default=1.0, metadata={"help": "passes over the training pairs"})
    logging_steps: float = field(default=10, metadata={"help": "steps between two log lines"})
    report_to: str | list[str] | None = field(default="none", metadata={"help": "where to log: none, wandb, ..."})

    def __post_init__(self) -> None:
        if not isinstance(recipe_of(self), Procedure):
            self.row_loss()
        check_attention(self.attention)
        if self.over_length not in ("truncate_prompt", "drop"):
            raise UserError(f"over_length must be truncate_prompt or drop, got '{self.over_length}'")
        if self.use_margin and self.loss != "bradley_terry":
            raise UserError(f"use_margin goes with bradley_terry only; {self.loss} has no place for a margin")
        if self.pair_label_smoothing and self.loss != "bradley_terry":
            raise UserError(f"pair_label_smoothing goes with bradley_terry only; {self.loss} has no place for it")
        if self.max_length is not None and self.max_length < 4:
            raise UserError(f"max_length must be at least 4 tokens, got {self.max_length}")
        check_token_budget(self.token_budget)
        # The collator needs every column; the model's forward names only two of them.
        self.remove_unused_columns = False
        if not torch.accelerator.is_available():
            self.dataloader_pin_memory = False
        super().__post_init__()

    def row_loss(self) -> RowLoss:
        """Return the loss; see `reward_loss`."""
        return reward_loss(self)


def recipe_of(config: RewardConfig) -> Any:
    """Compose the recipe that the settings name: a loss, or a procedure of several steps.

    Raises:
        UserError: unknown recipe or setting.
    """
    known = recipes.names("reward")
    if config.loss not in known:
        raise UserError(
            f"loss '{config.loss}' is unknown; choose one of {', '.join(known)}.{nearest(config.loss, known)}"
        )
    settings = dict(config.loss_settings or {})
    flags = {"label_smoothing": config.pair_label_smoothing, "theta": config.tie_theta}
    settings = {key: value for key, value in flags.items() if key in recipes.info(config.loss).settings} | settings
    try:
        return recipes.build(config.loss, **settings)
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(f"loss {config.loss}: {error}") from error


def reward_loss(config: RewardConfig) -> RowLoss:
    """Return the loss that the settings name; one of two scores becomes a loss of pairs with the settings' centring.

    Raises:
        UserError: unknown recipe or setting, or a recipe that is no loss.
    """
    loss = recipe_of(config)
    if isinstance(loss, RowLoss):
        return loss
    if isinstance(loss, Procedure):
        raise UserError(
            f"'{config.loss}' is a procedure of several steps, no single loss; `prefopt train-reward` runs it"
        )
    if not isinstance(loss, (BradleyTerry, Focal, RaoKupper, Safety)):
        raise UserError(f"'{config.loss}' is a reward that needs no training; it is no loss")
    return PairRows(loss, config.centring, config.use_margin)
