"""A transformers.Trainer for the offline objective."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from transformers import EvalPrediction, Trainer

from prefopt.batch import PairOutputs, Pairs
from prefopt.composition import State
from prefopt.errors import UserError
from prefopt.offline.method import OfflineMethod
from prefopt.trainers.adapted import bare, is_adapted
from prefopt.trainers.checkpointing.staging import WholeCheckpointsMixin
from prefopt.trainers.guards.finite_rows import sound_rows
from prefopt.trainers.guards.mixin import FiniteStepsMixin
from prefopt.trainers.guards.texts import texts_of_rows
from prefopt.trainers.history import HistoryFile, Tally
from prefopt.trainers.kept_reference import KeepsReferenceMixin
from prefopt.trainers.logprobs import attach_tree_head
from prefopt.trainers.mask_training import TrainsMasksMixin
from prefopt.trainers.offline_config import OfflineConfig
from prefopt.trainers.offline_data import tokenised
from prefopt.trainers.optimiser import use_optimiser
from prefopt.trainers.pairs.batches import PairBatchCollator, PairRows, length, longest, pair_order, pairs_of
from prefopt.trainers.pairs.reference import ReferenceLogps
from prefopt.trainers.pairs.statistics import laid_out, needed_statistics, pair_outputs, pair_statistics
from prefopt.trainers.pairs.tokens import PairTokens, label_columns
from prefopt.trainers.policies import prepare_tokenizer
from prefopt.trainers.reference_cache import cache_key, compute_reference, with_reference
from prefopt.trainers.reference_pass import FROM_REFERENCE, ReferencePass, check_reference_pass, reference_pass
from prefopt.trainers.resuming import ResumesMixin
from prefopt.trainers.token_budget import InPasses, add_up, check_passes, in_order, parts_of
from prefopt.trainers.token_masks import attach_masks, specifications
from prefopt.trainers.whole_batches import CARRIED, AdvanceState, WholeBatches
from prefopt.trainers.written_settings import write_settings
from reward_models.attention_choice import use_attention
from reward_models.freezing import disable_dropout
from reward_models.prefix_tree import PADDING, row_width, why_not

logger = logging.getLogger(__name__)


def pair_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Means over pairs. Shape: predictions (N, 3) = loss, reward of chosen, reward of rejected."""
    losses, chosen, rejected = np.asarray(prediction.predictions, dtype=np.float64).T
    return {
        "loss": float(losses.mean()),
        "rewards/chosen": float(chosen.mean()),
        "rewards/rejected": float(rejected.mean()),
        "rewards/margin": float((chosen - rejected).mean()),
        "rewards/accuracy": float((chosen > rejected).mean()),
    }


