"""Forward passes of the online trainer, in place of TRL's own: rows that share a prompt, budgets, more statistics."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from trl import GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing

from prefopt.errors import UserError
from prefopt.trainers.shared_prompts import completion_outputs, completion_passes, joined, why_separate

logger = logging.getLogger(__name__)

MODEL_INPUTS = (
    "pixel_values", "image_grid_thw", "num_images", "pixel_attention_mask", "spatial_shapes", "num_tiles",
    "image_sizes", "token_type_ids", "mm_token_type_ids", "image_position_ids",
)  # fmt: skip


class GRPOPasses(GRPOTrainer):
    """What a policy says of completions, as tensors of their tokens."""

    _told: set[str]

    @property
    def mode(self) -> str:
        """``train`` or ``eval``."""
        return "train" if self.model.training else "eval"

    @property
    def rows_at_once(self) -> int:
        """Rows of a pass without gradient."""
        args = self.args
        return int(args.per_device_train_batch_size if self.mode == "train" else args.per_device_eval_batch_size)

    def token_outputs(
        self, model: nn.Module, batch: Mapping[str, Any], rows_at_once: int | None = None, entropies: bool = True
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Log-probabilities ``(B, T)`` of completions, entropies if wanted, a mixture of experts' balancing loss."""
        if "soft_embeddings" in batch:
            wanted = frozenset({"logps", "entropies"} if entropies else {"logps"})
            found = self.statistics_of(model, batch, wanted, rows_at_once)
            return found["logps"], found.get("entropies"), None
        input_ids, attention_mask = joined(batch)
        outputs: tuple[Tensor, Tensor | None, Tensor | None] = self._get_per_token_logps_and_entropies(
            model,
            input_ids,
            attention_mask,
            batch["completion_ids"].size(1),
            batch_size=rows_at_once,
            compute_entropy=entropies,
            compute_aux_loss=self.aux_loss_enabled and rows_at_once is None,
            **{name: batch[name] for name in MODEL_INPUTS if batch.get(name) is not None},
        )
        return outputs

    def statistics_of(
        self, model: nn.Module, batch: Mapping[str, Any], wanted: frozenset[str], rows_at_once: int | None = None
    ) -> dict[str, Tensor]:
        """Return ``logps`` of completions ``(B, T)`` and what is wanted of `next_token_statistics` and the like.

        What TRL's own pass gives, the entropies, is taken from there.
        """
        if wanted <= {"entropies"} and "soft_embeddings" not in batch:
            logps, entropies, _ = self.token_outputs(model, batch, rows_at_once, bool(wanted))
            return {"logps": logps} if entropies is None else {"logps": logps, "entropies": entropies}
        if any(batch.get(name) is not None for name in MODEL_INPUTS):
            raise UserError(f"{', '.join(sorted(wanted))}: of a model that reads images, which these passes leave out")
        (input_ids, attention_mask), width = joined(batch), batch["completion_ids"].size(1)
        soft = batch.get("soft_embeddings")
        share = soft is None and self.shares_prompts(model, input_ids.size(1))
        found = []
        parts = self._rows_of_passes(model, input_ids, attention_mask, width, rows_at_once, share)
        for rows in parts:
            inputs = (input_ids[rows], attention_mask[rows], width, wanted - {"logps"}, self.temperature, share)
            with self.accelerator.autocast():
                fed = None if soft is None else soft[rows]
                found.append(completion_outputs(model, *inputs, top=self.args.top_logits, soft=fed))
        order = torch.cat(parts).argsort()
        return {name: torch.cat([one[name] for one in found])[order] for name in found[0]}

    @torch.no_grad()
    def fixed_statistics(self, model: nn.Module, batch: Mapping[str, Any], wanted: frozenset[str]) -> dict[str, Tensor]:
        """Return what `statistics_of` does, without gradient, a device batch at a time."""
        with disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs):
            return self.statistics_of(model, batch, wanted, self.rows_at_once)

    @torch.no_grad()
    def fixed_outputs(
        self, model: nn.Module, batch: Mapping[str, Any], entropies: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return log-probabilities, and entropies if wanted, without gradient, a device batch at a time."""
        with disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs):
            return self.token_outputs(model, batch, self.rows_at_once, entropies)[:2]

    def shares_prompts(self, model: nn.Module, longest: int, reason: str | None = None) -> bool:
        """Whether completions of one prompt are computed in one row; says once why they are not.

        Args:
            model: the policy or the reference.
            longest: tokens of the longest prompt and completion together.
            reason: why they cannot be, where that is known already.
        """
        if self.args.prefix_sharing == "never":
            return False
        reason = reason or why_separate(self.args, self.accelerator.unwrap_model(model), longest)
        if reason is not None and reason not in self._told and self.accelerator.is_main_process:
            self._told.add(reason)
            logger.warning("every completion computes its prompt again: %s", reason)
        return reason is None

    def _rows_of_passes(
        self, model: nn.Module, input_ids: Tensor, attention_mask: Tensor, width: int, at_once: int | None, share: bool
    ) -> list[Tensor]:
        rows, budget = torch.arange(len(input_ids)), self.args.token_budget
        if at_once is None:
            return [rows]
        if budget is None:
            return list(rows.split(at_once))
        bare = self.accelerator.unwrap_model(model)
        return completion_passes(bare, input_ids, attention_mask, width, budget, share)

    def _get_per_token_logps_and_entropies(
        self,
        model: nn.Module,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **images: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        reason = "the experts' balancing loss counts the tokens of every row" if compute_aux_loss else None
        if any(value is not None for value in images.values()):
            reason = "the model reads images, or types of tokens"
        share, budget = self.shares_prompts(model, input_ids.size(1), reason), self.args.token_budget
        if not share and budget is None:
            outputs: tuple[Tensor, Tensor | None, Tensor | None] = super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, compute_aux_loss,
                **images,
            )  # fmt: skip
            return outputs
        if budget is not None:
            refuse_images(images)
        parts = self._rows_of_passes(model, input_ids, attention_mask, logits_to_keep, batch_size, share)
        one_pass = self._of_shared if share else self._of_plain
        found = [
            one_pass(model, input_ids[rows], attention_mask[rows], logits_to_keep, compute_entropy) for rows in parts
        ]
        order = torch.cat(parts).argsort()
        logps = torch.cat([logps for logps, _ in found])[order]
        spreads = [entropies for _, entropies in found if entropies is not None]
        return logps, torch.cat(spreads)[order] if spreads else None, None

    def _of_shared(
        self, model: nn.Module, input_ids: Tensor, attention_mask: Tensor, width: int, entropies: bool
    ) -> tuple[Tensor, Tensor | None]:
        wanted = ("entropies",) if entropies else ()
        with self.accelerator.autocast():
            found = completion_outputs(model, input_ids, attention_mask, width, wanted, self.temperature)
        return found["logps"], found.get("entropies")

    def _of_plain(
        self, model: nn.Module, input_ids: Tensor, attention_mask: Tensor, width: int, entropies: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Without the columns that only other passes fill; padding of prompts stays, as a model may count it."""
        padding = width - max(1, int(attention_mask[:, -width:].sum(1).max()))
        end = input_ids.size(1) - padding
        found = super()._get_per_token_logps_and_entropies(
            model, input_ids[:, :end], attention_mask[:, :end], width - padding, compute_entropy=entropies
        )
        logps, spreads = (None if values is None else pad(values, (0, padding)) for values in found[:2])
        return logps, spreads


def refuse_images(inputs: Mapping[str, Any]) -> None:
    """Raise ``UserError`` for a batch with images under a budget of tokens."""
    if any(inputs.get(name) is not None for name in MODEL_INPUTS):
        raise UserError("token_budget counts tokens of text, and this model reads images; leave it out")
