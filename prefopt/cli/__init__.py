"""The command line: a table of commands, each module imported only when its command is called."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from prefopt import __version__
from prefopt.errors import UserError, nearest
from reward_models.redaction import redact, redacted_logs


class Command(NamedTuple):
    """Where a command lives and what it does, in one line. The module has ``run(argv) -> int``."""

    module: str
    help: str


COMMANDS: dict[str, Command] = {
    "quickstart": Command("prefopt.cli.quickstart", "The whole path on the embedded tiny model and data, on a CPU"),
    "check-data": Command("prefopt.cli.check_data", "Say what a preference file holds, and quarantine its bad rows"),
    "train-reward": Command("prefopt.cli.train_reward", "Train a reward model on preference data"),
    "evaluate-reward": Command("prefopt.cli.evaluate_reward", "Accuracy, margin and calibration of a reward model"),
    "fit-scaling": Command("prefopt.cli.fit_scaling", "How the loss of reward models falls with size: power laws"),
    "evaluate-policy": Command("prefopt.cli.evaluate_policy", "Does a policy rank preferred answers higher"),
    "compare": Command("prefopt.cli.compare", "Tasks that broke and were mended between two sets of results"),
    "score": Command("prefopt.cli.score", "Score a file of answers with a reward model, in batches, resumable"),
    "serve": Command("prefopt.cli.serve", "Serve a reward model over HTTP, requests batched together"),
    "align-offline": Command("prefopt.cli.align_offline", "Align a model on preference pairs (DPO and its kin)"),
    "weight-data": Command("prefopt.cli.weight_data", "Weigh rows by losses or answers of a policy's own samples"),
    "show-masks": Command("prefopt.cli.show_masks", "Colour the tokens of pairs by the weight that masks give them"),
    "weigh-heads": Command(
        "prefopt.cli.weigh_heads", "An ordinary model of a policy's heads, at weights of your choice"
    ),
    "align-online": Command("prefopt.cli.align_online", "Align a model against several rewards (GRPO and its kin)"),
    "play": Command("prefopt.cli.play", "Align a model on judged answers of its own (Nash-style games)"),
    "preference": Command(
        "prefopt.cli.preference", "Write weights of rewards into prompts, for a policy that reads them"
    ),
    "search-thresholds": Command(
        "prefopt.cli.search_thresholds", "Thresholds of constrained alignment, found by short runs and a gold source"
    ),
    "test-safety": Command("prefopt.cli.safety", "May a policy be returned: its mean cost on held-out prompts"),
    "average": Command("prefopt.cli.average", "The mean of several models' weights, streamed from disk to disk"),
    "methods": Command("prefopt.cli.methods", "List the recipes, or explain one: composition, formula, paper"),
    "doctor": Command("prefopt.cli.doctor", "Versions, device, sandbox, optional extras and embedded assets"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 fine, 2 bad input, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = bool(os.environ.get("PREFOPT_DEBUG"))
    if arguments[:1] == ["--debug"]:
        debug, arguments = True, arguments[1:]
    try:
        with redacted_logs():
            return _dispatch(arguments)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    except Exception as error:
        if debug or not isinstance(error, _mendable()):
            raise
        print(f"Error: {redact(str(error))}", file=sys.stderr)
        return 2
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
            return 1
        return int(stop.code or 0)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        _print_help()
        return 0
    if arguments[0] == "--version":
        print(f"prefopt {__version__}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        raise UserError(f"Unknown command '{name}'.{nearest(name, COMMANDS)} `prefopt --help` lists them all.")
    return int(importlib.import_module(COMMANDS[name].module).run(rest))


def _mendable() -> tuple[type[Exception], ...]:
    """Return the errors shown without a traceback; imported late, as help needs none."""
    from reward_models.errors import DataError, ModelError

    return (UserError, DataError, ModelError)


def _print_help() -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"[bold]prefopt[/bold] {__version__}: from preference data to an aligned policy.\n")
    console.print("Usage: prefopt [--debug] COMMAND [--config FILE.yaml] [--flag VALUE ...]\n", markup=False)
    table = Table.grid(padding=(0, 3))
    for name, command in COMMANDS.items():
        table.add_row(f"  [bold]{name}[/bold]", command.help)
    console.print(table)
    console.print(
        "\n`prefopt COMMAND --help` lists its fields. --debug or PREFOPT_DEBUG=1 shows tracebacks.",
        markup=False,
    )


__all__ = ["COMMANDS", "Command", "main"]
