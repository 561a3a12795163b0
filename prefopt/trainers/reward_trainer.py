"""A transformers.Trainer on the rows that a loss of reward models reads."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import EvalPrediction, Trainer

from prefopt.trainers.checkpointing.staging import WholeCheckpointsMixin
from prefopt.trainers.fillers import FilledUp, RowsAndFillers
from prefopt.trainers.guards.finite_rows import finite_rows
from prefopt.trainers.guards.mixin import FiniteStepsMixin
from prefopt.trainers.guards.texts import texts_of_rows
from prefopt.trainers.optimiser import use_optimiser
from prefopt.trainers.resuming import ResumesMixin
from prefopt.trainers.reward_config import RewardConfig
from prefopt.trainers.reward_data import EncodedRows, RowCollator, encode_rows
from prefopt.trainers.sampling_order import LengthBuckets
from prefopt.trainers.token_budget import InPasses, add_up, check_passes, in_order, parts_of
from prefopt.trainers.written_settings import write_settings
from reward_models.attention_choice import use_attention
from reward_models.backbones import position_limit
from reward_models.freezing import disable_dropout, train_last_layers
from reward_models.losses import Readings, RowLoss
from reward_models.model import RewardModel
from reward_models.prefix_tree import TreeBatch, row_width, why_not

LONGEST = 1024

logger = logging.getLogger(__name__)


class RewardTrainer(WholeCheckpointsMixin, ResumesMixin, FiniteStepsMixin, Trainer):
    """`transformers.Trainer` on rows (pairs, for most losses); the loss is the mean over the whole optimiser batch.

    Each row's loss is divided by the number of rows in all micro-batches of all ranks, so gradient accumulation
    and the number of processes do not change it. Evaluation gives the loss and the figures of the loss: of pairs,
    accuracy (strict: equal scores count as wrong), margin and mean score.

    Args:
        model: the reward model; its ``max_length`` is set, and saved with it.
        args: a `RewardConfig`.
        train_dataset: rows with what the loss reads: prompt, chosen, rejected for pairs; optional margin,
            label_chosen_preferred, head.
        eval_dataset: the same, or None.
        other: passed to `transformers.Trainer`.
    """

    def __init__(
        self,
        model: RewardModel,
        args: RewardConfig,
        train_dataset: Dataset | None = None,
        eval_dataset: Dataset | None = None,
        **other: Any,
    ) -> None:
        limit = position_limit(model.tokenizer, model.config)
        model.max_length = args.max_length or min(limit or LONGEST, LONGEST)
        use_attention(model.backbone, args.attention, args.device, model.max_length, training=True)
        self.shares_prompts = model.shares_prompts(model.max_length)
        if not self.shares_prompts:
            logger.info("one row a response: %s", why_not(model.backbone, model.max_length) or "the pooling reads all")
        if args.disable_dropout:
            disable_dropout(model.backbone)
        if args.trainable_layers is not None and not model.is_adapter:
            train_last_layers(model.backbone, args.trainable_layers)
        self.row_loss: RowLoss = args.row_loss()
        self.row_loss.prepare(model)
        self.encoded: dict[str, EncodedRows] = {}
        formatter = model.formatter()
        for split, data in (("training data", train_dataset), ("evaluation data", eval_dataset)):
            if data is not None:
                self.encoded[split] = encode_rows(
                    data, self.row_loss, formatter, args.over_length, model.score_head.names, split,
                    prefixes=model.pooling != "last",
                )  # fmt: skip
        # ``num_items_in_batch`` scales the loss already.
        self.loss_is_scaled_for_ga = True
        self._sums: Tensor | None = None
        self.figure_names: list[str] = []
        rows = self._rows("training data")
        super().__init__(
            model=model,
            args=args,
            data_collator=InPasses(RowCollator(self.shares_prompts, row_width(model.config)), args.token_budget),
            train_dataset=RowsAndFillers(rows) if rows is not None and args.world_size > 1 else rows,
            eval_dataset=self._rows("evaluation data"),
            compute_metrics=self.metrics,
            **other,
        )
        self.loss_is_scaled_for_ga = True
        check_passes(self)
        use_optimiser(self)

    def _rows(self, split: str) -> Dataset | None:
        return self.encoded[split].rows if split in self.encoded else None

    def rows_of(self, inputs: Any) -> list[str]:
        """Row numbers of the training data, from 1 on."""
        return [f"row {i + 1}" for i in inputs["row"].tolist()]

    def text_of(self, inputs: Any) -> list[dict[str, Any]]:
        """The texts as they were trained on."""
        rows = self.encoded["training data"].rows
        return texts_of_rows(rows, inputs["row"].tolist(), self.accelerator.unwrap_model(self.model).tokenizer)

    def remember_step(self) -> None:
        """A step begins; its figures may have to be forgotten."""
        super().remember_step()
        self._sums_before = self._sums

    def forget_step(self) -> None:
        """A step is not taken: neither are its figures."""
        self._sums = self._sums_before

    def row_losses(self, model: nn.Module, inputs: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the loss of each row ``(N,)``, and its figures ``(N, F)``, detached, NaN where it does not count."""
        wants_states = "answer_states" in self.row_loss.needs
        trees = [TreeBatch(**batch) for batch in inputs["trees"]]
        found = model(trees=trees, reads=inputs["reads"], answer_states=wants_states)
        scores, states, mask = found if wants_states else (found, None, None)
        readings = Readings(
            scores=_placed(scores.float(), inputs["places"]),
            mask=inputs["places"] >= 0,
            head=inputs["head"],
            numbers=inputs["numbers"],
            states=None if states is None else _placed(states, inputs["texts"]),
            state_mask=None if mask is None else _placed(mask, inputs["texts"]),
        )
        losses = self.row_loss(readings)
        with torch.no_grad():
            figures = self.row_loss.figures(readings)
        self.figure_names = list(figures)
        return losses, torch.stack([figure.detach().float() for figure in figures.values()], 1) if figures else (
            losses.detach().new_zeros(len(losses), 0)
        )

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Sum of this micro-batch's losses over the number of pairs in the whole optimiser batch."""
        parts = parts_of(inputs)
        found: list[tuple[Tensor, ...]] = []
        # Gradients are averaged over processes afterwards.
        together = None if num_items_in_batch is None else num_items_in_batch / self.accelerator.num_processes
        rows = inputs["weight"].sum().clamp(min=1) if together is None else together

        def loss_of(part: Any) -> Tensor:
            losses, figures = self.row_losses(model, part)
            real = part["weight"] > 0
            self.watch(part, finite_rows(losses.detach()))
            found.append((losses.detach(), figures))
            if model.training:
                self._count(figures.where(real[:, None], torch.nan))
            return torch.where(real, losses, torch.zeros_like(losses)).sum() / rows

        loss = add_up(parts, loss_of, model, self.accelerator)
        if not return_outputs:
            return loss
        columns = zip(*found, strict=True)
        return loss, dict(zip(("losses", "figures"), (in_order(parts, c) for c in columns), strict=True))

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Tensor:
        rows = torch.stack([batch["weight"].sum() for batch in batch_samples]).sum().to(device)
        return self.accelerator.reduce(rows, reduction="sum") if self.accelerator.num_processes > 1 else rows

    def prediction_step(
        self, model: nn.Module, inputs: Any, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[None, Tensor | None, Tensor | None]:
        """Losses and figures per row; their exact means are taken over all of them at the end."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            parts = parts_of(inputs)
            rows = [self.row_losses(model, part) for part in parts]
            found = in_order(parts, [torch.cat([losses[:, None], figures], 1) for losses, figures in rows])
        self.watch_held_out(inputs, found[:, 0])
        return None, found, inputs["row"]

    def metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        """Means over rows of losses and figures ``(N, 1 + F)``, over those that count; NaN where none does."""
        values = np.asarray(prediction.predictions, dtype=np.float64)
        return {
            name: float(column[~np.isnan(column)].mean()) if name == "loss" or not np.isnan(column).all() else math.nan
            for name, column in zip(("loss", *self.figure_names), values.T, strict=True)
        }

    def _count(self, figures: Tensor) -> None:
        counts = ~figures.isnan()
        added = torch.stack([figures.where(counts, 0.0).sum(0), counts.float().sum(0)])
        self._sums = added if self._sums is None else self._sums + added

    def open_figures(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Sums and counts of this process since the last log line, and their names."""
        return ({} if self._sums is None else {"sums": self._sums}), {"names": self.figure_names}

    def take_figures(self, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
        """Go on adding to what `open_figures` gave."""
        self._sums = tensors["sums"].to(self.args.device) if "sums" in tensors else None
        self.figure_names = list(plain["names"])

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means of the figures since the last log line."""
        if "loss" in logs and self._sums is not None:
            sums = self._sums
            if self.accelerator.num_processes > 1:
                sums = self.accelerator.reduce(sums, reduction="sum")
            totals, counts = sums.tolist()
            logs |= {
                name: total / count
                for name, total, count in zip(self.figure_names, totals, counts, strict=True)
                if count
            }
            self._sums = None
        super().log(logs, start_time)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Any:
        data, args = self.train_dataset if train_dataset is None else train_dataset, self.args
        together = args.train_batch_size * args.world_size
        if args.train_sampling_strategy == "group_by_length":
            rows = data.rows if isinstance(data, RowsAndFillers) else data
            seed = args.seed if args.data_seed is None else args.data_seed
            multiple = together if isinstance(data, RowsAndFillers) else 1
            return LengthBuckets(rows["length"], together * args.gradient_accumulation_steps, multiple, seed)
        order = super()._get_train_sampler(train_dataset)
        return FilledUp(order, together, args.data_seed) if isinstance(data, RowsAndFillers) else order

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The optimiser of the arguments; the heads get a group of their own where they have their own rate."""
        if self.optimizer is not None:
            return self.optimizer
        optimizer = super().create_optimizer(model)
        if self.args.head_learning_rate is not None:
            heads = set((model or self.model).score_head.parameters())
            for group in list(optimizer.param_groups):
                moved = [p for p in group["params"] if p in heads]
                if moved:
                    group["params"] = [p for p in group["params"] if p not in heads]
                    optimizer.add_param_group({**group, "params": moved, "lr": self.args.head_learning_rate})
                    break
        return optimizer

    def objective_in_checkpoint(self) -> tuple[Mapping[str, Any], Mapping[str, Tensor]]:
        """The loss and its settings; it has no state of its own."""
        return {"loss": self.args.loss, "is": repr(self.row_loss)}, {}

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        if not self.args.should_save:
            return
        folder = Path(output_dir or self.args.output_dir)
        self.accelerator.unwrap_model(self.model).save_pretrained(folder, state_dict=state_dict)
        write_settings(folder, self.args)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        loaded = RewardModel.from_pretrained(resume_from_checkpoint)
        self.accelerator.unwrap_model(model or self.model).load_state_dict(loaded.state_dict())

    def _load_best_model(self) -> None:
        self._load_from_checkpoint(self.state.best_model_checkpoint)


def _placed(values: Tensor, places: Tensor) -> Tensor:
    """Return ``(N, R, ...)``: the values at ``places`` ``(N, R)``, 0 where there is none (-1)."""
    there = (places >= 0).view(*places.shape, *[1] * (values.ndim - 1))
    return values[places.clamp(min=0)] * there
