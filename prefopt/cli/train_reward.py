"""``prefopt train-reward``: from preference pairs, or what else a loss reads, to a reward-model folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prefopt.cli.explaining import ExplainArguments
from prefopt.cli.stopping import stoppable
from prefopt.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset

    from prefopt.trainers.reward import TrainedReward


@dataclass
class ModelArguments:
    """What to start from."""

    model: str = field(metadata={"help": "backbone: a model folder or hub name (decoder or encoder)"})
    heads: list[str] = field(
        default_factory=lambda: ["score"],
        metadata={"help": "names of the heads; with several, the data's column head picks one for each row"},
    )
    pooling: str | None = field(
        default=None, metadata={"help": "last (decoders), mean, cls or pooler (encoders); unset: last or mean"}
    )
    resume: str | None = field(
        default=None, metadata={"help": "a checkpoint folder to go on from, or 'last' for the newest in output-dir"}
    )


@dataclass
class DataArguments:
    """What to learn from."""

    data: str = field(
        metadata={
            "help": "preference pairs, or what else the loss reads: .jsonl, .json, .parquet (also .gz) or a hub name"
        }
    )
    eval_data: str | None = field(default=None, metadata={"help": "held-out rows in any of the same shapes"})
    eval_split: int = field(
        default=0, metadata={"help": "hold this many rows of the data out, drawn by seed, where eval-data is unset"}
    )
    on_bad_row: str = field(default="raise", metadata={"help": "raise, or quarantine: write bad rows to a file"})
    ties: str = field(default="drop", metadata={"help": "ties in the data: drop, or soft (label 1/2)"})
    ratings: str | None = field(
        default=None,
        metadata={"help": "of armo: rows of prompt, completion and a number an attribute; null = not rated"},
    )
    rating_scale: list[float] | None = field(
        default=None, metadata={"help": "lowest and highest rating, mapped to 0 and 1; unset: they are within 0 to 1"}
    )
    ood_data: str | None = field(
        default=None,
        metadata={"help": "of warm: out-of-distribution pairs that choose members and check their average"},
    )
    checkpoints: list[str] | None = field(
        default=None, metadata={"help": "of warm: further checkpoints of the backbone's own training to start from"}
    )


def run(argv: list[str]) -> int:
    """Parse, check the data, train, save, and print what came out."""
    from prefopt.cli.arguments import parse
    from prefopt.trainers.adapters import AdapterArguments
    from prefopt.trainers.reward_config import RewardConfig, recipe_of
    from reward_models.procedure import Procedure

    model, explain, data, adapter, config = parse(
        argv, "train-reward", ModelArguments, ExplainArguments, DataArguments, AdapterArguments, RewardConfig
    )
    if explain(config, model.resume):
        return 0
    recipe = recipe_of(config)
    check_options(data, recipe, config.loss)
    if isinstance(recipe, Procedure):
        from prefopt.cli.reward_procedures import Asked, train_by

        asked = Asked(model, data, adapter, config, *load(data, config.seed, "pairs"))
        with stoppable():
            train_by(recipe, asked)
        return 0
    train, held_out = load(data, config.seed, config.row_loss().reads)

    from prefopt.trainers.reward import train_reward

    with stoppable("--resume last"):
        done = train_reward(
            model.model,
            train,
            config,
            held_out,
            heads=tuple(model.heads),
            pooling=model.pooling,
            adapter=adapter,
            resume_from=True if model.resume == "last" else model.resume,
        )
    _print(done, len(train), config.row_loss().reads)
    return 0


OWN = ("ratings", "rating_scale", "ood_data", "checkpoints")
"""Inputs that only some recipes read; see `reward_models.procedure`."""


def check_options(data: DataArguments, recipe: Any, name: str) -> None:
    """Raise ``UserError`` for an input that the recipe does not read, or that it cannot do without."""
    reads: frozenset[str] = getattr(recipe, "options", frozenset())
    required: frozenset[str] = getattr(recipe, "required", frozenset())
    for option in OWN:
        flag, given = "--" + option.replace("_", "-"), getattr(data, option) is not None
        if given and option not in reads:
            raise UserError(f"{flag} is not read by --loss {name}; leave it out, or choose a loss that reads it")
        if not given and option in required:
            raise UserError(f"--loss {name} needs {flag}")


def load(data: DataArguments, seed: int, reads: str) -> tuple[Dataset, Dataset | None]:
    """Return the training rows and those held out."""
    from reward_models.data import LOADERS

    if data.on_bad_row not in ("raise", "quarantine"):
        raise UserError(f"on_bad_row must be raise or quarantine, got '{data.on_bad_row}'")
    options: dict[str, Any] = {"on_bad_row": data.on_bad_row, "ties": data.ties}
    train = LOADERS[reads](data.data, **options)
    if data.eval_data:
        return train, LOADERS[reads](data.eval_data, **options)
    if data.eval_split <= 0:
        return train, None
    if data.eval_split >= len(train):
        raise UserError(
            f"eval_split={data.eval_split} leaves nothing to train on: {data.data} has {len(train)} {reads}"
        )
    parts = train.train_test_split(test_size=data.eval_split, seed=seed)
    return parts["train"], parts["test"]


def _print(done: TrainedReward, rows: int, reads: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Reward model", title_justify="left", show_header=False)
    table.add_row("folder", str(done.folder))
    table.add_row("heads", ", ".join(done.model.names))
    table.add_row(
        f"training {reads}", f"{rows - done.dropped:,}" + (f" ({done.dropped:,} dropped)" if done.dropped else "")
    )
    if done.silent:
        table.add_row(f"{reads} left out", f"{done.silent:,} (nothing is known that the loss learns)")
    if done.truncated:
        table.add_row(f"truncated {reads}", f"{done.truncated:,}")
    if done.skipped_steps:
        table.add_row(
            "skipped steps",
            f"{done.skipped_steps} (loss or gradient not finite; batches in {done.folder / 'skipped_steps'})",
        )
    for name in ("loss", *done.figures):
        if name in done.metrics:
            table.add_row(f"held-out {name.replace('_', ' ')}", f"{done.metrics[name]:.4f}")
    Console().print(table)
