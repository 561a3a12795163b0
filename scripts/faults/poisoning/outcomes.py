"""What a run did whose steps were spoilt."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from prefopt.trainers.guards.skipped_steps import FOLDER
from scripts.faults.poisoning.steps import Moments, Plan, same

GUARD = "prefopt.trainers.guards.report"


@dataclass(frozen=True)
class Outcome:
    """What a run with spoilt steps did.

    Attributes:
        injected: steps that were spoilt. caught: those after which everything was bit for bit as before.
        named: those of which the log named exactly the rows that were spoilt. written: those with a readable dump.
        moved: other steps that moved the parameters. others: how many there were.
        finite: parameters at the end are, and a step's logged loss is NaN exactly where it was spoilt.
    """

    injected: int
    caught: int
    named: int
    written: int
    moved: int
    others: int
    finite: bool


def outcome(trainer: Any, plan: Plan, poison: Callable[[Any, Plan], None]) -> Outcome:
    """Train with the steps of a plan spoilt by ``poison``, and look at what every step did."""
    poison(trainer, plan)
    moments, lines = Moments(trainer), _Lines()
    trainer.add_callback(moments)
    logger = logging.getLogger(GUARD)
    logger.addHandler(lines)
    propagate, logger.propagate = logger.propagate, False
    try:
        with redirect_stdout(StringIO()):
            trainer.train()
    finally:
        logger.removeHandler(lines)
        logger.propagate = propagate
    pairs = {
        step: (state, moments.before[step + 1]) for step, state in moments.before.items() if step + 1 in moments.before
    }
    stayed = {step for step, (one, other) in pairs.items() if same(one, other)}
    moved = {step for step, (one, other) in pairs.items() if not same(one["parameters"], other["parameters"])}
    named = {step for step in plan.steps if sorted(set(lines.rows(step))) == sorted(set(plan.expected.get(step, [])))}
    folder = Path(trainer.args.output_dir) / FOLDER
    logged = {line["step"]: line["loss"] for line in trainer.state.log_history if "loss" in line}
    honest = all((loss != loss) == (step in plan.steps) for step, loss in logged.items())
    end = moments.before[max(moments.before)]["parameters"]
    return Outcome(
        len(plan.steps), len(stayed & plan.steps.keys()), len(named), len(_readable(folder)),
        len(moved - plan.steps.keys()), len(pairs) - len(plan.steps),
        honest and all(bool(torch.isfinite(value).all()) for value in end.values()),
    )  # fmt: skip


def _readable(folder: Path) -> list[Path]:
    return [page for page in folder.glob("step-*.json") if json.loads(page.read_text(encoding="utf-8"))["rows"]]


class _Lines(logging.Handler):
    """Rows that the guard's warnings name, by step."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning."""
        self.seen.append(record.getMessage())

    def rows(self, step: int) -> list[str]:
        """Return the rows that were named at a step."""
        for line in self.seen:
            found = re.match(rf"step {step} skipped: .*?; rows: (.*?)(?:; its batch is in .*)?$", line, re.DOTALL)
            if found:
                return found[1].split(", ")
        return []
