"""``prefopt score``: score a file of completions or pairs with a reward model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from prefopt.errors import UserError

if TYPE_CHECKING:
    from reward_models.scoring import ScoringReport
    from reward_models.scoring.parts import Part
    from reward_models.scoring.settings import ScoringSettings

ENGINES = ("local", "ray")


@dataclass
class Arguments:
    """What to score with what, and where."""

    model: str = field(metadata={"help": "reward-model folder or hub name"})
    data: str = field(metadata={"help": "rows to score: .jsonl, .json or .parquet, also .gz"})
    output: str = field(metadata={"help": "where to write: .jsonl, .jsonl.gz or .parquet"})
    device: str | None = field(
        default=None, metadata={"help": "cuda, mps, cpu; unset: the accelerator where there is one"}
    )
    num_processes: int = field(default=1, metadata={"help": "processes on this machine, one a device; for ray: actors"})
    engine: str = field(default="local", metadata={"help": "local, or ray: a Ray cluster (pip install prefopt[ray])"})
    shard: str | None = field(
        default=None, metadata={"help": "i/n: score part i of n into OUTPUT.shard-i-of-n, on any machine; then --join"}
    )
    stall_timeout: float = field(
        default=1800.0,
        metadata={"help": "with several processes: seconds without a sign of life after which one is ended; 0: never"},
    )
    worker_restarts: int = field(
        default=1, metadata={"help": "with several processes: how often one that died is begun again, where it was"}
    )
    join: int | None = field(default=None, metadata={"help": "n: join OUTPUT.shard-1-of-n to shard-n-of-n into OUTPUT"})

    @property
    def part(self) -> Part:
        """The part that this process has, or the first of its processes."""
        from reward_models.scoring.parts import Part

        return Part(1, self.num_processes) if self.shard is None else Part.parse(self.shard)

    def check(self) -> None:
        """Refuse what does not go together."""
        if self.engine not in ENGINES:
            raise UserError(f"engine must be one of {', '.join(ENGINES)}, got '{self.engine}'")
        for name in ("num_processes", "join"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")
        for name in ("stall_timeout", "worker_restarts"):
            if (least := getattr(self, name)) < 0:
                raise UserError(f"{name} must not be negative, got {least}")
        several = self.num_processes > 1 or self.engine != "local"
        if (self.shard is not None) + (self.join is not None) + several > 1:
            raise UserError("--shard, --join and --num-processes (or --engine ray) exclude each other; give one")


def run(argv: list[str]) -> int:
    """Score and print counts."""
    from prefopt.cli.arguments import parse
    from reward_models.scoring.settings import ScoringSettings, check_files

    arguments, settings = parse(argv, "score", Arguments, ScoringSettings)
    arguments.check()
    check_files(Path(arguments.data), Path(arguments.output))
    if arguments.join is None and arguments.engine == "local":
        from reward_models.scoring.resume import check_earlier

        check_earlier(Path(arguments.data), Path(arguments.output), settings, arguments.part)
    if settings.explain and arguments.join is None:
        from reward_models.backbones import locate
        from reward_models.folder import check_gated

        check_gated(locate(arguments.model))
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    started = perf_counter()
    bar = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*bar, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("rows scored", total=None)
        report, written = _score(arguments, settings, lambda rows: progress.update(task, completed=rows))
    _show(report, written, perf_counter() - started)
    return 0


def _score(
    arguments: Arguments, settings: ScoringSettings, progress: Callable[[int], None]
) -> tuple[ScoringReport, str]:
    from reward_models.scoring import join_parts, score_file, score_part

    name, source, output = arguments.model, arguments.data, arguments.output
    if arguments.join is not None:
        return join_parts(source, output, arguments.join), output
    if arguments.engine == "ray":
        from reward_models.scoring.ray_engine import score_with_ray

        actors = arguments.num_processes if arguments.num_processes > 1 else None
        try:
            return score_with_ray(name, source, output, settings, actors, arguments.device), output
        except ModuleNotFoundError as error:
            raise UserError(f"--engine ray needs the extra 'ray': pip install 'prefopt[ray]' ({error})") from error
    if arguments.num_processes > 1:
        from reward_models.scoring.processes import Patience, score_in_processes

        patience = Patience(arguments.stall_timeout, arguments.worker_restarts)
        report = score_in_processes(
            name, source, output, arguments.num_processes, settings, arguments.device, progress, patience
        )
        return report, output
    part = arguments.part
    from reward_models import RewardModel
    from reward_models.devices import pick_device

    model = RewardModel.from_pretrained(name).to(pick_device(arguments.device))
    if arguments.shard is None:
        return score_file(model, source, output, settings, name, progress), output
    report = score_part(model, source, output, settings, name, part, progress)
    return report, str(part.path(Path(output)))


def _show(report: ScoringReport, written: str, seconds: float) -> None:
    from rich.console import Console

    console = Console()
    console.print(f"{report.rows:,} rows to {written}")
    speed = f"{report.tokens / seconds:,.0f} tokens a second" if report.tokens else "nothing left to score"
    console.print(f"{report.scored:,} texts scored, {report.reused:,} known already; {seconds:.1f} s, {speed}")
    if report.resumed_rows:
        console.print(f"{report.resumed_rows:,} rows were there from an earlier attempt")
    if report.damaged:
        console.print(
            f"[yellow]{report.damaged:,} kept texts were damaged on the disk; what belongs to them was scored again"
        )
    if report.truncated:
        console.print(f"[yellow]{report.truncated:,} texts were longer than max_length and were cut")
    if report.quarantined:
        console.print(f"[yellow]{report.quarantined:,} bad rows were left out: {written}.quarantine.jsonl")
    if report.unscored:
        console.print(f"[yellow]{report.unscored:,} rows or texts could not be scored: null, the reason in 'unscored'")
    if report.not_finite:
        console.print(f"[yellow]{report.not_finite:,} scores were not finite and are null")
