"""``prefopt evaluate-reward``: accuracy, margin and calibration of a reward model on preference pairs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reward_models.evaluation import PairEvaluation


@dataclass
class Arguments:
    """What to evaluate on what."""

    model: str = field(metadata={"help": "reward-model folder or hub name"})
    data: str = field(metadata={"help": "preference pairs: .jsonl, .json, .parquet (also .gz) or a hub name"})
    json: str | None = field(default=None, metadata={"help": "also write all numbers to this file"})
    head: str | None = field(default=None, metadata={"help": "head to evaluate; unset: the first"})
    batch_size: int = field(default=16, metadata={"help": "rows in one forward pass"})
    max_length: int | None = field(default=None, metadata={"help": "longest row in tokens; unset: as in training"})
    device: str | None = field(
        default=None, metadata={"help": "cuda, mps, cpu; unset: the accelerator where there is one"}
    )
    on_bad_row: str = field(default="raise", metadata={"help": "raise, or quarantine: write bad rows to a file"})
    ties: str = field(default="drop", metadata={"help": "ties in the data: drop, or soft (counted, not ranked)"})


def run(argv: list[str]) -> int:
    """Load the data first, then the model; print a table."""
    from prefopt.cli.arguments import parse

    (arguments,) = parse(argv, "evaluate-reward", Arguments)
    from reward_models.data import load_preferences

    data = load_preferences(arguments.data, on_bad_row=arguments.on_bad_row, ties=arguments.ties)
    from reward_models import RewardModel
    from reward_models.devices import pick_device
    from reward_models.evaluation import evaluate_model

    model = RewardModel.from_pretrained(arguments.model).to(pick_device(arguments.device))
    found, _ = evaluate_model(model, data, arguments.head, arguments.batch_size, arguments.max_length)
    if arguments.json:
        from reward_models.score_store import replace_text

        path = Path(arguments.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {"model": arguments.model, "data": arguments.data, **found.as_json()}
        replace_text(path, json.dumps(record, indent=2) + "\n")
    _print(found)
    return 0


def _print(found: PairEvaluation) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title="Reward model on preference pairs", title_justify="left")
    table.add_column("")
    table.add_column("accuracy", justify="right")
    table.add_column("95% interval", justify="right")
    table.add_column("pairs", justify="right")
    for name, part in [*found.subsets.items(), ("all", found.accuracy)]:
        low, high = part.interval()
        value = f"{100 * part.value:.1f}%" if part.total else "-"
        table.add_row(name, value, f"{100 * low:.1f} to {100 * high:.1f}%" if part.total else "-", f"{part.total:,}")
    console.print(table)
    numbers = Table(show_header=False, box=None)
    numbers.add_row("mean margin", f"{found.mean_margin:.4f}")
    numbers.add_row("mean score", f"{found.mean_score:.4f}")
    numbers.add_row("loss, -log sigma(margin)", f"{found.loss:.4f}")
    if found.calibration is not None:
        numbers.add_row("expected calibration error", f"{found.calibration.expected_error:.4f}  (10 bins)")
        numbers.add_row("Brier score", f"{found.calibration.brier:.4f}")
    if found.ties:
        numbers.add_row("ties (not ranked)", f"{found.ties:,}")
    if found.unscored:
        numbers.add_row("without a finite score", f"{found.unscored:,}")
    console.print(numbers)
