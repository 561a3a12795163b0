"""Align a policy on preference pairs: one call from data to a saved folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import set_seed

from prefopt import __version__, recipes
from prefopt.errors import UserError
from prefopt.offline import OfflineObjective
from prefopt.offline.reference import Folder
from prefopt.trainers.adapters import AdapterArguments, wrap
from prefopt.trainers.logprobs import needed_statistics
from prefopt.trainers.offline_config import OfflineConfig
from prefopt.trainers.offline_trainer import OfflineTrainer
from prefopt.trainers.pair_reference import is_adapted
from prefopt.trainers.pair_tokens import LABEL, check_pairs
from prefopt.trainers.policies import check_policy, load_policy, load_tokenizer
from reward_models.data import load_preferences

__all__ = ["AdapterArguments", "AlignedPolicy", "OfflineConfig", "OfflineTrainer", "align_offline", "offline_objective"]


@dataclass(frozen=True)
class AlignedPolicy:
    """What a run leaves behind.

    ``metrics`` are those of the last evaluation (``loss``, ``rewards/accuracy``, ``rewards/margin``, ...; empty without
    evaluation data), ``log`` the trainer's history, ``truncated`` and ``refused`` count over-length training pairs,
    ``skipped_steps`` those whose loss or gradient was not finite.
    """

    model: Any
    tokenizer: Any
    folder: Path
    metrics: dict[str, float]
    log: list[dict[str, float]]
    truncated: int
    refused: int
    skipped_steps: int


def align_offline(
    model: Any,
    train: Dataset | str | Path,
    config: OfflineConfig,
    evaluation: Dataset | str | Path | None = None,
    tokenizer: Any = None,
    adapter: AdapterArguments | None = None,
    objective: OfflineObjective | None = None,
    resume_from: str | bool | None = None,
    dtype: str = "float32",
    **other: Any,
) -> AlignedPolicy:
    """Train on pairs, save to ``config.output_dir``, evaluate.

        config = OfflineConfig(output_dir="aligned", recipe="dpo", recipe_settings={"beta": 0.05})
        done = align_offline("my-model", "pairs.jsonl", config)
        done.model.generate(...)

    Args:
        model: a folder or hub name, or a model in memory (then ``tokenizer`` is needed).
        train: rows with prompt, chosen, rejected, or a file that `load_preferences` reads.
        config: settings, ``recipe`` and ``recipe_settings`` among them.
        evaluation: held-out pairs.
        tokenizer: by default that of the model's folder.
        adapter: LoRA settings, used where ``use_peft`` is set.
        objective: in place of ``config.recipe``, an objective of one's own.
        resume_from: a checkpoint folder, or True for the last one in ``output_dir``.
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
    if not in_memory:
        check_policy(model)
    if isinstance(objective.reference, Folder):
        check_policy(objective.reference.path)
    pairs = _pairs(train, config, objective, "training data")
    held_out = None if evaluation is None else _pairs(evaluation, config, objective, "evaluation data")
    set_seed(config.seed)
    tokenizer = load_tokenizer(model) if tokenizer is None else tokenizer
    policy = model if in_memory else load_policy(model, dtype)
    fresh = adapter is not None and adapter.use_peft and not is_adapted(policy)
    if adapter is not None and fresh:
        policy = wrap(policy, adapter, task_type="CAUSAL_LM")
    trainer = OfflineTrainer(policy, config, objective, pairs, held_out, tokenizer, fresh_adapter=fresh, **other)
    trainer.train(resume_from_checkpoint=resume_from)
    metrics = {} if held_out is None else trainer.evaluate()
    trained = trainer.accelerator.unwrap_model(trainer.model)
    if adapter is not None and adapter.merge_adapter and is_adapted(trained):
        trained = trainer.model = trained.merge_and_unload()
    trainer.save_model(config.output_dir)
    encoded = trainer.encoded["training data"]
    done = AlignedPolicy(
        model=trained.eval(),
        tokenizer=tokenizer,
        folder=Path(config.output_dir),
        metrics={key.removeprefix("eval_"): value for key, value in metrics.items()},
        log=trainer.state.log_history,
        truncated=encoded.truncated,
        refused=len(encoded.bad),
        skipped_steps=trainer.finite_steps.skipped,
    )
    if trainer.is_world_process_zero():
        _write_summary(done, config, objective, len(encoded.rows))
    return done


def offline_objective(config: OfflineConfig) -> OfflineObjective:
    """Return the objective that the settings name.

    Raises:
        UserError: unknown recipe or setting, parts that cannot stand together, a recipe of another kind, or settings
            of a reference that the recipe doesn't use.
    """
    settings: dict[str, Any] = dict(config.recipe_settings or {})
    if config.reference_model is not None:
        settings["reference"] = Folder(config.reference_model)
    try:
        objective = recipes.build(config.recipe, **settings)
    except (TypeError, ValueError) as error:
        raise UserError(f"recipe {config.recipe}: {error}") from error
    if not isinstance(objective, OfflineObjective):
        kind = recipes.info(config.recipe).kind
        raise UserError(
            f"recipe '{config.recipe}' is of kind {kind}, not offline; the offline ones are "
            f"{', '.join(recipes.names('offline'))}"
        )
    if "ref_logps" not in objective.needs:
        for name in ("reference_model", "precompute_reference"):
            if getattr(config, name):
                raise UserError(f"{name} is set, but recipe '{config.recipe}' uses no reference; leave it out")
    needed_statistics(objective)
    return objective


def _pairs(data: Dataset | str | Path, config: OfflineConfig, objective: OfflineObjective, name: str) -> Dataset:
    """Return validated pairs with the columns that the objective reads."""
    if isinstance(data, Dataset):
        check_pairs(data, objective.needs, name)
    loaded = load_preferences(
        data,
        ties="soft" if LABEL in objective.needs else "drop",
        on_bad_row=config.on_bad_row,
        quarantine_path=Path(config.output_dir) / f"quarantine_{name.split()[0]}.jsonl",
    )
    check_pairs(loaded, objective.needs, name)
    return loaded


def _write_summary(done: AlignedPolicy, config: OfflineConfig, objective: OfflineObjective, pairs: int) -> None:
    summary = {
        "recipe": objective.recipe,
        "recipe_settings": config.recipe_settings or {},
        "parts": {slot: repr(part) for slot, part in objective.parts()},
        "needs": sorted(objective.needs),
        "pairs": pairs,
        "truncated": done.truncated,
        "refused": done.refused,
        "skipped_steps": done.skipped_steps,
        "metrics": done.metrics,
        "prefopt": __version__,
    }
    (done.folder / "alignment.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
