"""``prefopt play``: a preference game, in which the policy learns from judged answers of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from prefopt.cli.arguments import parse
from prefopt.cli.explaining import ExplainArguments
from prefopt.cli.stopping import stoppable

if TYPE_CHECKING:
    from prefopt.trainers.games.play import PlayedGame


@dataclass
class PlayArguments:
    """Who plays, on which prompts, and who judges."""

    model: str = field(metadata={"help": "folder or hub name of a causal language model; the anchor of the game too"})
    data: str = field(
        metadata={"help": "prompts with what the judge reads: jsonl, json, parquet (also .gz), or a hub name"}
    )
    judge: str | dict[str, Any] = field(
        metadata={
            "help": "a reward model's folder, a verifier (exact_answer, ...) or file.py:function, scoring "
            "f(prompts, completions, **columns) or comparing f(prompts, first, second, **columns); or {source: ..., "
            "temperature: 1.0, both_orders: true, columns: ...}"
        }
    )
    eval_data: str | None = field(
        default=None, metadata={"help": "held-out prompts, on which each iterate plays against the model at the start"}
    )
    dtype: Literal["float32", "bfloat16", "auto"] = field(
        default="float32",
        metadata={"help": "of the weights in memory; --bf16 computes in bfloat16 over float32 weights"},
    )


def run(argv: list[str]) -> int:
    """Play, save, and say what each iteration found. The same command again goes on where it was stopped."""
    from prefopt.trainers.adapters import AdapterArguments
    from prefopt.trainers.games.play import GameConfig, play_game

    arguments, explain, adapter, config = parse(
        argv, "play", PlayArguments, ExplainArguments, AdapterArguments, GameConfig
    )
    if explain(config):
        return 0
    with stoppable():
        done = play_game(
            arguments.model,
            arguments.data,
            arguments.judge,
            config,
            arguments.eval_data,
            adapter=adapter if adapter.use_peft else None,
            dtype=arguments.dtype,
        )
    if config.process_index == 0:
        _print(done)
    return 0


def _print(done: PlayedGame) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Iterations", title_justify="left")
    shown = ["iteration", "prompts", "pairs", "trained_on", "comparisons_without_verdict", "loss", "win_rate"]
    shown = [name for name in shown if any(one.get(name) is not None for one in done.iterations)]
    for name in shown:
        table.add_column(name.replace("_", " "))
    for one in done.iterations:
        values = [one.get(name) for name in shown]
        table.add_row(*(f"{value:.4f}" if isinstance(value, float) else str(value) for value in values))
    console = Console()
    console.print(table)
    console.print(f"last policy in {done.folder}; candidates, verdicts and pairs in its iteration_*", markup=False)
