"""``prefopt evaluate-policy``: does a policy give preferred answers the higher likelihood, beside its reference."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reward_models.evaluation import Proportion, Ranking


@dataclass
class Arguments:
    """What to evaluate on what."""

    model: str = field(metadata={"help": "the policy: a model folder or hub name"})
    reference: str = field(metadata={"help": "the model that it was trained from"})
    data: str = field(metadata={"help": "preference pairs: .jsonl, .json, .parquet (also .gz) or a hub name"})
    json: str | None = field(default=None, metadata={"help": "also write all numbers to this file"})
    betas: list[float] = field(
        default_factory=lambda: [0.01, 0.1, 1.0, 5.0, 10.0],
        metadata={"help": "strengths of the KL penalty for which the ideal accuracy is shown"},
    )
    batch_size: int = field(default=8, metadata={"help": "pairs in one forward pass"})
    max_length: int | None = field(default=None, metadata={"help": "longest prompt with answer, in tokens"})
    dtype: str = field(default="float32", metadata={"help": "float32, bfloat16 or auto"})
    on_bad_row: str = field(default="raise", metadata={"help": "raise, or quarantine: write bad rows to a file"})


def run(argv: list[str]) -> int:
    """Load the data first, then one model after the other; print a table."""
    from prefopt.cli.arguments import parse

    (arguments,) = parse(argv, "evaluate-policy", Arguments)
    from reward_models.data import load_preferences

    data = load_preferences(arguments.data, on_bad_row=arguments.on_bad_row, ties="soft")
    from prefopt.trainers.ranking import rank_pairs
    from reward_models.evaluation import RankingAccuracy

    found = rank_pairs(
        arguments.model, arguments.reference, data, RankingAccuracy(tuple(arguments.betas)), arguments.batch_size,
        arguments.max_length, arguments.dtype,
    )  # fmt: skip
    if arguments.json:
        from reward_models.whole_files import replace_text

        record = {"model": arguments.model, "reference": arguments.reference, "data": arguments.data, **numbers(found)}
        path = Path(arguments.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps(record, indent=2) + "\n")
    _print(found)
    return 0


def numbers(found: Ranking) -> dict[str, Any]:
    """Proportions with their intervals, JSON-ready."""
    plain = {name: getattr(found, name) for name in ("accuracy", "normalised", "reference", "reward", "flipped")}
    ideal = {f"{beta:g}": _number(part) for beta, part in found.ideal.items()}
    return {**{name: _number(part) for name, part in plain.items()}, "ideal": ideal, "unscored": found.unscored}


def _number(part: Proportion | None) -> dict[str, Any] | None:
    if part is None:
        return None
    low, high = part.interval()
    return {**asdict(part), "value": part.value if part.total else None, "low": low, "high": high}


def _print(found: Ranking) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Ranking of preference pairs", title_justify="left")
    for name, justify in (("", "left"), ("share", "right"), ("95% interval", "right"), ("pairs", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    rows = [
        ("policy gives the preferred answer the higher likelihood", found.accuracy),
        ("the same, mean a token", found.normalised),
        ("reference does", found.reference),
        ("implicit reward prefers it", found.reward),
        ("of the reference's wrong rankings, mended", found.flipped),
        *((f"best policy of the loss at beta = {beta:g}", part) for beta, part in found.ideal.items()),
    ]
    for name, part in rows:
        if part is not None:
            low, high = (f"{100 * end:.1f}" for end in part.interval())
            table.add_row(
                name, f"{100 * part.value:.1f}%" if part.total else "-", f"{low} to {high}%", f"{part.total:,}"
            )
    console = Console()
    console.print(table)
    if found.unscored:
        console.print(f"{found.unscored:,} pairs without a finite likelihood are left out")
