"""``prefopt search-thresholds``: thresholds of constrained alignment, by short runs and a gold source."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefopt.cli.align_online import AlignOnlineArguments
from prefopt.cli.arguments import parse
from prefopt.errors import UserError


@dataclass
class SearchArguments:
    """Where to search, and by what a policy is judged; everything else is that of ``align-online``."""

    lower: list[float] = field(
        metadata={"help": "least threshold of each reward: the means of the policy at the start"}
    )
    upper: list[float] = field(metadata={"help": "largest threshold of each reward"})
    gold: dict[str, Any] = field(metadata={"help": "a source that tells true quality, and is no reward: {source: ...}"})
    gold_data: str = field(metadata={"help": "held-out prompts that gold judges completions to"})
    trials: int = field(default=30, metadata={"help": "short runs at most, each of max_steps at most"})
    tolerance: float = field(default=0.01, metadata={"help": "of thresholds and scores, at which the search ends"})
    keep_policies: bool = field(default=False, metadata={"help": "keep the weights of every short run"})


def run(argv: list[str]) -> int:
    """Search, going on where an earlier search in output_dir stopped; print the trials and the best."""
    from prefopt.trainers.online_config import OnlineConfig

    arguments, search, config = parse(argv, "search-thresholds", AlignOnlineArguments, SearchArguments, OnlineConfig)
    from prefopt.trainers.rewards.reading import read_sources
    from prefopt.trainers.threshold_runs import run_trial, with_thresholds
    from prefopt.trainers.threshold_search import Found, ThresholdSearch, Trial
    from reward_models.data import load_prompts

    if config.max_steps <= 0:
        raise UserError("set max_steps: the most that a short run may take, such as a tenth of the final run's steps")
    sources = read_sources(arguments.rewards)
    if len(sources) != len(search.lower):
        raise UserError(f"{len(search.lower)} thresholds for {len(sources)} reward sources; give one a source")
    plan = ThresholdSearch(tuple(search.lower), tuple(search.upper), search.tolerance, most=search.trials)
    with_thresholds(config.recipe, config.weighting, search.lower)
    held_out = load_prompts(search.gold_data)
    folder = Path(config.output_dir)

    def evaluate(thresholds: tuple[float, ...], number: int) -> Trial:
        recipe, weighting = with_thresholds(config.recipe, config.weighting, thresholds)
        flags = {"--output-dir": str(folder / f"trial-{number:03d}"), "--recipe": json.dumps(recipe)}
        if weighting is not None:
            flags["--weighting"] = json.dumps(weighting)
        words = [word for pair in flags.items() for word in pair]
        _, _, own = parse([*argv, *words], "search-thresholds", AlignOnlineArguments, SearchArguments, OnlineConfig)
        return run_trial(
            arguments.model, arguments.data, arguments.rewards, own, thresholds, search.gold, held_out,
            arguments.dtype, search.keep_policies,
        )  # fmt: skip

    found: Found = plan(evaluate, folder)
    _print(found, [name for source in sources for name in source.names], folder)
    return 0


def _print(found: Any, names: list[str], folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Thresholds tried", title_justify="left")
    for heading in (*names, "gold", "reached", "steps"):
        table.add_column(heading, justify="right")
    for trial in found.trials:
        cells = [f"{value:.4g}" for value in (*trial.thresholds, trial.score)]
        table.add_row(*cells, "yes" if trial.reached else "no", str(trial.steps))
    console = Console()
    console.print(table)
    best = ", ".join(f"{value:.4g}" for value in found.best.thresholds)
    console.print(f"best: thresholds [{best}], gold {found.best.score:.4g}", markup=False)
    if not found.converged:
        console.print("the search ended by its number of trials; start it again with more to go on", markup=False)
    console.print(f"all trials in {folder / 'thresholds.json'}", markup=False)
