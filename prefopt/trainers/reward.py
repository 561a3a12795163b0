"""Train a reward model: one call from data to a saved folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import set_seed

from prefopt.errors import UserError
from prefopt.trainers.adapters import AdapterArguments, add_adapter
from prefopt.trainers.checkpointing.choice import checkpoint_to_resume
from prefopt.trainers.data_record import read_record, record_data
from prefopt.trainers.reward_config import RewardConfig
from prefopt.trainers.reward_trainer import RewardTrainer
from prefopt.trainers.stop_signals import heed_stop_signals
from reward_models.data import sift
from reward_models.errors import DataError
from reward_models.model import RewardModel

__all__ = ["AdapterArguments", "RewardConfig", "RewardTrainer", "TrainedReward", "train_reward"]

REFERENCE_ROWS = 256
PAIR = ("prompt", "chosen", "rejected")


@dataclass(frozen=True)
class TrainedReward:
    """What a run leaves behind.

    ``metrics`` are those of the last evaluation (``loss`` and the loss's ``figures``, of pairs ``accuracy``, ``margin``
    and ``mean_score``; empty without evaluation data), ``log`` the trainer's history, ``dropped`` and ``truncated``
    count over-length training rows, ``silent`` those that say nothing of what is learnt, ``skipped_steps`` those whose
    loss or gradient was not finite.
    """

    model: RewardModel
    folder: Path
    metrics: dict[str, float]
    figures: tuple[str, ...]
    log: list[dict[str, float]]
    dropped: int
    truncated: int
    skipped_steps: int
    silent: int = 0


def train_reward(
    model: str | Path | RewardModel,
    train: Dataset,
    config: RewardConfig,
    evaluation: Dataset | None = None,
    heads: Sequence[str] = ("score",),
    pooling: str | None = None,
    adapter: AdapterArguments | None = None,
    resume_from: str | bool | None = None,
    **other: Any,
) -> TrainedReward:
    """Train on rows that the loss reads (pairs, for most), save to ``config.output_dir``, evaluate.

        train = load_preferences("pairs.jsonl")
        done = train_reward("backbone", train, RewardConfig(output_dir="reward", learning_rate=1e-4))
        done.model.score(["Hello"], ["Hi there!"])

    Args:
        model: a backbone's folder or hub name, or a `RewardModel` to train further.
        train: rows with prompt, chosen, rejected (see reward_models.data.load_preferences), or what the loss reads.
        config: settings, including the seed that also draws new heads.
        evaluation: held-out rows of the same shape.
        heads: names of the new heads; with more than one, the rows' column ``head`` says which a pair trains.
        pooling: see `RewardModel`; by default last token for decoders, mean for encoders.
        adapter: LoRA settings, used where ``use_peft`` is set.
        resume_from: a checkpoint folder, or True for the last one in ``output_dir``.
        other: passed to `RewardTrainer`.

    Raises:
        UserError: data or settings that the user can mend; steps that stay non-finite.
        ModelError: a backbone without weights.
    """
    if evaluation is None and str(getattr(config.eval_strategy, "value", config.eval_strategy)) != "no":
        raise UserError("eval_strategy is set, but there is no evaluation data; give eval_data or eval_split")
    checkpoint = checkpoint_to_resume(resume_from, config.output_dir)
    train = _sound(train, config, "training data")
    evaluation = None if evaluation is None else _sound(evaluation, config, "evaluation data")
    set_seed(config.seed)
    start = model if isinstance(model, RewardModel) else RewardModel.from_backbone(model, heads, pooling)
    if adapter is not None and adapter.use_peft and not start.is_adapter:
        add_adapter(start, adapter)
    trainer = RewardTrainer(start, config, train, evaluation, **other)
    heed_stop_signals(trainer)
    trainer.train(resume_from_checkpoint=checkpoint)
    metrics = {} if evaluation is None else _last_evaluation(trainer)
    trained: RewardModel = trainer.accelerator.unwrap_model(trainer.model)
    if adapter is not None and adapter.merge_adapter:
        trained.merge_adapter()
    encoded = trainer.encoded["training data"]
    reference = train.select(range(min(len(train), REFERENCE_ROWS)))
    trainer.row_loss.finish(trained, train)
    # A judge's numbers compare two answers: they are no scores of one.
    if trained.layout is None or trained.layout.against == "reference":
        examples = [trainer.row_loss.example(row) for row in reference]
        # A bare prompt is no answer.
        texts = [text for example in examples if example is not None for text in example.texts if text[1]]
        trained.statistics = score_statistics(trained, texts)
    trainer.save_model(config.output_dir)
    return TrainedReward(
        model=trained.eval(),
        folder=Path(config.output_dir),
        metrics={key.removeprefix("eval_"): value for key, value in metrics.items()},
        figures=tuple(trainer.figure_names),
        log=trainer.state.log_history,
        dropped=len(encoded.dropped),
        truncated=encoded.truncated,
        skipped_steps=trainer.finite_steps.skipped,
        silent=encoded.silent,
    )


def _sound(data: Dataset, config: RewardConfig, name: str) -> Dataset:
    """Return pairs that the validator takes, whoever made the table. Raises ``UserError`` for one that it refuses."""
    if config.row_loss().reads != "pairs" or not set(PAIR) <= set(data.column_names) or not len(data):
        return data
    try:
        rows, report = sift(data, "preferences", name)
    except DataError as error:
        raise UserError(str(error)) from error
    if name not in read_record(config.output_dir):
        record_data(config.output_dir, name, report)
    return rows


def _last_evaluation(trainer: RewardTrainer) -> dict[str, float]:
    last = next((log for log in reversed(trainer.state.log_history) if "eval_loss" in log), None)
    if last is not None and last["step"] == trainer.state.global_step and not trainer.args.load_best_model_at_end:
        return {key: value for key, value in last.items() if key.startswith("eval_")}
    return trainer.evaluate()


def score_statistics(model: RewardModel, texts: Sequence[tuple[Any, Any]]) -> dict[str, dict[str, float]]:
    """Mean, standard deviation and quantiles of each score over prompts with their answers."""
    prompts, answers = zip(*texts, strict=True)
    scores = model.score(prompts, answers)
    marks = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])
    summary: dict[str, dict[str, float]] = {}
    for k, name in enumerate(model.names):
        column = scores[:, k]
        quantiles = {
            f"q{round(100 * m):02d}": v for m, v in zip(marks.tolist(), column.quantile(marks).tolist(), strict=True)
        }
        summary[name] = {
            "mean": float(column.mean()),
            "std": float(column.std(correction=0)),
            **quantiles,
            "rows": len(texts),
        }
    return summary
