"""What is logged: sums and counts until a log line is due, and every line also in ``history.jsonl``."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import TrainerCallback

from reward_models.whole_files import replace_text

Metrics = Mapping[str, tuple[Tensor, Tensor]]
COUNTS = re.compile(r"^((unscored\w*|abstained)\.\d+|rows_unscored|rows_dropped|groups_dropped)$")
LARGEST = re.compile(r"(^|/)largest_")
NUMBERED = re.compile(r"^(?P<name>\w+)\.(?P<source>\d+)(\.(?P<other>\d+))?$")


class Tally:
    """Adds ``(sum, count)`` pairs up, on the device, and turns them into figures when a line is due.

    Figures of one reward source, ``reward.0``, become ``reward/NAME``, those of a task, ``task_reward.0``, likewise,
    and ``correlation.0.1`` becomes ``correlation/NAME ~ OTHER``.
    ``unscored`` and the numbers of rows are totals, ``largest_...`` is the largest, everything else is a mean.
    """

    def __init__(self, names: Sequence[str], tasks: Sequence[str] = ()) -> None:
        self.names, self.tasks = tuple(names), tuple(tasks)
        self._shared: dict[str, tuple[Tensor, Tensor]] = {}
        self._local: dict[str, tuple[Tensor, Tensor]] = {}

    def add_shared(self, metrics: Metrics) -> None:
        """Add figures that are the same on every process."""
        _add(self._shared, metrics)

    def add_local(self, metrics: Metrics) -> None:
        """Add figures of this process's rows."""
        _add(self._local, metrics)

    def sums(self) -> dict[str, Tensor]:
        """Return the sums and counts of this process since the last line, by names that `take` knows."""
        both = {"shared": self._shared, "local": self._local}
        return {
            f"{whose}|{name}|{place}": value
            for whose, sums in both.items()
            for name, pair in sums.items()
            for place, value in enumerate(pair)
        }

    def take(self, sums: Mapping[str, Tensor]) -> None:
        """Go on adding to what `sums` gave."""
        self._shared, self._local = {}, {}
        for key, total in sums.items():
            whose, name, place = key.split("|")
            if place == "0":
                into = self._shared if whose == "shared" else self._local
                into[name] = (total, sums[f"{whose}|{name}|1"])

    def collect(self, accelerator: Accelerator) -> dict[str, float]:
        """Return the figures since the last call, of all processes together."""
        sums = {name: _pair(value).tolist() for name, value in self._shared.items()}
        if self._local:
            keys = sorted(self._local)
            stacked = torch.stack([_pair(self._local[key]).float().to(accelerator.device) for key in keys])
            if accelerator.num_processes > 1:
                of_all = accelerator.gather(stacked[None])
                largest = torch.tensor([bool(LARGEST.search(key)) for key in keys], device=stacked.device)
                stacked = torch.where(largest[:, None], of_all.amax(0), of_all.sum(0))
            sums |= dict(zip(keys, stacked.tolist(), strict=True))
        self._shared, self._local = {}, {}
        return self._named(sums)

    def _named(self, sums: Mapping[str, Sequence[float]]) -> dict[str, float]:
        figures: dict[str, float] = {}
        for key, (total, count) in sums.items():
            value = total if COUNTS.match(key) else (total / count if count else math.nan)
            match = NUMBERED.match(key)
            figures[self._name(match) if match else key] = value
        missing = [value for key, value in figures.items() if key.startswith("unscored/")]
        spreads = [v for key, v in figures.items() if key.startswith("reward_std/") and not math.isnan(v)]
        if missing:
            figures["unscored"] = sum(missing)
        if spreads:
            figures["reward_std"] = sum(spreads) / len(spreads)
        return figures

    def _name(self, match: re.Match[str]) -> str:
        names = self.tasks if match["name"].startswith("task_") else self.names
        other = "" if match["other"] is None else f" ~ {names[int(match['other'])]}"
        # One string for all lines: transformers keeps every line for as long as a trainer lives.
        return sys.intern(f"{match['name']}/{names[int(match['source'])]}{other}")


def _add(totals: dict[str, tuple[Tensor, Tensor]], metrics: Metrics) -> None:
    for name, (total, count) in metrics.items():
        before = totals.get(name)
        if before is None:
            totals[name] = (total, count)
        elif LARGEST.search(name):
            totals[name] = (torch.maximum(before[0], total), torch.maximum(before[1], count))
        else:
            totals[name] = (before[0] + total, before[1] + count)


def _pair(pair: tuple[Tensor, Tensor]) -> Tensor:
    total, count = pair
    # On the device first: not every accelerator has float64.
    return torch.stack([total.detach().cpu().double(), count.detach().cpu().double()])


class HistoryFile(TrainerCallback):
    """Writes every training line as JSON, one a line, with its ``step``; figures that are not finite become null.

    A resumed run goes on behind the lines that its checkpoint knows; a new run moves an older file aside.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the lines of the run that is resumed."""
        if not state.is_world_process_zero:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if state.global_step == 0:
            if self.path.exists():
                self.path.replace(self.path.with_name("history.previous.jsonl"))
        else:
            kept = [_line(logs["step"], logs) for logs in state.log_history if _is_kept(logs)]
            replace_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Append a line of training or evaluation; the summary at the end of a run is neither."""
        if state.is_world_process_zero and logs and _is_kept(logs):
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(_line(state.global_step, logs)) + "\n")


def read_history(path: str | Path) -> list[dict[str, Any]]:
    """Return the lines of a history file; one that a crash cut short is left out."""
    lines = []
    for text in Path(path).read_text(encoding="utf-8").split("\n"):
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return [line for line in lines if isinstance(line, dict) and "step" in line]


def _is_kept(logs: Mapping[str, Any]) -> bool:
    return "loss" in logs or "eval_loss" in logs


def _line(step: int, logs: Mapping[str, Any]) -> dict[str, Any]:
    return {"step": step} | {key: _plain(value) for key, value in logs.items() if key != "step"}


def _plain(value: Any) -> Any:
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, float) and not math.isfinite(number):
        return None
    return number if isinstance(number, (int, float, str, bool, type(None))) else str(number)
