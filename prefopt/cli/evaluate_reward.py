"""``prefopt evaluate-reward``: everything that is asked of a reward model, as a table, as JSON and as a page."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from prefopt.errors import UserError

if TYPE_CHECKING:
    from reward_models.evaluation import PairEvaluation, RewardModelReport


@dataclass
class Arguments:
    """What to evaluate on what."""

    model: str = field(metadata={"help": "reward-model folder or hub name"})
    data: str = field(metadata={"help": "preference pairs: .jsonl, .json, .parquet (also .gz) or a hub name"})
    json: str | None = field(default=None, metadata={"help": "also write all numbers to this file"})
    output_dir: str | None = field(
        default=None, metadata={"help": "also write evaluation.json and evaluation.html, with plots, to this folder"}
    )
    by: list[str] = field(
        default_factory=list, metadata={"help": "columns of the data by whose values accuracy is split, as annotator"}
    )
    answers: str | None = field(
        default=None,
        metadata={"help": "answers with gold rewards (prompt, completion, gold[, answer]) for best-of-n and regret"},
    )
    store_temperature: bool = field(
        default=False, metadata={"help": "write the temperature that was fitted on these pairs to the model's folder"}
    )
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
    from reward_models.backbones import locate
    from reward_models.devices import pick_device
    from reward_models.evaluation import evaluate_reward_model, read_answer_sets
    from reward_models.reference import check_answer_sets

    answers = None
    if arguments.answers is not None:
        check_answer_sets(locate(arguments.model))
        answers = read_answer_sets(arguments.answers)
    model = RewardModel.from_pretrained(arguments.model).to(pick_device(arguments.device))
    found = evaluate_reward_model(
        model, data, arguments.model, arguments.head, arguments.by, answers, arguments.batch_size, arguments.max_length
    )
    if arguments.store_temperature:
        _store(arguments, found)
    _write(arguments, found)
    _print(found.pairs)
    _print_more(found)
    return 0


def _store(arguments: Arguments, found: RewardModelReport) -> None:
    from reward_models.backbones import locate
    from reward_models.folder import update_info

    if found.temperature is None:
        raise UserError("a temperature takes at least 40 held-out pairs; give more, or leave --store-temperature out")
    update_info(locate(arguments.model), {"temperature": found.temperature.value})


def _write(arguments: Arguments, found: RewardModelReport) -> None:
    """Write what was asked for; the numbers in both JSON files are the same."""
    from reward_models.whole_files import replace_text

    text = json.dumps({"data": arguments.data, **found.as_json()}, indent=2) + "\n"
    folder = None if arguments.output_dir is None else Path(arguments.output_dir)
    for path in (arguments.json and Path(arguments.json), folder and folder / "evaluation.json"):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(path, text)
    if folder is not None:
        from prefopt.report.evaluation import write_evaluation

        command = f"prefopt evaluate-reward --model {arguments.model} --data {arguments.data}"
        settings = {key: value for key, value in vars(arguments).items() if value not in (None, [], False)}
        print(f"page in {write_evaluation(found, folder / 'evaluation.html', command, settings)}")


def _print_more(found: RewardModelReport) -> None:
    from rich.console import Console

    from reward_models.evaluation import strongest_lean

    console = Console(highlight=False)
    if found.temperature is not None and found.tempered is not None:
        console.print(
            f"temperature {found.temperature.value:.3f}: expected calibration error "
            f"{found.tempered.expected_error:.4f} on the pairs that it was not fitted on"
        )
    most = strongest_lean(found.surface)
    if most is not None:
        model, people = (100 * part.value for part in (most.model_preference, most.preference))
        console.print(
            f"leans most on {most.feature}: of {most.varies:,} pairs it picks the answer with more of them in "
            f"{model:.1f}%, people in {people:.1f}%"
        )
    if found.bench is not None:
        parts = [f"{name} {100 * part.score:.1f}" for name, part in found.bench.sections.items()]
        console.print(f"RewardBench sections: {', '.join(parts)}")
    if found.best_of_n is not None:
        curve = found.best_of_n
        points = ", ".join(f"n = {point.n}: {point.gold:.4f}" for point in curve.points)
        vote = "" if curve.majority is None else f"; majority {curve.majority:.4f}"
        console.print(f"gold reward of best-of-n over {curve.prompts:,} prompts: {points}{vote}")


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
