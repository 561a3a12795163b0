"""``prefopt quickstart``: the whole path on the embedded tiny policy and sample data, on a CPU, in minutes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from prefopt.cli.arguments import parse


@dataclass(frozen=True)
class QuickstartArguments:
    """Where the results go; everything else is fixed."""

    output_dir: str = field(
        default="runs/quickstart", metadata={"help": "folder of report.html, summary.json and the trained models"}
    )
    seed: int = field(default=0, metadata={"help": "seed of every training and of the samples that are judged"})
    report_to: str = field(
        default="none", metadata={"help": "where trainers log beside the report: none, tensorboard, wandb, ..."}
    )


def run(argv: list[str]) -> int:
    """Run it; the exit status is 0 also where the goal was missed, which the report says."""
    (arguments,) = parse(argv, "quickstart", QuickstartArguments)
    # Everything that the run needs is on the disk; a hub that cannot be reached would only cost time.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")

    from rich.console import Console

    with Console(stderr=True).status("Loading libraries"):
        from prefopt.quickstart import Settings, run_quickstart

    run_quickstart(Settings(Path(arguments.output_dir), arguments.seed, arguments.report_to))
    return 0