class OfflineTrainer(
    WholeCheckpointsMixin, ResumesMixin, TrainsMasksMixin, KeepsReferenceMixin, FiniteStepsMixin, Trainer
):
    """`transformers.Trainer` on preference pairs; the loss is the mean over all pairs of the optimiser batch.

    Micro-batches, gradient accumulation and the number of processes do not change it. A reference is kept only where
    the objective reads one. Metrics of the objective are computed on logging steps only, over that step's pairs.

    Args:
        model: a causal language model, or a PEFT model.
        args: an `OfflineConfig`; its ``recipe`` is not read here.
        objective: what is minimised.
        train_dataset: rows with prompt, chosen, rejected and the labels that the objective reads, or tokenised pairs.
        eval_dataset: the same, or None.
        processing_class: the tokenizer.
        fresh_adapter: the PEFT model's adapter changes nothing yet, so its base can act as the reference.
        other: passed to `transformers.Trainer`.

    Raises:
        UserError: data or settings that the user can mend.
    """

    collator = PairBatchCollator
    figures = staticmethod(pair_metrics)

    def __init__(
        self,
        model: Any,
        args: OfflineConfig,
        objective: OfflineMethod,
        train_dataset: Dataset | PairTokens | None = None,
        eval_dataset: Dataset | PairTokens | None = None,
        processing_class: Any = None,
        fresh_adapter: bool = False,
        **other: Any,
    ) -> None:
        self.objective = objective
        self.statistics = needed_statistics(objective)
        self.labels = label_columns(objective.needs)
        masks = specifications(objective)
        if is_adapted(model) and model.active_peft_config.is_prompt_learning:
            raise UserError(
                f"{type(model.active_peft_config).__name__} puts tokens of its own before the prompt, which this "
                "trainer does not take; use LoRA or another adapter of weights"
            )
        if args.disable_dropout:
            disable_dropout(model)
        pad_id = prepare_tokenizer(processing_class)
        train, held_out = (
            tokenised(data, args, objective.needs, processing_class, bare(model).config, name, objective.unpaired)
            for data, name in ((train_dataset, "training data"), (eval_dataset, "evaluation data"))
        )
        self.reference = ReferenceLogps(objective.compares_with, model, fresh_adapter) if self.wants_reference else None
        models = [model, *([] if self.reference is None else [self.reference.model, self.reference.anchor])]
        longest_row = max(longest(None if pairs is None else pairs.rows) for pairs in (train, held_out))
        for one in models:
            if one is not None:
                use_attention(bare(one), args.attention, args.device, longest_row, training=True)
        self.shares_prompts = shares_prompts(models, args, train, held_out)
        attach_tree_head(bare(model))
        if masks:
            assert self.reference is not None
            self.masks = attach_masks(bare(model), masks, bare(self.reference.model or model).config)
        self.measured = Tally(())
        super().__init__(
            model=model,
            args=args,
            data_collator=InPasses(
                self.collator(pad_id, self.labels, self.shares_prompts, row_width(bare(model).config)),
                args.token_budget,
            ),
            train_dataset=None if train is None else PairRows(train.rows),
            eval_dataset=None if held_out is None else PairRows(held_out.rows),
            processing_class=processing_class,
            compute_metrics=self.figures,
            **other,
        )
        self.loss_is_scaled_for_ga = True  # by the number of pairs in the whole batch, see compute_loss
        check_passes(self)
        check_reference_pass(self.statistics, args, self.accelerator, self.reference)
        use_optimiser(self)
        self.whole = WholeBatches(objective, self.accelerator)
        self._told: list[list[State]] = []
        if objective.observes:
            self.add_callback(AdvanceState(self._advance))
        self.add_callback(HistoryFile(Path(args.output_dir) / "history.jsonl"))
        if self.reference is not None:
            weights = self.reference.fingerprint(model) if args.precompute_reference else ""
            self.reference.place(self.accelerator)
            self.move_reference(self.reference.moving)
            if weights:
                self._precompute(self.reference, weights)

    @property
    def wants_reference(self) -> bool:
        """Whether any part reads reference log-probabilities."""
        return "ref_logps" in self.objective.needs

    def rows_of(self, inputs: Any) -> list[str]:
        """Row numbers of the training data, from 1 on."""
        return [f"row {i + 1}" for i in inputs["row"].tolist()]

    def text_of(self, inputs: Any) -> list[dict[str, Any]]:
        """Prompt and answers as they were trained on."""
        return texts_of_rows(self.train_dataset.rows, inputs["row"].tolist(), self.processing_class)

    def remember_step(self) -> None:
        """A step begins; its figures may have to be forgotten."""
        super().remember_step()
        self._measured_before = self.measured.sums()

    def forget_step(self) -> None:
        """A step is not taken: neither are its figures."""
        self.measured.take(self._measured_before)

    def outputs(self, model: nn.Module, batch: Mapping[str, Any]) -> tuple[PairOutputs, PairOutputs | None, Pairs]:
        """What the objective takes: policy, reference where it is read, and pairs."""
        if self.reference is not None and FROM_REFERENCE & self.statistics:
            seen = reference_pass(self.reference, batch, model, self.accelerator, self.statistics)
            found = self.said(model, batch, seen)
            ref_logps = laid_out(batch, seen.statistics["logps"])
            return pair_outputs(found), pair_outputs({"logps": ref_logps}), pairs_of(batch, self.labels)
        found = self.said(model, batch)
        reference = None
        if "ref_logps" in batch:
            reference = pair_outputs({"logps": batch["ref_logps"]})
        elif self.reference is not None:
            reference = pair_outputs({"logps": self.reference(batch, model, self.accelerator)})
        return pair_outputs(found), reference, pairs_of(batch, self.labels)

    def said(
        self, model: nn.Module, batch: Mapping[str, Any], reference: ReferencePass | None = None
    ) -> dict[str, Tensor]:
        """What the policy says of a batch, see `pair_statistics`."""
        return pair_statistics(model, batch, self.statistics, reference)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Sum of this micro-batch's losses over the number of pairs in the whole optimiser batch."""
        parts = parts_of(inputs)
        found: list[Tensor] = []
        # Gradients are averaged over processes afterwards.
        together = None if num_items_in_batch is None else num_items_in_batch / self.accelerator.num_processes
        count = inputs["weight"].sum().clamp(min=1) if together is None else together

        def loss_of(part: Any) -> Tensor:
            policy, reference, pairs = self.outputs(model, part)
            real = part["weight"] > 0
            prepared = self.whole.prepared(part)
            losses = self.objective.losses(policy, reference, pairs, prepared)
            self.watch(part, sound_rows(losses, (policy, reference), pairs))
            if model.training and self.objective.observes and self.objective.scope == "row":
                self.whole.watch(part, self.objective.observe(policy, reference, pairs))
            found.append(losses.detach())
            if model.training and self._is_logging_step():
                rows = real.nonzero().squeeze(1)
                seen = None if reference is None else reference[rows]
                self.measured.add_local(self.objective.metrics(policy[rows], seen, pairs[rows], prepared[rows]))
            return torch.where(real, losses, torch.zeros_like(losses)).sum() / count

        loss = add_up(parts, loss_of, model, self.accelerator)
        return (loss, {"losses": in_order(parts, found)}) if return_outputs else loss

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Tensor:
        pairs = torch.stack([batch["weight"].sum() for batch in batch_samples]).sum().to(device)
        return self.accelerator.reduce(pairs, reduction="sum") if self.accelerator.num_processes > 1 else pairs

    def prediction_step(
        self, model: nn.Module, inputs: Any, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[None, Tensor, Tensor]:
        """Loss and rewards of each pair; their exact means are taken over all of them at the end."""
        if self._told:
            for part, carried in zip(parts_of(inputs), self._told.pop(0), strict=True):
                part[CARRIED] = carried
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            parts = parts_of(inputs)
            found = in_order(parts, [self._figures(model, part) for part in parts])
        self.watch_held_out(inputs, found[:, 0])
        return None, found, inputs["weight"]

    def _figures(self, model: nn.Module, part: Mapping[str, Any]) -> Tensor:
        """``(N, 3)``: loss and both rewards."""
        batch = self.outputs(model, part)
        losses = self.objective.losses(*batch, self.whole.prepared(part))
        return torch.stack([losses, *self.objective.rewards(*batch)], dim=1)

    def get_batch_samples(self, *args: Any) -> tuple[list[Any], Any]:
        """The micro-batches of an optimiser step, surveyed together where the objective asks for it."""
        batches, count = super().get_batch_samples(*args)
        if batches and self.objective.scope == "batch":
            self.arrange(batches)
            self.whole.survey_step(batches, self._observe)
        return batches, count

    def evaluation_loop(self, dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        """As transformers does; losses that compare rows compare those of the whole evaluation data."""
        if self.objective.surveys:
            batches = [parts_of(batch) for batch in dataloader]
            told = iter(self.whole.survey([part for parts in batches for part in parts], self._observe, learning=False))
            self._told = [[next(told) for _ in parts] for parts in batches]
        self.whole.resting()
        return super().evaluation_loop(dataloader, *args, **kwargs)

    def arrange(self, batches: list[Any]) -> None:
        """Put into the batches of an optimiser step what a survey needs to know of all of them; nothing for pairs."""

    def _observe(self, part: dict[str, Any]) -> State:
        """What the objective keeps of the rows of a part; where labels don't suffice, one pass without gradient."""
        if self.objective.observes_labels:
            part = self._prepare_inputs(part)
            pairs = pairs_of(part, self.labels)
            nothing = PairOutputs(pairs.chosen_mask.float(), pairs.rejected_mask.float())
            return self.objective.observe(nothing, None, pairs)
        model = self.model_wrapped
        training = model.training
        with torch.no_grad(), self.compute_loss_context_manager():
            found = self.objective.observe(*self.outputs(model.eval(), self._prepare_inputs(part)))
        model.train(training)
        return found

    def _advance(self) -> None:
        self.whole.advance(self.step_was_taken)

    def open_figures(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Sums and counts of the objective's metrics since the last log line."""
        return self.measured.sums(), {}

    def take_figures(self, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
        """Go on adding to what `open_figures` gave."""
        self.measured.take(tensors)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the objective's metrics to a training log line."""
        if "loss" in logs:
            logs |= self.measured.collect(self.accelerator)
            self.say_dead_masks(logs)
        super().log(logs, start_time)

    def _is_logging_step(self) -> bool:
        step, every = self.state.global_step + 1, self.state.logging_steps
        if self.args.logging_strategy != "steps" or not every:
            return self.args.logging_strategy == "epoch"
        return step % every == 0 or (step == 1 and self.args.logging_first_step)

    def _causal(self) -> Any:
        return bare(self.accelerator.unwrap_model(self.model))

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = self.train_dataset if train_dataset is None else train_dataset
        return pair_order(self.args, rows, self.shares_prompts) or super()._get_train_sampler(train_dataset)

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        return SequentialSampler(eval_dataset) if self.args.world_size <= 1 else None

    def floating_point_ops(self, inputs: Mapping[str, Any]) -> int:
        """Six a parameter and token, padding left out."""
        tokens = sum(int((part["trees"]["segments"] != PADDING).sum()) for part in parts_of(inputs))
        return 6 * tokens * int(self.model.num_parameters(exclude_embeddings=True))

    def _precompute(self, reference: ReferenceLogps, weights: str) -> None:
        """Replace the reference model by its log-probabilities, from the cache where it has them."""
        folder = Path(self.args.reference_cache_dir or Path(self.args.output_dir) / "reference_cache")
        precision = f"{self.accelerator.mixed_precision} {self._causal().dtype}"

        def compute(rows: Dataset) -> dict[str, list[Tensor]]:
            return compute_reference(
                rows, lambda batch: reference(batch, self.model, self.accelerator), self.data_collator,
                self.accelerator, self.args.eval_batch_size, self.args.disable_tqdm,
                [length(row, self.shares_prompts) for row in rows],
            )  # fmt: skip

        for data in (self.train_dataset, self.eval_dataset):
            if data is not None:
                key = cache_key(weights, data.rows, precision)
                data.rows = with_reference(data.rows, folder, key, compute, self.accelerator.is_main_process)
        self.reference = None

    def objective_in_checkpoint(self) -> tuple[Mapping[str, Any], Mapping[str, Tensor]]:
        """Recipe, parts and state."""
        parts = {slot: repr(part) for slot, part in self.objective.parts()}
        return {"recipe": self.objective.recipe, "parts": parts}, self.whole.state

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            self.whole.save(Path(output_dir))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.whole.load(Path(checkpoint))

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        if not self.args.should_save:
            return
        folder = Path(output_dir or self.args.output_dir)
        state_dict = self.keep_masks(folder, state_dict)
        self.accelerator.unwrap_model(self.model).save_pretrained(folder, state_dict=state_dict)
        self.processing_class.save_pretrained(folder)
        write_settings(folder, self.args)


def shares_prompts(models: Sequence[Any], args: OfflineConfig, *data: PairTokens | None) -> bool:
    """Whether answers to one prompt share its tokens; where a model (None is none) forbids it, the log says why."""
    if args.prefix_sharing == "never":
        return False
    tokens = max(longest(None if pairs is None else pairs.rows) for pairs in data)
    reasons = [reason for model in models if model is not None and (reason := why_not(model, tokens)) is not None]
    if reasons:
        logger.warning("one row an answer: %s", reasons[0])
    return not reasons
