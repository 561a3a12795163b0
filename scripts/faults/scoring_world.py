"""Two tiny reward models, a file in several formats, and what comes out when nothing happens."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import torch

from reward_models import RewardModel
from reward_models.multi_objective.gate import Gate
from reward_models.multi_objective.mixture import Mixture
from reward_models.scoring import ScoringSettings, score_file
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer

SETTINGS = ScoringSettings(shard_rows=8, batch_tokens=128, on_bad_row="null")


@dataclass(frozen=True)
class Case:
    """One way to score: formats of input and output, a gated model that explains itself or a plain one, processes."""

    input: str = ".jsonl"
    output: str = ".jsonl"
    explain: bool = False
    workers: int = 1

    @property
    def settings(self) -> ScoringSettings:
        """The settings of all attempts."""
        return ScoringSettings(shard_rows=8, batch_tokens=128, on_bad_row="null", explain=self.explain)


CASES = (
    Case(),
    Case(output=".parquet"),
    Case(input=".jsonl.gz", output=".jsonl.gz"),
    Case(explain=True),
    Case(workers=2),
    Case(input=".parquet", output=".parquet", workers=2),
    Case(input=".jsonl.gz", workers=2),
)


@dataclass
class World:
    """Where everything lies."""

    folder: Path
    models: dict[str, Path]
    _made: dict[Any, Any] = field(default_factory=dict)

    def model(self, case: Case) -> RewardModel:
        """The model of a case, loaded once."""
        return _loaded(self.models["gated" if case.explain else "plain"])

    def source(self, case: Case) -> Path:
        """The input of a case."""
        return self.folder / f"in{case.input}"

    def expected(self, case: Case) -> Path:
        """The output of a run in one process that nothing happened to."""
        if case not in self._made:
            path = self.folder / f"expected-{len(self._made)}{case.output}"
            score_file(self.model(case), self.source(case), path, case.settings)
            self._made[case] = path
        return Path(self._made[case])

    def fresh(self, case: Case) -> Path:
        """An output that is not there yet, in a folder of its own."""
        self._made["fresh"] = self._made.get("fresh", 0) + 1
        folder = self.folder / f"run-{self._made['fresh']}"
        folder.mkdir()
        return folder / f"out{case.output}"


@cache
def _loaded(folder: Path) -> RewardModel:
    return RewardModel.from_pretrained(folder)


def build(folder: Path, count: int = 90) -> World:
    """Make the models and the inputs: rows whose texts occur twice each, and one that cannot be scored."""
    folder.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    base = save_tiny(folder / "base", tiny_llama(), tiny_tokenizer())
    torch.manual_seed(1)
    plain = RewardModel.from_backbone(base, heads=("score",)).eval()
    plain.save_pretrained(folder / "plain")
    gated = RewardModel.from_backbone(base, heads=("helpful", "length")).eval()
    gated.mixture = Mixture(Gate(gated.config.hidden_size, 2, width=8).eval(), torch.tensor([[1.0, 0.0], [-0.4, 0.0]]))
    gated.save_pretrained(folder / "gated")
    half = count // 2
    rows: list[dict[str, Any]] = [
        {"prompt": f"p{i % half // 5}", "completion": "c" * (i % half * 7 % 23 + 1) + str(i % half), "id": i}
        for i in range(count)
    ]
    rows[count // 2]["completion"] = None
    for row in rows:
        row["note"] = "n" * 400
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "in.jsonl").write_text(text)
    (folder / "in.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "in.parquet")
    return World(folder, {"plain": folder / "plain", "gated": folder / "gated"})


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of an output."""
    if path.suffix == ".parquet":
        return list(pyarrow.parquet.read_table(path).to_pylist())
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return [json.loads(line) for line in file]
