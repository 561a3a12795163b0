"""Everything private that the online trainer uses of TRL's GRPOTrainer, and nothing of it elsewhere.

`HookedGRPOTrainer` turns TRL's private seams into six methods with names of ours. They were read and tested on the
versions of `TESTED`; on any other version construction stops with a sentence, before a model is loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import trl
from accelerate.utils import is_peft_model
from packaging.specifiers import SpecifierSet
from torch import Tensor, nn
from torch.nn.functional import pad
from trl import GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import (
    RepeatSampler,
    shuffle_sequence_dict,
    split_pixel_values_by_grid,
    split_tensor_dict,
    unsplit_pixel_values_by_grid,
)

from prefopt.errors import UserError
from prefopt.trainers.logprobs import attach_tree_head
from prefopt.trainers.shared_prompts import (
    completion_outputs,
    completion_passes,
    joined,
    order_of_groups,
    reorder,
    why_separate,
)
from prefopt.trainers.token_budget import add_up, check_passes

logger = logging.getLogger(__name__)
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

MODEL_INPUTS = (
    "pixel_values", "image_grid_thw", "num_images", "pixel_attention_mask", "spatial_shapes", "num_tiles",
    "image_sizes", "token_type_ids", "mm_token_type_ids", "image_position_ids",
)  # fmt: skip

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


class HookedGRPOTrainer(GRPOTrainer):
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
    def mode(self) -> str:
        """``train`` or ``eval``."""
        return "train" if self.model.training else "eval"

    @property
    def group_size(self) -> int:
        """Completions a prompt."""
        return int(self.num_generations if self.mode == "train" else self.num_generations_eval)

    @property
    def tokenizer(self) -> Any:
        """The policy's, also where a processor holds it."""
        return self._tokenizer

    @property
    def end_ids(self) -> list[int]:
        """Tokens with which a completion that was not cut short ends."""
        return [*self.eos_token_ids, self._tokenizer.pad_token_id]

    @property
    def micro_step(self) -> int:
        """Micro-batches trained on so far; the position within a rollout buffer."""
        return int(self._step)

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

    def token_outputs(
        self, model: nn.Module, batch: Mapping[str, Any], rows_at_once: int | None = None, entropies: bool = True
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Log-probabilities ``(B, T)`` of completions, entropies if wanted, a mixture of experts' balancing loss."""
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
        if wanted <= {"entropies"}:
            logps, entropies, _ = self.token_outputs(model, batch, rows_at_once, bool(wanted))
            return {"logps": logps} if entropies is None else {"logps": logps, "entropies": entropies}
        if any(batch.get(name) is not None for name in MODEL_INPUTS):
            raise UserError(f"{', '.join(sorted(wanted))}: of a model that reads images, which these passes leave out")
        (input_ids, attention_mask), width = joined(batch), batch["completion_ids"].size(1)
        share = self.shares_prompts(model, input_ids.size(1))
        found = []
        parts = self._rows_of_passes(model, input_ids, attention_mask, width, rows_at_once, share)
        for rows in parts:
            inputs = (input_ids[rows], attention_mask[rows], width, wanted, self.temperature, share)
            with self.accelerator.autocast():
                found.append(completion_outputs(model, *inputs, top=self.args.top_logits))
        order = torch.cat(parts).argsort()
        return {name: torch.cat([one[name] for one in found])[order] for name in found[0]}

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

    @torch.no_grad()
    def fixed_statistics(self, model: nn.Module, batch: Mapping[str, Any], wanted: frozenset[str]) -> dict[str, Tensor]:
        """Return what `statistics_of` does, without gradient, a device batch at a time."""
        with disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs):
            return self.statistics_of(model, batch, wanted, self.rows_at_once)

    @property
    def rows_at_once(self) -> int:
        """Rows of a pass without gradient."""
        args = self.args
        return int(args.per_device_train_batch_size if self.mode == "train" else args.per_device_eval_batch_size)

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

    def as_completion(self, prompt: Any, text: str) -> Any:
        """Return a completion as sources get it: text for a prompt that is text, else a list of one message."""
        return text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]

    @torch.no_grad()
    def continue_from(self, prefixes: Sequence[list[int]], left: Sequence[int]) -> list[list[int]]:
        """Return what the policy generates behind each prefix, at most ``left`` tokens, sampled as completions are.

        Those with equally much to come are generated together. An engine generates up to its own limit.
        """
        at_once = max(1, self.rows_at_once * (self.args.steps_per_generation if self.mode == "train" else 1))
        order = sorted(range(len(prefixes)), key=lambda i: -left[i])
        found: dict[int, list[int]] = {}
        limit = self.generation_config.max_new_tokens
        try:
            for start in range(0, len(order), at_once):
                some = order[start : start + at_once]
                self.generation_config.max_new_tokens = max(1, left[some[0]])
                drawn = self._generate_single_turn([prefixes[i] for i in some], None, {}, 1)[0]
                found |= {i: tokens[: left[i]] for i, tokens in zip(some, drawn, strict=True)}
        finally:
            self.generation_config.max_new_tokens = limit
        return [found[i] for i in range(len(prefixes))]

    def replaced(self, rows: int) -> Tensor:
        """Return ``(B,)`` bool: which completions of this process a demonstration replaces, the last of each group."""
        places = torch.arange(rows) + self.accelerator.process_index * rows
        return places % self.group_size == self.group_size - 1

    def demonstrations(self, rows: list[dict[str, Any]]) -> list[tuple[list[int], str]] | None:
        """Return tokens and text of each row's demonstration, or None where none are wanted."""
        return None

    def _generate(self, prompts: list[Any]) -> Any:
        found = list(super()._generate(prompts))
        written = self.demonstrations(self._asked)
        if written is None:
            return tuple(found)
        _, ids, own, completions, logps, *_ = found
        for i in self.replaced(len(ids)).nonzero().flatten().tolist():
            ids[i], text = written[i]
            completions[i] = self.as_completion(prompts[i], text)
            if own is not None:
                own[i] = [1] * len(ids[i])
            if logps is not None:
                logps[i] = [None] * len(ids[i])
        return tuple(found)

    def _send_telemetry(self) -> None:
        """Tell nobody that a run was started."""

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: list[Any], completions: list[Any], completion_ids_list: list[Any]
    ) -> Tensor:
        self._rewards = self.score(inputs, prompts, completions, completion_ids_list)
        return self._rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._asked = inputs
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
            _refuse_images(images)
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

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        parts, budget = [inputs], self.args.token_budget
        if budget is not None:
            _refuse_images(inputs)
            ids, mask = joined(inputs)
            share = self.shares_prompts(model, ids.size(1))
            group = inputs["group"] if self.whole_groups else None
            width, bare = inputs["completion_ids"].size(1), self.accelerator.unwrap_model(model)
            found = completion_passes(bare, ids, mask, width, budget, share, group)
            parts = [reorder(inputs, rows) for rows in found] if len(found) > 1 else parts
        return add_up(parts, lambda part: self.micro_batch_loss(model, part), model, self.accelerator)

    def _get_train_sampler(self, dataset: Any = None) -> EpochSampler:
        args = self.args
        return EpochSampler(
            epoch=lambda: int(self.state.epoch or 0),
            data_source=self.train_dataset if dataset is None else dataset,
            mini_repeat_count=self.num_generations,
            batch_size=args.generation_batch_size // self.num_generations,
            repeat_count=self.num_iterations * args.steps_per_generation,
            shuffle=self.shuffle_dataset,
            seed=args.seed if args.data_seed is None else args.data_seed,
        )

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        folder.mkdir(parents=True, exist_ok=True)
        # First, so that a checkpoint with trainer_state.json, which comes last, has all of it.
        self.save_progress(folder)
        super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.load_progress(Path(checkpoint))


def _refuse_images(inputs: Mapping[str, Any]) -> None:
    if any(inputs.get(name) is not None for name in MODEL_INPUTS):
        raise UserError("token_budget counts tokens of text, and this model reads images; leave it out")
