"""``prefopt check-data``: what a preference file holds, what is wrong with it, and where its bad rows went."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from prefopt.cli.arguments import parse
from prefopt.errors import UserError

if TYPE_CHECKING:
    from reward_models.data import Leak, Report


@dataclass(frozen=True)
class Arguments:
    """Exit status: 0 fine, 1 bad rows (with --strict also duplicates, contradictions, leaks), 2 data unreadable."""

    data: list[str] = field(
        metadata={"positional": True, "help": "Files, hub names or folders; several are splits, compared for leaks"}
    )
    quarantine: str = field(
        default="quarantine.jsonl",
        metadata={"help": "Where bad rows go, with row number, field and reason; '' writes none"},
    )
    kind: Literal[
        "auto", "preferences", "unpaired", "prompts", "solutions", "logged", "texts", "samples", "ratings"
    ] = field(default="auto", metadata={"help": "What the data are; auto takes the first that the columns allow"})
    columns: dict[str, str] | None = field(
        default=None, metadata={"help": "New name to old name of columns, as '{prompt: question}'"}
    )
    split: str | None = field(default=None, metadata={"help": "Split of a hub name or folder"})
    ties: Literal["drop", "soft"] = field(default="drop", metadata={"help": "Drop ties, or keep them as label 0.5"})
    pair_rule: Literal["all", "best_vs_lower", "best_vs_worst"] = field(
        default="all", metadata={"help": "How several rated answers to a prompt become pairs"}
    )
    tokenizer: str | None = field(
        default=None, metadata={"help": "Measure in tokens of this tokenizer or model folder"}
    )
    max_length: int | None = field(
        default=None, metadata={"help": "Tokens of prompt and answer together; longer rows are bad"}
    )
    allow_truncation: bool = field(
        default=False,
        metadata={"help": "Rows above max_length are bad only where nothing is left to learn from"},
    )
    strict: bool = field(default=False, metadata={"help": "Exit 1 for duplicates, contradictions and leaks too"})
    json: bool = field(default=False, metadata={"help": "Print JSON instead of a table"})


def run(argv: list[str]) -> int:
    """Validate every source, print what was found, and return the exit status."""
    (arguments,) = parse(argv, "check-data", Arguments)
    if not arguments.data:
        raise UserError("prefopt check-data: name at least one file.")
    _protect(arguments)
    from reward_models.data import validate_splits

    with Console(stderr=True).status("Reading"):
        reports, leaks = validate_splits(arguments.data, **_options(arguments))
    if arguments.json:
        print(json.dumps({"reports": [r.to_dict() for r in reports], "leaks": [asdict(leak) for leak in leaks]}))
    else:
        from prefopt.cli.data_tables import print_findings

        print_findings(reports, leaks)
    return _status(reports, leaks, arguments.strict)


def _protect(arguments: Arguments) -> None:
    """The quarantine file must not replace the data."""
    if arguments.quarantine and Path(arguments.quarantine).resolve() in [Path(d).resolve() for d in arguments.data]:
        raise UserError(f"--quarantine {arguments.quarantine}: this is the data itself; name another file.")


def _options(arguments: Arguments) -> dict[str, Any]:
    if arguments.max_length is not None and arguments.tokenizer is None:
        raise UserError("--max-length counts tokens: name a --tokenizer too.")
    return {
        "require_shape": True,
        "quarantine_path": arguments.quarantine or None,
        "kind": None if arguments.kind == "auto" else arguments.kind,
        "columns": arguments.columns,
        "split": arguments.split,
        "ties": arguments.ties,
        "pair_rule": arguments.pair_rule,
        "tokenizer": _load_tokenizer(arguments.tokenizer) if arguments.tokenizer else None,
        "max_length": arguments.max_length,
        "allow_truncation": arguments.allow_truncation,
    }


def _load_tokenizer(name: str) -> Any:
    from reward_models.backbones import load_tokenizer
    from reward_models.errors import ModelError

    try:
        return load_tokenizer(name)
    except ModelError as error:
        raise UserError(f"--tokenizer {name}: no tokenizer there ({error})") from error


def _status(reports: Sequence[Report], leaks: Sequence[Leak], strict: bool) -> int:
    warned = bool(leaks) or any(report.duplicates or report.contradictions for report in reports)
    return int(any(report.bad_count for report in reports) or (strict and warned))
