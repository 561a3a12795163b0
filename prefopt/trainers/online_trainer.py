"""The online trainer: TRL generates, our objective says what is learned from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import is_peft_model
from datasets import Dataset
from torch import Tensor, nn
from transformers import TrainerCallback
from transformers.trainer_utils import SaveStrategy

from prefopt.batch import PolicyOutputs, Prepared, Rollouts
from prefopt.errors import UserError
from prefopt.online.objective import OnlineObjective
from prefopt.online.turnwise import TurnwiseObjective
from prefopt.trainers import progress
from prefopt.trainers.checkpointing.staging import WholeCheckpointsMixin
from prefopt.trainers.compose import choose_objective, tell_unread_rewards, with_length, with_roles, with_weights
from prefopt.trainers.display import show_brief_lines
from prefopt.trainers.generation import attach, completion_mask, detach_rows, gather_rollouts, reads_logps
from prefopt.trainers.guards.finite_rows import finite_rows, prepare_finite, sound_policy
from prefopt.trainers.guards.finite_state import updated
from prefopt.trainers.guards.mixin import FiniteStepsMixin
from prefopt.trainers.guards.texts import texts_of_rollouts
from prefopt.trainers.history import HistoryFile, Tally
from prefopt.trainers.online_checkpoints import OnlineCheckpoints
from prefopt.trainers.online_config import OnlineConfig
from prefopt.trainers.optimiser import use_optimiser
from prefopt.trainers.preference_prompt import PreferencePrompt
from prefopt.trainers.prompts import check_columns, check_supplied
from prefopt.trainers.reference import Reference
from prefopt.trainers.resuming import ResumesMixin
from prefopt.trainers.rewards.reading import check_names, read_sources
from prefopt.trainers.rewards.scorer import Scorer
from prefopt.trainers.rewards.source import RewardSource
from prefopt.trainers.rewards.unscored import UnscoredLimit
from prefopt.trainers.supply.behaviour import Behaviour
from prefopt.trainers.supply.checks import check_shape, check_weights_are_whole
from prefopt.trainers.supply.critic import attach_critic, own_rate
from prefopt.trainers.supply.current import Current
from prefopt.trainers.supply.hints import Hints, draws_hints
from prefopt.trainers.supply.input_settings import read_inputs
from prefopt.trainers.supply.plan import wanted_columns
from prefopt.trainers.supply.preferences import Preferences
from prefopt.trainers.supply.references import expert_answers
from prefopt.trainers.supply.refine import on_device, refined
from prefopt.trainers.supply.steps import Splitter
from prefopt.trainers.supply.tasks import Tasks
from prefopt.trainers.supply.turns import Turns, needs_of
from prefopt.trainers.supply.validation import Validation, check_validation
from prefopt.trainers.supply.whole_batch import WholeBatch
from prefopt.trainers.trl_hooks import require_tested_version
from reward_models.attention_choice import use_attention

HISTORY, SOUND = "history.jsonl", "sound"


class OnlineTrainer(WholeCheckpointsMixin, ResumesMixin, FiniteStepsMixin, OnlineCheckpoints):
    """TRL's GRPOTrainer with the advantages, weights and loss of an `OnlineObjective`.

    Generation, vLLM, tools and environments are TRL's, unchanged. ``prepare`` runs once a generation batch, over the
    rows of all processes; every optimiser step is scaled to one mean-type loss, however a batch is split into steps,
    micro-batches and processes. The objective's state advances once an optimiser step and is part of every checkpoint.

    Args:
        model: a folder, a hub name, or a loaded model.
        rewards: reward sources: callables with TRL's signature, or mappings as under ``rewards:`` in a configuration.
        args: an `OnlineConfig`; recipe and weighting stand there.
        train_dataset: rows with ``prompt`` and the columns that the sources read.
        eval_dataset: the same, or None.
        objective: instead of the recipe in ``args``.
        peft_config: instead of the LoRA settings in ``args``.
        other: passed to GRPOTrainer: processing_class, callbacks, optimizers, tools, rollout_func, ...
    """

    def __init__(
        self,
        model: Any,
        rewards: Sequence[Any],
        args: OnlineConfig,
        train_dataset: Dataset | None = None,
        eval_dataset: Dataset | None = None,
        objective: OnlineObjective | None = None,
        peft_config: Any = None,
        **other: Any,
    ) -> None:
        require_tested_version()
        sources = read_sources(rewards)
        rollouts = other.get("rollout_func") is not None
        chosen = choose_objective(args, objective, sources, other)
        check_validation(chosen, args, eval_dataset is not None)
        inputs = read_inputs(args.inputs, needs_of(chosen))
        for data, name in ((train_dataset, "the training data"), (eval_dataset, "the evaluation data")):
            check_columns(data, sources, name, skip=rollouts)
            check_supplied(data, wanted_columns(inputs, args), name)
        if not sources and other.get("environment_factory") is None:
            raise UserError("`rewards` is empty: name at least one reward source")
        adapter = peft_config or args.lora()
        sources = [source.load(args.device) for source in sources]
        columns = [_Column(name) for source in sources for name in source.names]
        super().__init__(
            model=model,
            reward_funcs=list(columns),
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            peft_config=adapter,
            **other,
        )
        if args.attention != "auto" or args.use_vllm or rollouts:
            use_attention(self.model, args.attention, args.device, None, training=True)
        check_shape(chosen, self.model.config)
        check_weights_are_whole(chosen, self.accelerator.distributed_type)
        use_optimiser(self)
        # Environments bring rewards of their own, which TRL has appended: None where a row has another environment.
        own = list(zip(self.reward_funcs, self.reward_func_names, strict=True))[len(columns) :]
        sources += [RewardSource(function, (name,), may_abstain=True) for function, name in own]
        check_names(sources)
        limit = UnscoredLimit(args.max_unscored, args.unscored_window)
        splitter = None if args.steps is None else Splitter.of(args.steps)
        self.scorer = Scorer(sources, limit, chosen.needs, inputs, splitter, self.tokenizer)
        self._results: dict[str, Tensor] = {}
        tell_unread_rewards(chosen, sources)
        weighed = with_roles(with_weights(chosen, self.scorer.weights), self.scorer.roles)
        self.objective = with_length(weighed, args.max_completion_length)
        self.objective_state = self.objective.init_state()
        self.tasks = None if args.task_column is None else Tasks(self, args.task_column)
        form = PreferencePrompt(tuple(self.scorer.names), args.preference_template)
        self.preferences = Preferences(self, form) if "preference" in self.objective.needs else None
        tasks = self.tasks.names if self.tasks else ()
        self.tallies = {mode: Tally(self.scorer.names, tasks) for mode in ("train", "eval")}
        self.statistics: progress.Statistics = {}
        self._consumed: list[progress.Statistics] = []
        self.prepare_reads_logps: bool | None = None
        self.reference: Reference | None = None
        if "ref_logps" in self.objective.needs:
            fresh = adapter is not None and is_peft_model(self.model)
            self.reference = Reference(self, args.reference_model, fresh)
        self.critic = attach_critic(self) if "policy.values" in self.objective.needs else None
        self.behaviour, self.current = Behaviour(self), Current(self)
        self.whole_batch, self.validation = WholeBatch(self), Validation(self)
        self.hints = Hints(self) if draws_hints(self.objective, args) else None
        self.turns = Turns(self, self.objective) if isinstance(self.objective, TurnwiseObjective) else None
        if self.turns is not None:
            self.add_callback(self.turns)
        show_brief_lines(self)
        self.add_callback(_AdvanceState(self))
        self.add_callback(self.validation)
        self.add_callback(HistoryFile(Path(args.output_dir) / HISTORY))

    @property
    def whole_groups(self) -> bool:
        """As the objective says."""
        return self.objective.whole_groups

    def score(self, rows: list[dict[str, Any]], prompts: list[Any], completions: list[Any], ids: list[Any]) -> Tensor:
        """Call every source on this process's rows; all processes stop together where one fails."""
        context = self.reward_context() | {"completion_ids": ids}
        # What is judged is the answer to the question, whatever weights were written beside it.
        prompts = prompts if self.preferences is None else self.preferences.plain
        rewards, self._results = self.scorer(self.accelerator, rows, prompts, completions, context)
        for draw in (self.tasks, self.preferences):
            self._results |= {} if draw is None else draw.extras
        if self.mode == "train":
            self.scorer.count(rewards)
        else:
            self.validation.add(rewards)
        return rewards

    def choose_rows(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Draw prompts by their tasks, and write preferences into them, where the weighting asks for it."""
        for draw in (self.tasks, self.preferences):
            rows = rows if draw is None else draw(rows)
        return rows

    def prepare_generation(self, rows: list[dict[str, Any]], batch: dict[str, Any], rewards: Tensor) -> dict[str, Any]:
        """Run ``prepare`` over the rows of all processes; keep this process's part in the batch."""
        rollouts, prepared, sound = self._prepared(rows, batch, rewards, self.group_size)
        own = slice(self.accelerator.process_index * len(rows), (self.accelerator.process_index + 1) * len(rows))
        self.tallies[self.mode].add_shared({**prepared.metrics, **self.scorer.missing()})
        self.forget_reward_metrics()
        if self.mode == "train":
            self.statistics = {slot: dict(values) for slot, values in prepared.statistics.items()}
        if self.log_completions:
            self.show_advantages(prepared.advantages.sum(-1) / rollouts.mask.sum(-1).clamp(min=1))
        batch = attach(batch, rollouts, prepared, own, common=self.objective.scope == "batch" or self.turns is not None)
        if "importance_sampling_ratio" in batch:
            # The sampling engine's numbers differ from the trainer's; TRL corrects the policy term alone, too.
            batch["weights"] = batch["weights"] * batch["importance_sampling_ratio"]
        batch[SOUND] = sound[own].to(batch["weights"].device) & finite_rows(batch["weights"])
        return batch | {"row_names": [_name(row, i) for i, row in enumerate(rows, own.start + 1)]}

    def _prepared(
        self, rows: list[dict[str, Any]], batch: dict[str, Any], rewards: Tensor, group: int
    ) -> tuple[Rollouts, Prepared, Tensor]:
        """Return the rollouts of all processes, what is learned from them, and which rows ``(B,)`` are finite."""
        mask = completion_mask(batch)
        extras = self.behaviour(rows, batch, mask, self._results, bool(self.prepare_reads_logps))
        known = "old_per_token_logps" in batch
        logps = batch["old_per_token_logps"] if known else torch.full(mask.shape, torch.nan, device=mask.device)
        rollouts = gather_rollouts(self.accelerator, mask, rewards, logps, extras, group)
        try:
            if self.prepare_reads_logps is None and not known:
                still = self.whole_batch.still(rollouts)
                self.prepare_reads_logps = reads_logps(self.objective, still, self.objective_state)
                if self.prepare_reads_logps:
                    return self._prepared(rows, batch, rewards, group)
            rollouts = self.whole_batch(rollouts, batch)
            return rollouts, *prepare_finite(self.objective, rollouts, self.objective_state, known)
        except ValueError as error:
            raise UserError(f"recipe '{self.objective.recipe}': {error}") from error

    def demonstrations(self, rows: list[dict[str, Any]]) -> list[tuple[list[int], str]] | None:
        """Return tokens and text of each row's demonstration, where they stand among the completions."""
        column = self.args.demonstration
        if column is None or "from_expert" not in self.objective.needs:
            return None
        return [(ids, row[column]) for ids, row in zip(expert_answers(self, rows), rows, strict=True)]

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """As transformers does; the critic may learn faster."""
        optimiser: torch.optim.Optimizer = super().create_optimizer(*args, **kwargs)
        if self.critic is not None:
            own_rate(optimiser, self.critic, self.args.critic_learning_rate)
        return optimiser

    def before_step(self, parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Run ``refine`` over the mini-batch of all processes, where the objective has parts that see it whole."""
        if self.turns is not None:
            self.turns.before_step()
        statistics, parts = self.statistics, list(parts)
        if self.objective.scope == "batch":
            outputs = [self.current.without_gradient(part, self.policy_is_samplers) for part in parts]
            parts, own = refined(self.objective, self.objective_state, parts, outputs, self.accelerator)
            statistics = {**self.statistics, **own}
        if self.mode == "train":
            self._consumed.append(statistics)
        return parts

    def micro_batch_loss(self, model: nn.Module, batch: dict[str, Any]) -> Tensor:
        """Loss of some rows of a generation batch; over an optimiser step and all processes they make one mean loss."""
        measured = self.mode == "eval" or self._logs_this_step()
        policy, entropies, balance = self.current(model, batch, measured)
        state = on_device(self.objective_state, policy.logps.device)
        rollouts, prepared = detach_rows(batch, policy.logps, state, self.whole_groups)
        loss = self.objective.loss(rollouts, prepared, policy) * self._scale()
        if balance is not None:
            steps = self.current_gradient_accumulation_steps if self.mode == "train" else 1
            loss = loss + self.router_aux_loss_coef * balance / steps
        self.watch(batch, sound_policy(policy, rollouts.mask) & batch.get(SOUND, True))
        if measured and entropies is not None:
            extras = {name: value.detach() for name, value in policy.extras.items()} | {"entropies": entropies.detach()}
            self._measure(rollouts, prepared, PolicyOutputs(policy.logps.detach(), extras))
        return loss

    def _scale(self) -> float:
        """Make a micro-batch's part of a generation batch its part of an optimiser step, averaged over processes."""
        if self.mode == "eval":
            return float(self.accelerator.num_processes)
        share = self.args.steps_per_generation / self.current_gradient_accumulation_steps
        return float(share * self.accelerator.num_processes)

    def _measure(self, rollouts: Rollouts, prepared: Prepared, policy: PolicyOutputs) -> None:
        tally = self.tallies[self.mode]
        tally.add_local(self.objective.metrics(rollouts, prepared, policy))
        if "ref_logps" in rollouts.extras:
            taking_part = prepared.penalty_weights > 0
            gap = torch.where(taking_part, rollouts.extras["ref_logps"] - policy.logps, 0.0)
            tally.add_local({"reference_kl": ((gap.exp() - gap - 1).sum(), taking_part.sum())})

    def _logs_this_step(self) -> bool:
        step = self.state.global_step + 1
        if self.args.logging_strategy != SaveStrategy.STEPS:
            return str(self.args.logging_strategy.value) == "epoch"
        return step % max(self.state.logging_steps, 1) == 0 or (step == 1 and self.args.logging_first_step)

    def open_figures(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Sums and counts since the last log line, and what TRL has put by for it."""
        return self.tallies["train"].sums(), self.figures_of_trl

    def take_figures(self, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
        """Go on adding to what `open_figures` gave."""
        self.tallies["train"].take(tensors)
        self.figures_of_trl = plain

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the figures since the last line, of all processes."""
        figures = self.tallies[self.mode].collect(self.accelerator)
        prefix = "" if self.mode == "train" else "eval_"
        logs |= {prefix + name: value for name, value in figures.items()}
        super().log(logs, start_time)

    def objective_in_checkpoint(self) -> tuple[Mapping[str, Any], Mapping[str, Tensor]]:
        """Recipe, parts and state."""
        parts = {slot: repr(part) for slot, part in self.objective.parts()}
        return {"recipe": self.objective.recipe, "parts": parts}, self.objective_state

    def rows_of(self, inputs: Any) -> list[str]:
        """Name the rows of a micro-batch that was taken from the buffer."""
        return list(inputs["row_names"]) if "row_names" in inputs else []

    def text_of(self, inputs: Any) -> list[dict[str, Any]]:
        """Prompt, completion, rewards and advantage of each row."""
        return texts_of_rollouts(inputs, self.tokenizer, self.scorer.names)

    def remember_step(self) -> None:
        """A step begins; what is measured in it may have to be forgotten."""
        super().remember_step()
        self._measured_before = self.tallies["train"].sums()

    def forget_step(self) -> None:
        """A step is not taken: neither are its figures; those of the completions and their rewards are kept."""
        tally = self.tallies["train"]
        shared = {name: value for name, value in tally.sums().items() if name.startswith("shared|")}
        tally.take({**self._measured_before, **shared})

    def advance_state(self) -> None:
        """Move the objective's state by the generation batches that the optimiser step consumed."""
        if self.step_was_taken:
            for statistics in self._consumed:
                self.objective_state = updated(self.objective, self.objective_state, statistics)
        self._consumed = []
        self.end_step()


class _Column:
    """Tells TRL that a reward column of this name exists; scores come from `OnlineTrainer.score`."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> list[float | None]:
        raise AssertionError("scores come from OnlineTrainer.score")


class _AdvanceState(TrainerCallback):
    """Advances the objective's state once an optimiser step."""

    def __init__(self, trainer: OnlineTrainer) -> None:
        self.trainer = trainer

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The optimiser has stepped, or was told to skip."""
        self.trainer.advance_state()


def _name(row: dict[str, Any], number: int) -> str:
    prompt = row.get("prompt", "")
    text = prompt if isinstance(prompt, str) else str(prompt[-1].get("content", "")) if prompt else ""
    return f"completion {number} of {text[:60]!r}"
