"""The reference policy: a copy of the weights at the start, or a named folder, or the base under a fresh adapter."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from accelerate.utils import is_peft_model
from torch import Tensor, nn
from trl.models import prepare_deepspeed, prepare_fsdp
from trl.trainer.utils import add_fused_lm_head

from prefopt.errors import UserError
from prefopt.trainers.logprobs import attach_tree_head
from prefopt.trainers.policies import load_policy
from prefopt.trainers.supply.soft import soft_logps
from prefopt.trainers.trl_hooks import HookedGRPOTrainer


class Reference:
    """Gives log-probabilities of completions under weights that never change.

    Args:
        trainer: its model is copied now, before the first step; nothing is read from disk later.
        folder: a model to use instead.
        fresh_adapter: the trainer's model is a base under an adapter that starts as a zero: then the base itself, with
            the adapter switched off, is the policy at the start, and no copy is made.
    """

    def __init__(self, trainer: HookedGRPOTrainer, folder: str | None = None, fresh_adapter: bool = False) -> None:
        self.trainer = trainer
        self.model = None if fresh_adapter and folder is None else _place(trainer, _frozen(trainer, folder))

    def logps(self, batch: Mapping[str, Any]) -> Tensor:
        """Return ``(B, T)``, without gradient."""
        with self._active() as model:
            return self.trainer.fixed_outputs(model, batch)[0]

    def soft_logps(self, batch: Mapping[str, Any]) -> Tensor:
        """Return ``(B, T, k)``: log-probabilities of the tokens kept at soft thoughts, without gradient."""
        with self._active() as model:
            hidden = self.trainer.fixed_statistics(model, batch, frozenset({"hidden"}))["hidden"]
            return soft_logps(self.trainer, model, batch, hidden).detach()

    @contextmanager
    def _active(self) -> Iterator[nn.Module]:
        if self.model is not None:
            yield self.model
            return
        with self.trainer.accelerator.unwrap_model(self.trainer.model).disable_adapter():
            yield self.trainer.model


def _frozen(trainer: HookedGRPOTrainer, folder: str | None) -> nn.Module:
    policy = trainer.model
    if folder is not None:
        model = load_policy(folder).to(policy.dtype)
        if model.config.get_text_config().vocab_size != policy.config.get_text_config().vocab_size:
            raise UserError(f"reference_model {folder} has another vocabulary than the policy; name one of its family")
    else:
        plugin = getattr(trainer.args, "deepspeed_plugin", None)
        if plugin is not None and plugin.zero_stage == 3:
            raise UserError("weights sharded by DeepSpeed ZeRO-3 cannot be copied in memory; name `reference_model`")
        model = copy.deepcopy(policy)
    head = model.get_base_model() if is_peft_model(model) else model
    # The copy's forward would still be bound to the policy.
    head.__dict__.pop("forward", None)
    add_fused_lm_head(
        head,
        temperature=trainer.temperature,
        cast_lm_head_to_fp32=trainer.args.cast_lm_head_to_fp32,
        outputs=("log_probs", "entropy"),
    )
    attach_tree_head(head)
    return model.eval().requires_grad_(False)


def _place(trainer: HookedGRPOTrainer, model: nn.Module) -> nn.Module:
    if trainer.is_deepspeed_enabled:
        return prepare_deepspeed(model, trainer.accelerator)
    if trainer.is_fsdp_enabled:
        return prepare_fsdp(model, trainer.accelerator)
    return trainer.accelerator.prepare_model(model, evaluation_mode=True)
