"""``prefopt align-online``: align a model against several rewards on its own completions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from prefopt.cli.arguments import parse
from prefopt.cli.explaining import ExplainArguments
from prefopt.cli.stopping import stoppable
from prefopt.errors import UserError


@dataclass
class AlignOnlineArguments:
    """What is aligned, on which prompts, against what."""

    model: str = field(metadata={"help": "folder or hub name of a causal language model"})
    data: str = field(
        metadata={"help": "prompts with reference columns: jsonl, json, parquet (also .gz), or a hub name"}
    )
    rewards: list[dict[str, Any]] = field(
        metadata={
            "help": "list of {source: a reward model's folder, a verifier (unit_tests, math_answer, ...) or "
            "file.py:function or server's address, name, weight, transform, columns, settings, may_abstain, role "
            "(reward, judge or cost), timeout, deadline, retries, rows_per_call, row_wise, give_up_after}"
        }
    )
    eval_data: str | None = field(
        default=None, metadata={"help": "held-out prompts, on which rewards are logged as well"}
    )
    dtype: Literal["float32", "bfloat16", "auto"] = field(
        default="float32",
        metadata={"help": "of the weights in memory; --bf16 computes in bfloat16 over float32 weights"},
    )
    on_bad_row: Literal["raise", "quarantine"] = field(
        default="raise",
        metadata={"help": "a prompt that cannot be used stops the run, or goes to a file with its reason"},
    )
    resume: bool = field(default=False, metadata={"help": "go on from the last checkpoint in output_dir"})


def run(argv: list[str]) -> int:
    """Check everything, train, save, and say what came out."""
    from prefopt.trainers.online_config import OnlineConfig

    arguments, explain, config = parse(argv, "align-online", AlignOnlineArguments, ExplainArguments, OnlineConfig)
    if config.resume_from_checkpoint:
        raise UserError("write `resume: true`; resume_from_checkpoint is for scripts of one's own")
    if explain(config):
        return 0

    from prefopt.trainers.online import align_online

    with stoppable("--resume"):
        done = align_online(
            arguments.model,
            arguments.data,
            arguments.rewards,
            config,
            arguments.eval_data,
            resume_from=arguments.resume or None,
            dtype=arguments.dtype,
            on_bad_row=arguments.on_bad_row,
        )
    if config.process_index == 0:
        _print(done)
        _report(done)
    _part()
    return 0


def _part() -> None:
    """Let all processes of a distributed run end together."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _report(done: Any) -> None:
    """Draw the report of a run with several rewards, where there is something to weigh."""
    if len(done.rewards) < 2 or not done.log:
        return
    from prefopt.report import record_of_run, write_report

    written = write_report(record_of_run(done.folder, "prefopt align-online"), done.folder / "report.html")
    print(f"report in {written}")


def _print(done: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    lines = [line for line in done.log if any(key.startswith("reward/") for key in line)]
    table = Table(title="Aligned policy", title_justify="left")
    for heading in ("reward", "first logged", "last logged"):
        table.add_column(heading)
    for name in done.rewards:
        values = [line.get(f"reward/{name}") for line in lines] or [None]
        table.add_row(name, *("-" if value is None else f"{value:.3f}" for value in (values[0], values[-1])))
    console = Console()
    console.print(table)
    if done.skipped_steps:
        console.print(
            f"{done.skipped_steps} steps were skipped, as loss or gradient was not finite; their batches are in "
            f"{done.folder / 'skipped_steps'}"
        )
    console.print(f"model in {done.folder}, log lines in {done.folder / 'history.jsonl'}", markup=False)
