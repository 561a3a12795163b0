"""Align a policy online against several rewards: one call from prompts to a saved folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import set_seed

from prefopt import __version__
from prefopt.errors import UserError
from prefopt.online.objective import OnlineObjective
from prefopt.trainers.checkpointing.choice import checkpoint_to_resume
from prefopt.trainers.compose import choose_objective
from prefopt.trainers.data_record import record_data
from prefopt.trainers.history import read_history
from prefopt.trainers.online_config import OnlineConfig
from prefopt.trainers.online_trainer import HISTORY, OnlineTrainer
from prefopt.trainers.policies import check_policy, load_policy, load_tokenizer, policy_config
from prefopt.trainers.prompts import check_columns, check_lengths, check_supplied
from prefopt.trainers.rewards.reading import read_sources
from prefopt.trainers.rewards.source import RewardSource
from prefopt.trainers.stop_signals import heed_stop_signals
from prefopt.trainers.supply.checks import check_shape
from prefopt.trainers.supply.input_settings import read_inputs
from prefopt.trainers.supply.plan import wanted_columns
from prefopt.trainers.supply.preferences import longest_writing
from prefopt.trainers.supply.validation import check_validation
from reward_models.backbones import position_limit
from reward_models.data import Report, load_with_report, sift
from reward_models.redaction import redacted
from reward_models.whole_files import replace_json

__all__ = ["AlignedOnline", "OnlineConfig", "OnlineTrainer", "RewardSource", "align_online"]


@dataclass(frozen=True)
class AlignedOnline:
    """What a run leaves behind.

    ``log`` has a mapping per logged step, as ``history.jsonl`` in the folder; ``metrics`` are those of the last
    evaluation, empty without evaluation data; ``skipped_steps`` counts those whose loss or gradient was not finite.
    """

    model: Any
    tokenizer: Any
    folder: Path
    log: list[dict[str, Any]]
    metrics: dict[str, float]
    rewards: tuple[str, ...]
    skipped_steps: int


def align_online(
    model: Any,
    data: Dataset | str | Path,
    rewards: Sequence[Any],
    config: OnlineConfig,
    evaluation: Dataset | str | Path | None = None,
    tokenizer: Any = None,
    objective: OnlineObjective | None = None,
    resume_from: str | bool | None = None,
    dtype: str = "float32",
    on_bad_row: str = "raise",
    **other: Any,
) -> AlignedOnline:
    """Generate, score, learn; save to ``config.output_dir``.

        config = OnlineConfig(output_dir="aligned", recipe="gdpo", num_generations=8, learning_rate=1e-5)
        rewards = ["exact_answer", {"source": "reward-folder", "weight": 0.5}, my_function]
        done = align_online("my-model", "prompts.jsonl", rewards, config)
        done.model.generate(...)

    Args:
        model: a folder or hub name, or a model in memory (then ``tokenizer`` is needed).
        data: rows with ``prompt`` and what the sources read, or a file that `load_prompts` reads.
        rewards: reward sources: callables, or entries as under ``rewards:`` of a configuration.
        config: settings; recipe and weighting stand there.
        evaluation: prompts on which rewards are logged as well.
        tokenizer: by default that of the model's folder.
        objective: in place of the recipe in ``config``.
        resume_from: a checkpoint folder, or True for the last one in ``output_dir``.
        dtype: of the weights of a model that is loaded here: float32, bfloat16 or auto.
        on_bad_row: what a prompt does that cannot be used: ``raise`` or ``quarantine``.
        other: passed to `OnlineTrainer`.

    Raises:
        UserError: recipe, rewards, data or settings that the user can mend; a reward source that fails; steps that stay
            non-finite. DataError: rows that the validator refuses. ModelError: a model that cannot be loaded.
    """
    in_memory = not isinstance(model, (str, Path))
    if in_memory and tokenizer is None:
        raise UserError("a model in memory needs its tokenizer: align_online(model, ..., tokenizer=...)")
    checkpoint = checkpoint_to_resume(resume_from, config.output_dir)
    sources = read_sources(rewards)
    rollouts = other.get("rollout_func") is not None
    chosen = choose_objective(config, objective, sources, other)
    if not in_memory:
        check_policy(model)
    # One after the other, as all processes may write the same file of bad rows.
    with config.main_process_first(desc="reading prompts"):
        prompts, found = _prompts(data, config, on_bad_row, "training")
        held_out, found_there = None, None
        if evaluation is not None:
            held_out, found_there = _prompts(evaluation, config, on_bad_row, "evaluation")
    for rows, name in ((prompts, "the training data"), (held_out, "the evaluation data")):
        check_columns(rows, sources, name, skip=rollouts)
        check_supplied(rows, wanted_columns(read_inputs(config.inputs, chosen.needs), config), name)
    for report, name in ((found, "training data"), (found_there, "evaluation data")):
        if report is not None:
            record_data(config.output_dir, name, report)
    tokenizer = load_tokenizer(model) if tokenizer is None else tokenizer
    shape = model.config if in_memory else policy_config(model)
    check_shape(chosen, shape)
    limits = (tokenizer, position_limit(tokenizer, shape), config.max_completion_length, on_bad_row)
    too_long = Path(config.output_dir)
    with config.main_process_first(desc="measuring prompts"):
        asked = longest_writing(chosen, sources, config.preference_template)
        prompts = check_lengths(prompts, *limits, too_long / "quarantine_training_length.jsonl", asked)
        held_out = check_lengths(held_out, *limits, too_long / "quarantine_evaluation_length.jsonl", asked)
    _check_size(prompts, config)
    _check_evaluation(held_out, config, chosen.whole_groups)
    check_validation(chosen, config, held_out is not None)
    set_seed(config.seed)
    own_loading = in_memory or config.model_init_kwargs
    policy = model if own_loading else load_policy(model, dtype)
    trainer = OnlineTrainer(policy, sources, config, prompts, held_out, objective, processing_class=tokenizer, **other)
    heed_stop_signals(trainer)
    trainer.train(resume_from_checkpoint=checkpoint)
    return _finish(trainer, tokenizer, held_out)


def _prompts(
    data: Dataset | str | Path, config: OnlineConfig, on_bad_row: str, name: str
) -> tuple[Dataset, Report | None]:
    settings = {"on_bad_row": on_bad_row, "quarantine_path": Path(config.output_dir) / f"quarantine_{name}.jsonl"}
    if isinstance(data, Dataset):
        # Without prompts there is nothing to check yet: `check_columns` says so.
        if "prompt" not in data.column_names or not len(data):
            return data, None
        return sift(data, "prompts", f"{name} data", **settings)
    return load_with_report(data, "prompts", **settings)


def _check_size(prompts: Any, config: OnlineConfig) -> None:
    wanted = config.generation_batch_size // config.num_generations
    if hasattr(prompts, "__len__") and len(prompts) < wanted:
        raise UserError(
            f"a generation batch takes {wanted} prompts ({config.generation_batch_size} completions / num_generations="
            f"{config.num_generations}), and the data has {len(prompts)}; give more prompts, or lower "
            "per_device_train_batch_size or steps_per_generation"
        )


def _check_evaluation(held_out: Any, config: OnlineConfig, whole_groups: bool) -> None:
    group = config.num_generations_eval or config.num_generations
    rows = config.per_device_eval_batch_size * (1 if whole_groups else config.world_size)
    if held_out is not None and rows % group:
        raise UserError(
            f"an evaluation batch of {rows} completions does not divide into groups of {group}; set "
            f"per_device_eval_batch_size to a multiple of {group}, or num_generations_eval"
        )


def _finish(trainer: OnlineTrainer, tokenizer: Any, held_out: Dataset | None) -> AlignedOnline:
    config = trainer.args
    metrics = {} if held_out is None else trainer.evaluate()
    trained: Any = trainer.accelerator.unwrap_model(trainer.model)
    if config.merge_adapter and hasattr(trained, "merge_and_unload"):
        trained = trainer.model = trained.merge_and_unload()
    trainer.save_model(config.output_dir)
    folder = Path(config.output_dir)
    done = AlignedOnline(
        model=trained.eval(),
        tokenizer=tokenizer,
        folder=folder,
        log=read_history(folder / HISTORY) if (folder / HISTORY).exists() else [],
        metrics={key.removeprefix("eval_"): value for key, value in metrics.items()},
        rewards=tuple(trainer.scorer.names),
        skipped_steps=trainer.finite_steps.skipped,
    )
    trainer.create_model_card()
    if trainer.is_world_process_zero():
        objective = trainer.objective
        if trainer.preferences is not None:
            trainer.preferences.form.save(folder)
        summary = {
            "recipe": objective.recipe,
            "parts": {slot: repr(part) for slot, part in objective.parts()},
            "needs": sorted(objective.needs),
            "rewards": list(done.rewards),
            "steps": trainer.state.global_step,
            "skipped_steps": done.skipped_steps,
            "prefopt": __version__,
        }
        replace_json(folder / "alignment.json", redacted(summary))
    return done
