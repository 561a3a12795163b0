"""Everything private that the online trainer uses of TRL's GRPOTrainer: here and in the two classes below this one.

`HookedGRPOTrainer` turns TRL's private seams into six methods with names of ours. They were read and tested on the
versions of `TESTED`; on any other version construction stops with a sentence, before a model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import trl
from accelerate.utils import is_peft_model
from packaging.specifiers import SpecifierSet
from torch import Tensor, nn
from trl.trainer.utils import (
    RepeatSampler,
    shuffle_sequence_dict,
    split_pixel_values_by_grid,
    split_tensor_dict,
    unsplit_pixel_values_by_grid,
)

from prefopt.errors import UserError
from prefopt.trainers.logprobs import attach_tree_head
from prefopt.trainers.shared_prompts import completion_passes, joined, order_of_groups, reorder
from prefopt.trainers.token_budget import add_up, check_passes
from prefopt.trainers.trl_passes import refuse_images
from prefopt.trainers.trl_sampling import GRPOSampling

TESTED = SpecifierSet(">=1.16,<1.17")

HOOKS: Mapping[str, tuple[str, ...]] = {
    "_calculate_rewards": ("self", "inputs", "prompts", "completions", "completion_ids_list"),
    "_generate_and_score_completions": ("self", "inputs"),
    "_prepare_inputs": ("self", "generation_batch"),
    "_compute_loss": ("self", "model", "inputs"),
    "_get_per_token_logps_and_entropies": (
        "self", "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size", "compute_entropy",
        "compute_aux_loss", "pixel_values", "image_grid_thw", "num_images", "pixel_attention_mask", "spatial_shapes",
        "num_tiles", "image_sizes", "token_type_ids", "mm_token_type_ids", "image_position_ids",
    ),
    "_generate": ("self", "prompts"),
    "_generate_single_turn": (
        "self", "prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images",
    ),
    "_get_train_sampler": ("self", "dataset"),
    "_save_checkpoint": ("self", "model", "trial"),
    "_load_optimizer_and_scheduler": ("self", "checkpoint"),
    "_send_telemetry": ("self",),
    "log": ("self", "logs", "start_time"),
}  # fmt: skip
"""Methods of GRPOTrainer that are overridden or called, with their parameters."""

OUTPUT_KEYS = frozenset(
    {"prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages", "num_items_in_batch"}
)
"""What ``_generate_and_score_completions`` always returns."""

REWARD_METRICS = ("reward", "reward_std", "frac_reward_zero_std")


def require_tested_version() -> None:
    """Raise ``UserError`` where the installed TRL is not one that the hooks were tested on."""
    if trl.__version__ not in TESTED:
        raise UserError(
            f"the online trainer was tested with trl {TESTED}, and {trl.__version__} is installed; its private methods "
            f"may differ. Install a tested one: pip install 'trl{TESTED}'"
        )


class EpochSampler(RepeatSampler):
    """TRL's order of prompts, drawn from seed and epoch alone.

    TRL draws every epoch from one running generator, which a resumed run starts anew: it would then repeat the first
    epoch's order in a later one.
    """

    def __init__(self, epoch: Callable[[], int], **settings: Any) -> None:
        super().__init__(**settings)
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            self.generator.manual_seed((self.seed or 0) + self.epoch())
        yield from super().__iter__()


class HookedGRPOTrainer(GRPOSampling):
    """TRL's GRPOTrainer with named seams. A subclass defines the methods below; the rest stays TRL's.

    With ``prefix_sharing: auto`` the completions of a prompt stay together, and the prompt is computed once for all of
    them that are in a micro-batch; the numbers are those of separate rows.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._told: set[str] = set()
        self._waiting: list[dict[str, Any]] = []
        self._taken, self._fresh_at = 0, -1
        self._asked: list[dict[str, Any]] = []
        attach_tree_head(self.model.get_base_model() if is_peft_model(self.model) else self.model)
        check_passes(self)
        if self.aux_loss_enabled and self.args.token_budget is not None:
            raise UserError(
                "token_budget does not go with router_aux_loss_coef: the experts' balancing loss of a batch is not the "
                "sum of its passes'; set router_aux_loss_coef to 0, or leave token_budget out"
            )

    def score(self, rows: list[dict[str, Any]], prompts: list[Any], completions: list[Any], ids: list[Any]) -> Tensor:
        """Score this process's completions. Return the rewards of all processes, ``(N, K)``, NaN = no score."""
        raise NotImplementedError

    def prepare_generation(self, rows: list[dict[str, Any]], batch: dict[str, Any], rewards: Tensor) -> dict[str, Any]:
        """Add to this process's ``batch`` what the loss needs; first dimension = rows."""
        raise NotImplementedError

    def choose_rows(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the rows of the data to be asked, as many as ``rows``, which its order gives, one a completion."""
        return rows

    def before_step(self, parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the micro-batches that an optimiser step takes from a generation batch, before the first of them.

        A step that takes from two generation batches asks for each. In evaluation a batch is a step of its own.
        """
        return list(parts)

    def micro_batch_loss(self, model: nn.Module, batch: dict[str, Any]) -> Tensor:
        """Return the loss of a micro-batch, scaled for accumulation and processes."""
        raise NotImplementedError

    def save_progress(self, folder: Path) -> None:
        """Write into a checkpoint what a resumed run needs beyond what TRL writes."""
        raise NotImplementedError

    def load_progress(self, folder: Path) -> None:
        """Read what `save_progress` wrote."""
        raise NotImplementedError

    @property
    def whole_groups(self) -> bool:
        """Whether the loss compares the completions of a prompt, which must then be in one pass."""
        return False

    @property
    def micro_step(self) -> int:
        """Micro-batches trained on so far; the position within a rollout buffer."""
        return int(self._step)

    @property
    def generation(self) -> int:
        """Number of the generation batch that the next micro-batch is of, from 0 on."""
        return self.micro_step // (self.args.steps_per_generation * self.num_iterations)

    @property
    def data_seed(self) -> int:
        """Seed of the order of the data."""
        return int(self.args.seed if self.args.data_seed is None else self.args.data_seed)

    @property
    def mid_buffer(self) -> bool:
        """Whether rollouts that were generated are still to be trained on."""
        every = self.args.steps_per_generation * self.num_iterations
        return self._buffered_inputs is not None and self._step % every != 0

    @property
    def buffer(self) -> list[dict[str, Any]] | None:
        """The generated micro-batches."""
        return self._buffered_inputs

    @property
    def policy_is_samplers(self) -> bool:
        """Whether no optimiser step came between the generation of the current rollouts and now."""
        return self.mode == "eval" or self._fresh_at == self.state.global_step

    def end_step(self) -> None:
        """The optimiser has stepped: the next micro-batch begins another step."""
        self._waiting, self._taken = [], 0

    def restore_buffer(self, micro_step: int, buffer: list[dict[str, Any]] | None) -> None:
        """Continue at ``micro_step`` of ``buffer``; None generates anew at the next micro-batch."""
        self._step, self._buffered_inputs = micro_step, buffer

    @property
    def figures_of_trl(self) -> dict[str, list[float]]:
        """What TRL has measured since the last log line of training."""
        return dict(self._metrics["train"])

    @figures_of_trl.setter
    def figures_of_trl(self, figures: Mapping[str, list[float]]) -> None:
        self._metrics["train"].clear()
        self._metrics["train"].update({name: list(values) for name, values in figures.items()})

    def forget_reward_metrics(self) -> None:
        """Drop what TRL logs of a weighted sum of rewards and of advantages that do not act here."""
        metrics = self._metrics[self.mode]
        for key in [key for key in metrics if key in REWARD_METRICS or key.startswith("rewards/")]:
            del metrics[key]

    def show_advantages(self, advantages: Tensor) -> None:
        """Put ``(N,)`` advantages into the table of completions, in place of TRL's."""
        shown = self._logs["advantages"]
        for _ in range(min(len(advantages), len(shown))):
            shown.pop()
        shown.extend(advantages.tolist())

    def reward_context(self) -> dict[str, Any]:
        """Return what TRL hands to reward functions beside the columns."""
        context = {
            "trainer_state": self.state,
            "log_extra": self._log_completion_extra,
            "log_metric": self._log_metric,
        }
        return context if self.environments is None else context | {"environments": self.environments}

    def _send_telemetry(self) -> None:
        """Tell nobody that a run was started."""

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: list[Any], completions: list[Any], completion_ids_list: list[Any]
    ) -> Tensor:
        self._rewards = self.score(inputs, prompts, completions, completion_ids_list)
        return self._rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        inputs = self._asked = self.choose_rows(inputs)
        batch = super()._generate_and_score_completions(inputs)
        return self.prepare_generation(inputs, batch, self._rewards)

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        if self.mode == "eval":
            return self.before_step([dict(super()._prepare_inputs(generation_batch))])[0]
        every, steps = self.args.steps_per_generation * self.num_iterations, self.args.steps_per_generation
        if self._buffered_inputs is None or self._step % every == 0:
            self._buffered_inputs = self._fresh_buffer(generation_batch)
            self._fresh_at = self.state.global_step
        if not self._waiting:
            place = self._step % steps
            left = min(self.current_gradient_accumulation_steps - self._taken, steps - place)
            self._waiting = self.before_step(self._buffered_inputs[place : place + left])
        self._taken += 1
        return self._waiting.pop(0)

    def _fresh_buffer(self, generation_batch: Any) -> list[dict[str, Any]]:
        batch = split_pixel_values_by_grid(self._generate_and_score_completions(generation_batch))
        longest = batch["prompt_ids"].size(1) + batch["completion_ids"].size(1)
        if self.whole_groups or self.shares_prompts(self.model, longest):
            batch = reorder(batch, order_of_groups(batch["group"]))
        else:
            batch = shuffle_sequence_dict(batch)
        return [unsplit_pixel_values_by_grid(part) for part in split_tensor_dict(batch, self.args.steps_per_generation)]

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        found = self.rows_of_passes(model, inputs)
        parts = [reorder(inputs, rows) for rows in found] if len(found) > 1 else [inputs]
        return add_up(parts, lambda part: self.micro_batch_loss(model, part), model, self.accelerator)

    def rows_of_passes(self, model: nn.Module, inputs: Mapping[str, Any]) -> list[Tensor]:
        """Return the rows of a micro-batch that each forward and backward pass takes."""
        budget = self.args.token_budget
        if budget is None:
            return [torch.arange(len(inputs["completion_ids"]))]
        refuse_images(inputs)
        ids, mask = joined(inputs)
        share = self.shares_prompts(model, ids.size(1))
        group = inputs["group"] if self.whole_groups else None
        width, bare = inputs["completion_ids"].size(1), self.accelerator.unwrap_model(model)
        return completion_passes(bare, ids, mask, width, budget, share, group)

    def _get_train_sampler(self, dataset: Any = None) -> EpochSampler:
        args = self.args
        return EpochSampler(
            epoch=lambda: int(self.state.epoch or 0),
            data_source=self.train_dataset if dataset is None else dataset,
            mini_repeat_count=self.num_generations,
            batch_size=args.generation_batch_size // self.num_generations,
            repeat_count=self.num_iterations * args.steps_per_generation,
            shuffle=self.shuffle_dataset,
            seed=self.data_seed,
        )

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        folder.mkdir(parents=True, exist_ok=True)
        self.save_progress(folder)
        super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.load_progress(Path(checkpoint))
