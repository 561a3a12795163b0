"""Align a policy on preference pairs: one call from data to a saved folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import set_seed

from prefopt.errors import UserError
from prefopt.offline import OfflineMethod, OfflineObjective
from prefopt.offline.reference import Folder, Guide
from prefopt.trainers.adapted import bare, is_adapted
from prefopt.trainers.adapters import AdapterArguments, wrap
from prefopt.trainers.aligned_policy import AlignedPolicy, read_aligned, write_summary
from prefopt.trainers.checkpointing.choice import checkpoint_to_resume
from prefopt.trainers.degree_heads import detach_degree_heads
from prefopt.trainers.degree_trainer import DegreeTrainer, degree_rows, degrees_of
from prefopt.trainers.guided import GUIDE, TwoRuns
from prefopt.trainers.headed_trainer import HeadedTrainer, check_heads
from prefopt.trainers.level_trainer import LevelTrainer, level_rows, levels_of
from prefopt.trainers.offline_config import OfflineConfig, offline_objective
from prefopt.trainers.offline_data import loaded, tokenised
from prefopt.trainers.offline_trainer import OfflineTrainer
from prefopt.trainers.pairs.tokens import PairTokens
from prefopt.trainers.policies import check_policy, load_policy, load_tokenizer, policy_config
from prefopt.trainers.policy_heads import detach_heads, heads_of
from prefopt.trainers.response_tokens import ResponseObjective, add_tokens, make_room, response_tokens
from prefopt.trainers.response_trainer import ResponseTrainer
from prefopt.trainers.stop_signals import heed_stop_signals
from prefopt.trainers.token_masks import detach_masks
from prefopt.trainers.unpaired_trainer import UnpairedTrainer

__all__ = ["AdapterArguments", "AlignedPolicy", "OfflineConfig", "OfflineTrainer", "align_offline", "offline_objective"]


def align_offline(
    model: Any,
    train: Dataset | PairTokens | str | Path,
    config: OfflineConfig,
    evaluation: Dataset | PairTokens | str | Path | None = None,
    tokenizer: Any = None,
    adapter: AdapterArguments | None = None,
    objective: OfflineMethod | None = None,
    resume_from: str | bool | None = None,
    dtype: str = "float32",
    **other: Any,
) -> AlignedPolicy:
    """Train on pairs, save to ``config.output_dir``, evaluate. Recipes of two runs put the first into a folder there.

        config = OfflineConfig(output_dir="aligned", recipe="dpo", recipe_settings={"beta": 0.05})
        done = align_offline("my-model", "pairs.jsonl", config)
        done.model.generate(...)

    Args:
        model: a folder or hub name, or a model in memory (then ``tokenizer`` is needed).
        train: rows with prompt, chosen, rejected, a file that `load_preferences` reads, or tokenised pairs.
        config: settings, ``recipe`` and ``recipe_settings`` among them.
        evaluation: held-out pairs.
        tokenizer: by default that of the model's folder.
        adapter: LoRA settings, used where ``use_peft`` is set.
        objective: in place of ``config.recipe``, an objective of one's own.
        resume_from: a checkpoint folder, or True for the newest whole one in ``output_dir``.
        dtype: of the weights of a model that is loaded here: float32, bfloat16 or auto.
        other: passed to `OfflineTrainer`.

    Raises:
        UserError: recipe, data or settings that the user can mend; steps that stay non-finite.
        DataError: rows that the validator refuses. ModelError: a model that cannot be loaded.
    """
    objective = offline_objective(config) if objective is None else objective
    in_memory = not isinstance(model, (str, Path))
    if in_memory and tokenizer is None:
        raise UserError("a model in memory needs its tokenizer: align_offline(model, ..., tokenizer=...)")
    if isinstance(objective, OfflineObjective) and isinstance(objective.reference, Guide):
        runs = TwoRuns(align_offline, model, train, evaluation, tokenizer, adapter, dtype, other)
        return _guided(runs, config, objective, resume_from)
    checkpoint = checkpoint_to_resume(resume_from, config.output_dir)
    if isinstance(objective.compares_with, Folder):
        check_policy(objective.compares_with.path)
    model_config = model.config if in_memory else policy_config(model)
    tokenizer = load_tokenizer(model) if tokenizer is None else tokenizer
    banned = add_tokens(tokenizer, objective, adapter is not None and adapter.use_peft)
    pairs, held_out = (
        rows_of(data, config, objective, tokenizer, model_config, name)
        for data, name in ((train, "training data"), (evaluation, "evaluation data"))
    )
    assert pairs is not None
    set_seed(config.seed)
    policy = model if in_memory else load_policy(model, dtype)
    make_room(policy, tokenizer, banned)
    fresh = adapter is not None and adapter.use_peft and not is_adapted(policy)
    if adapter is not None and fresh:
        policy = wrap(policy, adapter, task_type="CAUSAL_LM")
    trainer = trainer_of(objective)(policy, config, objective, pairs, held_out, tokenizer, fresh_adapter=fresh, **other)
    heed_stop_signals(trainer)
    trainer.train(resume_from_checkpoint=checkpoint)
    metrics = {} if held_out is None else trainer.evaluate()
    trained = trainer.accelerator.unwrap_model(trainer.model)
    if adapter is not None and adapter.merge_adapter and is_adapted(trained):
        trained = trainer.model = trained.merge_and_unload()
    trainer.save_model(config.output_dir)
    detach_masks(bare(trained))
    detach_heads(bare(trained))
    detach_degree_heads(bare(trained))
    done = AlignedPolicy(
        model=trained.eval(),
        tokenizer=tokenizer,
        objective=objective,
        folder=Path(config.output_dir),
        metrics={key.removeprefix("eval_"): value for key, value in metrics.items()},
        log=trainer.state.log_history,
        truncated=pairs.truncated,
        refused=len(pairs.bad),
        skipped_steps=trainer.finite_steps.skipped,
    )
    if trainer.is_world_process_zero():
        write_summary(done, config, len(pairs.rows))
    return done


def rows_of(
    data: Dataset | str | Path | None, config: OfflineConfig, objective: OfflineMethod, tokenizer: Any,
    model_config: Any, name: str,
) -> PairTokens | None:  # fmt: skip
    """Return the tokenised rows of the kind that an objective learns from; None for None."""
    if isinstance(objective, ResponseObjective):
        return response_tokens(data, config, objective, tokenizer, model_config, name)
    levels = levels_of(objective)
    if levels is not None:
        return level_rows(data, config, objective, levels, tokenizer, model_config, name)
    wanted = degrees_of(objective)
    if wanted is not None:
        return degree_rows(data, config, objective, wanted, tokenizer, model_config, name)
    needs, unpaired = objective.needs, objective.unpaired
    rows = loaded(data, config, needs, name, unpaired)
    found = tokenised(rows, config, needs, tokenizer, model_config, name, unpaired)
    check_heads(found, objective, name)
    return found


def trainer_of(objective: OfflineMethod) -> Any:
    """Return the class that trains an objective's kind of rows."""
    if isinstance(objective, ResponseObjective):
        return ResponseTrainer
    if heads_of(objective) is not None:
        return HeadedTrainer
    if levels_of(objective) is not None:
        return LevelTrainer
    if degrees_of(objective) is not None:
        return DegreeTrainer
    return UnpairedTrainer if objective.unpaired else OfflineTrainer


def _guided(
    runs: TwoRuns, config: OfflineConfig, objective: OfflineObjective, resume_from: str | bool | None
) -> AlignedPolicy:
    """Train both runs, or what is left of them; where nothing is left, read the policy."""
    folder = Path(config.output_dir)
    if isinstance(resume_from, str):
        raise UserError(
            f"{objective.recipe} has two runs, which find their own checkpoints; give resume without a path"
        )
    if resume_from and not (folder / GUIDE).is_dir():
        raise UserError(f"{config.output_dir} holds no run to resume; leave resume out to start anew")
    done: AlignedPolicy | None = runs(config, objective)
    done = done or read_aligned(folder, objective, runs.model, runs.dtype)
    return replace(done, guide=folder / GUIDE)
