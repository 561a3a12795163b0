"""``prefopt score``: score a file of completions or pairs with a reward model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter


@dataclass
class Arguments:
    """What to score with what."""

    model: str = field(metadata={"help": "reward-model folder or hub name"})
    data: str = field(metadata={"help": "rows to score: .jsonl, .json or .parquet, also .gz"})
    output: str = field(metadata={"help": "where to write: .jsonl, .jsonl.gz or .parquet"})
    device: str | None = field(
        default=None, metadata={"help": "cuda, mps, cpu; unset: the accelerator where there is one"}
    )


def run(argv: list[str]) -> int:
    """Score and print counts."""
    from prefopt.cli.arguments import parse
    from reward_models.scoring_settings import ScoringSettings, check_files

    arguments, settings = parse(argv, "score", Arguments, ScoringSettings)
    check_files(Path(arguments.data), Path(arguments.output))
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from reward_models import RewardModel
    from reward_models.devices import pick_device
    from reward_models.scoring import score_file

    model = RewardModel.from_pretrained(arguments.model).to(pick_device(arguments.device))
    started = perf_counter()
    bar = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*bar, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("rows scored", total=None)
        report = score_file(
            model,
            arguments.data,
            arguments.output,
            settings,
            arguments.model,
            lambda rows: progress.update(task, completed=rows),
        )
    seconds = perf_counter() - started
    console = Console()
    console.print(f"{report.rows:,} rows to {arguments.output}; columns for {', '.join(model.names)}")
    speed = f"{report.tokens / seconds:,.0f} tokens a second" if report.tokens else "nothing left to score"
    console.print(f"{report.scored:,} texts scored, {report.reused:,} known already; {seconds:.1f} s, {speed}")
    if report.resumed_rows:
        console.print(f"{report.resumed_rows:,} rows were there from an earlier attempt")
    if report.truncated:
        console.print(f"[yellow]{report.truncated:,} texts were longer than max_length and were cut")
    if report.quarantined:
        console.print(f"[yellow]{report.quarantined:,} bad rows were left out: {arguments.output}.quarantine.jsonl")
    if report.not_finite:
        console.print(f"[yellow]{report.not_finite:,} scores were not finite and are null")
    return 0
