"""``prefopt align-offline``: align a model on preference pairs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from prefopt.cli.arguments import parse
from prefopt.cli.explaining import ExplainArguments
from prefopt.cli.stopping import stoppable

if TYPE_CHECKING:
    from prefopt.trainers.offline import AlignedPolicy


@dataclass
class AlignOfflineArguments:
    """What is aligned, and on what."""

    model: str = field(metadata={"help": "folder or hub name of a causal language model"})
    data: str = field(metadata={"help": "preference pairs: jsonl, json, parquet (also .gz), or a hub name"})
    eval_data: str | None = field(default=None, metadata={"help": "held-out pairs"})
    dtype: Literal["float32", "bfloat16", "auto"] = field(
        default="float32",
        metadata={"help": "of the weights in memory; --bf16 computes in bfloat16 over float32 weights"},
    )
    resume: bool = field(default=False, metadata={"help": "go on from the last checkpoint in output_dir"})


def run(argv: list[str]) -> int:
    """Train, save, evaluate, and say where everything is."""
    from prefopt.trainers.offline import AdapterArguments, OfflineConfig, align_offline

    arguments, explain, adapter, config = parse(
        argv, "align-offline", AlignOfflineArguments, ExplainArguments, AdapterArguments, OfflineConfig
    )
    if explain(config):
        return 0
    with stoppable("--resume"):
        done = align_offline(
            arguments.model,
            arguments.data,
            config,
            arguments.eval_data,
            adapter=adapter,
            resume_from=arguments.resume or None,
            dtype=arguments.dtype,
        )
    if config.process_index == 0:
        _print_result(done, config.recipe if isinstance(config.recipe, str) else done.objective.recipe)
    return 0


def _print_result(done: AlignedPolicy, recipe: str) -> None:
    print(f"{recipe}: aligned model in {done.folder}, log lines in {done.folder / 'history.jsonl'}")
    if done.guide is not None:
        print(f"guided by the first run's model in {done.guide}; both runs: {done.folder / 'summary.json'}")
    if done.truncated or done.refused:
        print(f"over-length pairs: {done.truncated} truncated, {done.refused} left out (in quarantine_*.jsonl)")
    if done.skipped_steps:
        print(
            f"steps skipped for a loss or gradient that was not finite: {done.skipped_steps}; their batches are in "
            f"{done.folder / 'skipped_steps'}"
        )
    shown = {name: value for name, value in done.metrics.items() if name == "loss" or name.startswith("rewards/")}
    if shown:
        print("held out: " + ", ".join(f"{name} {value:.4f}" for name, value in shown.items()))
