"""A run of several stages, one folder each, that goes on where it was stopped.

    run = StagedRun(Path("aligned"))
    first = run.stage("stage_1", {"recipe": "simpo"}, lambda folder: train(folder, newest_whole_checkpoint(folder)))
    second = run.stage("stage_2", {"recipe": "dpo"}, lambda folder: train(folder, ..., guide=run.folder / "stage_1"))

The stages are called in order every time the run is started. One that has finished is not repeated: what it found is
read from ``stage.json`` in its folder, which is written last. One that was stopped inside is called again with its
folder as it was left, so that the work resumes from a checkpoint of its own. The number of stages need not be known: a
loop that asks after each one whether to go on decides the same when it is run again, as it sees the same results.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from accelerate import PartialState

from prefopt.errors import UserError
from prefopt.trainers.checkpointing.manifest import record_of
from prefopt.trainers.checkpointing.together import gathered, leads_machine
from reward_models.redaction import redacted
from reward_models.whole_files import replace_json

RECORD = "stage.json"
Work = Callable[[Path], Mapping[str, Any]]


@dataclass(frozen=True)
class StageRecord:
    """What is known of a stage, in its folder as JSON.

    Attributes:
        settings: everything that the stage's result depends on, apart from the stages before it.
        identity: drawn when the stage began; a stage that is run again from nothing has another.
        after: identity of the stage before; empty for the first.
        finished: whether the work came to its end. seconds: that its last call took.
        result: what the work returned. files: SHA-256 of the weights that it left, by name.
    """

    name: str
    settings: Mapping[str, Any]
    identity: str
    after: str = ""
    finished: bool = False
    seconds: float = 0.0
    result: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass
class StagedRun:
    """Runs stages in folders of ``folder``, each once. ``records`` are those of this start, in order.

    All processes of a distributed run call the same stages; the first writes the records.
    """

    folder: Path
    records: list[StageRecord] = field(default_factory=list)

    def stage(self, name: str, settings: Mapping[str, Any], work: Work) -> Mapping[str, Any]:
        """Return what ``work`` returns for the stage's folder, now or when it ran.

        Args:
            name: of the folder, such as ``stage_1`` or ``iteration_03``; once a run.
            settings: JSON values that the result depends on. Leave out what doesn't change it (paths of output, number
                of loader processes), so that a resumed run may change them.
            work: trains, writes into the folder, and returns JSON values. Called again after a crash with the folder as
                it was left; `newest_whole_checkpoint` finds where to go on.

        Raises:
            UserError: the folder holds this stage with other settings, or run after another run of the stage before, or
            weights that are not those that it left.
        """
        if any(record.name == name for record in self.records):
            raise ValueError(f"stage '{name}' was called twice in one run")
        folder, after = self.folder / name, self.records[-1].identity if self.records else ""
        wanted = StageRecord(name, redacted(_plain(settings)), uuid4().hex, after)
        record = read_record(folder) or wanted
        _check_same(record, wanted, folder)
        if record.finished:
            _check_files(record, folder)
        else:
            record = _run(record, folder, work)
        self.records.append(record)
        return record.result


def read_record(folder: Path) -> StageRecord | None:
    """Return the record in a stage's folder; None where the stage never began.

    Raises:
        UserError: the file is no record.
    """
    file = folder / RECORD
    if not file.is_file():
        return None
    try:
        return StageRecord(**json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{file} is no record of a stage ({error}); remove {folder} to run the stage anew") from error


def _run(record: StageRecord, folder: Path, work: Work) -> StageRecord:
    processes = PartialState()
    if processes.is_main_process:
        _write(record, folder)
    processes.wait_for_everyone()
    begin = time.perf_counter()
    result = _plain(work(folder))
    done = replace(record, finished=True, seconds=time.perf_counter() - begin, result=result)
    processes.wait_for_everyone()
    if processes.is_main_process:
        _write(replace(done, files=_hashes(folder)), folder)
    # What this process found may differ in the last digit, and a loop may branch on it.
    processes.wait_for_everyone()
    return read_record(folder) or done


def _write(record: StageRecord, folder: Path) -> None:
    replace_json(folder / RECORD, asdict(record))


def _hashes(folder: Path) -> dict[str, str]:
    weights = sorted(folder.glob("*.safetensors"))
    return {file.name: one.sha256 for file, one in zip(weights, record_of(weights), strict=True)}


def _check_files(record: StageRecord, folder: Path) -> None:
    """Raise ``UserError`` on all processes where weights of a finished stage are not those that it left."""
    found = gathered(_hashes(folder) if record.files and leads_machine() else record.files)
    for name, sha256 in record.files.items():
        if any(files.get(name) != sha256 for files in found):
            raise UserError(
                f"{folder / name} is missing or was changed since '{record.name}' was finished; put it back, or remove "
                f"{folder / RECORD} to run this stage again"
            )


def _check_same(found: StageRecord, wanted: StageRecord, folder: Path) -> None:
    if found.settings != wanted.settings:
        keys = sorted({*found.settings, *wanted.settings})
        key = next(key for key in keys if found.settings.get(key) != wanted.settings.get(key))
        raise UserError(
            f"{folder} was run with {key} = {found.settings.get(key)!r}, now it is {wanted.settings.get(key)!r}; give "
            f"back the old value, name another output_dir, or remove {folder} and what was run after it"
        )
    if found.after != wanted.after:
        raise UserError(f"{folder} was run after a stage that has been run anew since; remove {folder} to run it again")


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as they come back from a JSON file. Raises ``TypeError`` for one that JSON doesn't hold."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(values)))
    return plain
