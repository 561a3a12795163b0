"""Scoring of files under faults: killed at any line, a full disk, a torn store, dead and hung workers, two at once.

Expected outputs are those of one process that nothing happened to; equality is of all bytes.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import torch

from reward_models import RewardModel
from reward_models.errors import DataError, ModelError
from reward_models.scoring import Part, ScoringSettings, join_parts, score_file, score_part
from reward_models.scoring import store as score_store
from reward_models.scoring.parts import unread_of
from reward_models.scoring.settings import check_files
from scripts.faults import scoring as faults
from scripts.faults.scoring_world import CASES, World, build, rows_of
from scripts.faults.small_disk import small_disk

CASE = CASES[0]
ROOM = Path("/dev/shm") if Path("/dev/shm").is_dir() else None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    threads = torch.get_num_threads()
    yield build(tmp_path_factory.mktemp("world"), 60)
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reward_models.scoring.store.SECONDS_TO_KEEP", 0.0)
    monkeypatch.setattr("reward_models.scoring.lock.PATIENCE", 0.2)


def scored(world: World, output: Path, **settings: Any) -> Any:
    return score_file(world.model(CASE), world.source(CASE), output, replace(CASE.settings, **settings))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("phase", faults.PHASES)
def test_killed_at_a_line(world: World, phase: str, workers: int) -> None:
    """Signal 9 at a line drawn by seed; the same call again: no row lost, none doubled, every byte the same."""
    number = 2 * list(faults.PHASES).index(phase) + workers
    cases = [case for case in CASES if case.workers == workers]
    case, files = cases[number % len(cases)], faults.PHASES[phase]
    at = random.Random(number).randint(1, faults.lines_of(world, case, files))
    killed, loss = faults.kill_once(world, case, files, at)
    assert killed
    assert loss == faults.Loss(0, 0, True)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_killed_at_an_instant(world: World, share: float) -> None:
    """A timer of the kernel ends the run after a share of a whole run's time, inside of SQLite as well."""
    begin = time.perf_counter()
    faults.run(world, CASE, world.fresh(CASE))
    _, loss = faults.kill_once(world, CASE, after=share * (time.perf_counter() - begin))
    assert loss == faults.Loss(0, 0, True)


def test_a_full_disk(world: World) -> None:
    """With 16 KiB the store has no room, with 40 the output: both say so, what is free and what is kept; with room
    afterwards the run comes to its end. The second attempt at the output scores nothing anew."""
    for size, what in ((16, "store"), (40, "output")):
        with small_disk(world.folder, size) as disk:
            if disk is None:
                pytest.skip("no file system may be mounted here")
            output = disk.path / "out.jsonl"
            refused = faults.refusal(world, CASE, output)
            place = output if what == "output" else Part().path(output)
            assert refused.startswith(f"{place}: the disk is full; 0."), refused
            assert f"MiB are free in {disk.path}. " in refused
            assert "run the same command again" in refused
            disk.grow()
            report = faults.run(world, CASE, output)
            assert faults.loss(world, CASE, output) == faults.Loss(0, 0, True)
            if what == "output":
                assert "The scores of all texts are kept" in refused
                assert report.scored == 0


def test_a_disk_without_any_room(world: World) -> None:
    """Not one byte is free: not for the lock's note, nor for a store, nor for what an earlier attempt's store would
    note. Each attempt says so and lets go of the lock, and no kept score is called none."""
    with small_disk(world.folder, 20) as disk:
        if disk is None:
            pytest.skip("no file system may be mounted here")
        output, other = disk.path / "out.jsonl", disk.path / "other"
        for kept in ("Nothing is scored yet", "What is scored is kept"):
            with suppress(OSError), other.open("wb", 0) as file:
                while True:
                    file.write(bytes(1024))
            for _ in range(2):
                refused = faults.refusal(world, CASE, output)
                assert refused.startswith(f"{Part().path(output)}: the disk is full; 0.0 MiB are free"), refused
                assert kept in refused
            other.unlink()
            disk.grow()
            if kept.startswith("Nothing"):
                score_part(world.model(CASE), world.source(CASE), output, CASE.settings)
        faults.run(world, CASE, output)
        assert faults.loss(world, CASE, output) == faults.Loss(0, 0, True)


def test_a_disk_without_room_for_bad_rows(world: World) -> None:
    """Their list is 400 KB, the disk 64 KB: a message, no output; with room the run ends, nothing is scored anew."""
    source = world.folder / "bad.jsonl"
    bad = [{"prompt": "p", "note": "n" * 1000} for _ in range(400)]
    source.write_text("".join(json.dumps(row) + "\n" for row in (*bad, {"prompt": "p", "completion": "c"})))
    settings = replace(CASE.settings, on_bad_row="quarantine")
    with small_disk(world.folder, 64) as disk:
        if disk is None:
            pytest.skip("no file system may be mounted here")
        output = disk.path / "out.jsonl"
        with pytest.raises(DataError, match=r"the disk is full; .* The scores of all texts are kept"):
            score_file(world.model(CASE), source, output, settings)
        assert not output.exists()
        disk.grow()
        report = score_file(world.model(CASE), source, output, settings)
        assert (report.scored, report.rows, report.quarantined) == (0, 1, 400)


def test_a_long_look_through_the_input_is_no_stall(world: World, tmp_path: Path) -> None:
    """2,500 rows are read before the first is scored: two signs of life, after every thousand; then one a batch, of
    one text each."""
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"prompt": "p", "completion": "c"}) + "\n" for _ in range(2500)))
    signs: list[int] = []
    settings = replace(CASE.settings, on_bad_row="raise")
    score_part(world.model(CASE), source, tmp_path / "out.jsonl", settings, pulse=lambda: signs.append(1))
    assert len(signs) == 2 + 1


def test_phases_name_files() -> None:
    """Lines are counted in each of them: a file that was moved would be left out without a word."""
    files = [path.as_posix() for path in Path(score_store.__file__).parents[1].rglob("*.py")]
    for ending in (one for phase in faults.PHASES.values() for one in phase):
        assert sum(file.endswith(ending) for file in files) == 1, ending


def test_one_turned_score_costs_its_batch(world: World) -> None:
    """One kept score's bytes are changed: one text is damaged, and no more than its batch is scored again."""
    output = world.fresh(CASE)
    part = faults.scored_part(world, CASE, output)
    with sqlite3.connect(part) as store:
        key = store.execute("SELECT key FROM texts WHERE value IS NOT NULL ORDER BY key LIMIT 1").fetchone()[0]
        store.execute("UPDATE texts SET value = x'00000000' WHERE key = ?", (key,))
    # A join alone has no model to mend it with.
    with pytest.raises(DataError, match="shard-1-of-1: 1 scores are missing or not as they were written"):
        join_parts(world.source(CASE), output, 1)
    assert not output.exists()
    report = faults.run(world, CASE, output)
    assert report.damaged == 1
    # A shard of 8 to 16 texts has several batches of at most 128 tokens.
    assert 0 < report.scored < 16
    assert faults.loss(world, CASE, output) == faults.Loss(0, 0, True)


@pytest.mark.parametrize("seed", range(4))
def test_a_torn_store(world: World, seed: int) -> None:
    """A bit turned, the end cut off, or a page of zeros."""
    output = world.fresh(CASE)
    faults.tear(faults.scored_part(world, CASE, output), random.Random(seed))
    faults.run(world, CASE, output)
    assert faults.loss(world, CASE, output) == faults.Loss(0, 0, True)


def test_scores_of_another_model_are_never_taken_for_this_ones(world: World) -> None:
    """The note that says what the scores belong to is destroyed, and the model is another: every text's own hash
    contains what it belongs to, so nothing is reused."""
    output = world.fresh(CASE)
    part = faults.scored_part(world, CASE, output)
    with sqlite3.connect(part) as store:
        store.execute("UPDATE about SET value = 'x' WHERE name = 'manifest'")
    other = RewardModel.from_pretrained(world.models["plain"])
    torch.nn.init.constant_(other.score_head.weight, 0.25)
    report = score_file(other, world.source(CASE), output, CASE.settings)
    # 30 texts, one of which cannot be read in one of its two rows.
    assert (report.scored, report.damaged) == (30, 30)


def test_what_changed_is_refused_with_its_name(world: World) -> None:
    """Input, model and batches decide what scores are; what is done with bad rows and the columns' prefix do not."""
    output = world.fresh(CASE)
    faults.scored_part(world, CASE, output)
    model, source = world.model(CASE), world.source(CASE)
    with pytest.raises(DataError, match=r"batch_tokens was 128 and is 64\. Go back to what it was .* set restart"):
        scored(world, output, batch_tokens=64)
    other = RewardModel.from_pretrained(world.models["plain"])
    other.tokenizer.chat_template = "{{ messages }}"
    with pytest.raises(DataError, match="the model was another one"):
        score_file(other, source, output, CASE.settings)
    changed = world.folder / "changed.jsonl"
    changed.write_text(source.read_text().replace("p0", "q0"))
    with pytest.raises(DataError, match="the input file was another one"):
        score_file(model, changed, output, CASE.settings)
    report = scored(world, output, on_bad_row="quarantine", prefix="reward_")
    assert (report.scored, report.quarantined, report.rows) == (0, 1, 59)
    assert "reward_score" in rows_of(output)[0]


def test_the_command_refuses_before_it_loads_a_model(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The model's folder does not even exist."""
    from prefopt.cli import main

    output = world.fresh(CASE)
    faults.scored_part(world, CASE, output)
    command = ["score", "--model", "no-such", "--data", str(world.source(CASE)), "--output", str(output)]
    assert main(command) == 2
    assert "shard_rows was 8 and is 4096" in capsys.readouterr().err


def test_another_number_of_parts_takes_the_scores_over(world: World) -> None:
    """Part 1 of 2 is scored; then the file is, in one process: what part 1 has is not scored again."""
    output = world.fresh(CASE)
    model, source = world.model(CASE), world.source(CASE)
    first = score_part(model, source, output, CASE.settings, part=Part(1, 2))
    # What a kill may have left behind.
    unread_of(Part(1, 2).path(output)).touch()
    whole = scored(world, output)
    assert 0 < first.scored < 30
    assert whole.scored == 30 - first.scored
    assert faults.loss(world, CASE, output) == faults.Loss(0, 0, True)
    assert [path.name for path in output.parent.iterdir()] == [output.name]


def test_two_at_once(world: World) -> None:
    """A process that scores is stopped: another one on the same output is refused, with any number of parts; when the
    first is killed, nothing is in the way."""
    output = world.fresh(CASE)
    ready, told = os.pipe()
    child = os.fork()
    if not child:
        score_part(world.model(CASE), world.source(CASE), output, CASE.settings, progress=lambda rows: _stop(told))
        os._exit(0)
    assert os.read(ready, 1) == b"."
    with pytest.raises(DataError, match=rf"shard-1-of-1: another process \(process {child} on .*\) is at work on it"):
        scored(world, output)
    with pytest.raises(DataError, match="another process"):
        score_part(world.model(CASE), world.source(CASE), output, CASE.settings, part=Part(2, 2))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    scored(world, output)
    assert faults.loss(world, CASE, output) == faults.Loss(0, 0, True)


def _stop(told: int) -> None:
    os.write(told, b".")
    time.sleep(60)


def test_a_worker_that_is_killed_is_begun_again(world: World) -> None:
    case = CASES[4]
    output = world.fresh(case)
    assert faults.in_child(lambda: faults.supervised(world, case, output, 0.05))[0] == 0
    assert faults.loss(world, case, output) == faults.Loss(0, 0, True)


def test_a_worker_that_hangs_is_ended_and_begun_again(world: World) -> None:
    """It is stopped (signal 19) and says nothing for 1 s."""
    case = CASES[4]
    output = world.fresh(case)
    assert faults.in_child(lambda: faults.supervised(world, case, output, 0.05, hang=True))[0] == 0
    assert faults.loss(world, case, output) == faults.Loss(0, 0, True)


def test_a_worker_that_dies_too_often_ends_the_run(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    """No restart is allowed: a message, status 2, no output, and the same call goes on."""
    case = CASES[4]
    output = world.fresh(case)
    assert faults.in_child(lambda: faults.supervised(world, case, output, 0.0, restarts=0))[0] == 2
    told = capfd.readouterr().err
    assert "the process of part 1 was killed, perhaps because memory ran out (exit code -9); what it scored" in told
    assert "run the same command again to go on" in told
    assert not output.exists()
    faults.run(world, case, output)
    assert faults.loss(world, case, output) == faults.Loss(0, 0, True)


class Unlucky:
    """Fails on texts that hold a token, or in every pass."""

    def __init__(self, model: RewardModel, text: str, error: Exception) -> None:
        self.inner, self.error = model.score_batch, error
        self.token = model.tokenizer.convert_tokens_to_ids(text) if text else None

    def __call__(self, batch: Any) -> Any:
        texts = [(*tree.prompt, *response) for tree in batch.trees for response in tree.responses]
        if self.token is None or any(self.token in text for text in texts):
            raise self.error
        return self.inner(batch)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Ten rows: the fourth is no JSON, the fifth has no answer, the sixth half a surrogate, the seventh a 'z'."""
    rows = [json.dumps({"prompt": "p", "completion": "c" * (i + 1), "id": i}) for i in range(10)]
    rows[3] = '{"prompt": '
    rows[4] = '{"prompt": "p", "id": 4}'
    rows[5] = '{"prompt": "p", "completion": "\\ud800", "id": 5}'
    rows[6] = '{"prompt": "p", "completion": "z", "id": 6}'
    source = tmp_path / "mixed.jsonl"
    source.write_text("\n".join(rows) + "\n")
    return source


REASONS = {
    3: "line: Expecting value at column 12 (unparseable_json)",
    4: "completion: found columns prompt, id; score takes prompt with completion (or response, or steps), with "
    "completions (or responses), or with chosen and rejected (missing_field)",
    5: "completion: half of a surrogate pair (invalid_unicode)",
    6: "RuntimeError: no such letter",
}


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_rows_without_a_score_keep_their_place(
    world: World, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Four of ten have null and the reason; the six others have the scores that they have without the four."""
    model = world.model(CASE)
    good = ["c" * (i + 1) for i in range(10) if i not in REASONS]
    expected = model.score(["p"] * 6, good)[:, 0].tolist()
    monkeypatch.setattr(model, "score_batch", Unlucky(model, "z", RuntimeError("no such letter")))
    report = score_file(model, mixed, tmp_path / name, ScoringSettings(on_bad_row="null"))
    found = rows_of(tmp_path / name)
    assert len(found) == 10
    assert {i: row["unscored"] for i, row in enumerate(found) if row.get("unscored")} == REASONS
    assert [row["score"] for i, row in enumerate(found) if i not in REASONS] == pytest.approx(expected, abs=1e-5)
    assert [found[i]["score"] for i in REASONS] == [None] * 4
    assert (report.rows, report.unscored) == (10, 4)


def test_rows_without_a_score_are_listed_or_stop_the_run(
    world: World, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """quarantine: six rows, four listed. raise: the first bad row is named before anything is scored, and a text that
    the model fails on when it is met; with another policy the run goes on with what it has."""
    model = world.model(CASE)
    monkeypatch.setattr(model, "score_batch", Unlucky(model, "z", RuntimeError("no such letter")))
    report = score_file(model, mixed, tmp_path / "out.jsonl", ScoringSettings(on_bad_row="quarantine"))
    listed = rows_of(tmp_path / "out.jsonl.quarantine.jsonl")
    assert [(row["row_number"], row["reason"]) for row in listed] == [
        (4, "unparseable_json"), (5, "missing_field"), (6, "invalid_unicode"), (7, "unscorable")
    ]  # fmt: skip
    assert (report.rows, report.quarantined) == (6, 4)
    with pytest.raises(DataError, match=r"row 4, field 'line'.*set on_bad_row to quarantine or null"):
        score_file(model, mixed, tmp_path / "other.jsonl", ScoringSettings())
    lines = mixed.read_text().split("\n")
    mixed.write_text("\n".join([lines[0], lines[6], lines[7]]) + "\n")
    with pytest.raises(DataError, match=r"row 2, field 'completion': RuntimeError: no such letter \(unscorable\)"):
        score_file(model, mixed, tmp_path / "third.jsonl", ScoringSettings(batch_tokens=1, shard_rows=1))
    again = ScoringSettings(batch_tokens=1, shard_rows=1, on_bad_row="null")
    # The 'z' is looked at again, and the text after it for the first time; the first text is known.
    assert score_file(model, mixed, tmp_path / "third.jsonl", again).scored == 2


def test_a_broken_model_or_machine_is_no_bad_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All texts fail, or memory runs out: the run ends, and nothing is kept as unscorable."""
    model, output = world.model(CASE), world.fresh(CASE)
    with monkeypatch.context() as patch:
        patch.setattr(model, "score_batch", Unlucky(model, "", RuntimeError("no kernel")))
        with pytest.raises(ModelError, match=r"the model fails on each of \d+ texts of a batch \(RuntimeError: no ker"):
            scored(world, output)
        patch.setattr(model, "score_batch", Unlucky(model, "", torch.OutOfMemoryError("out of memory")))
        with pytest.raises(ModelError, match=r"the device failed in a batch .* lower batch_tokens"):
            scored(world, output)
        # So says a CPU, which has no type of its own for it.
        full = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        patch.setattr(model, "score_batch", Unlucky(model, "", RuntimeError(full)))
        with pytest.raises(ModelError, match=r"the device failed in a batch .* lower batch_tokens"):
            scored(world, output)
    assert scored(world, output).unscored == 1
    assert faults.loss(world, CASE, output) == faults.Loss(0, 0, True)


def test_places(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders are made; a file in their place, a folder in the output's, and one without permission are refused."""
    scored(world, tmp_path / "a" / "b" / "out.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    source = world.source(CASE)
    for output, words in (
        (source / "out.jsonl", f"{source} is no folder"),
        (tmp_path / "folder.jsonl", "folder.jsonl is a folder; name a file"),
    ):
        with pytest.raises(DataError, match=words):
            check_files(source, output)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(DataError, match=f"{tmp_path} is not writable; name another output"):
        check_files(source, tmp_path / "out.jsonl")


@pytest.mark.skipif(ROOM is None, reason="there is no second file system")
def test_a_link_to_another_file_system(world: World, tmp_path: Path) -> None:
    """The output is written where the link points to, and the link stays."""
    there = ROOM / f"prefopt-{os.getpid()}.jsonl"  # type: ignore[operator]
    output = tmp_path / "out.jsonl"
    output.symlink_to(there)
    try:
        scored(world, output)
        assert output.is_symlink()
        assert there.read_bytes() == world.expected(CASE).read_bytes()
    finally:
        there.unlink(missing_ok=True)


def test_parquet_has_the_columns_of_every_row(world: World, tmp_path: Path) -> None:
    """The second row has columns that the first has not."""
    source = tmp_path / "in.jsonl"
    rows = [{"prompt": "p", "completion": "c"}, {"prompt": "p", "chosen": "x", "rejected": "y", "note": 1}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    score_file(world.model(CASE), source, tmp_path / "out.parquet", ScoringSettings())
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert table[1]["note"] == 1
    assert None not in (table[0]["score"], table[1]["score_chosen"], table[1]["score_rejected"])
    assert (table[0]["score_chosen"], table[1]["score"]) == (None, None)


def test_listed_rows_of_another_shape_are_counted(world: World, tmp_path: Path) -> None:
    """A transcript without an answer cannot be brought to a pair: it is listed with the others."""
    source = tmp_path / "in.jsonl"
    good = {"chosen": "\n\nHuman: hi\n\nAssistant: yes", "rejected": "\n\nHuman: hi\n\nAssistant: no"}
    source.write_text("".join(json.dumps(row) + "\n" for row in (good, {**good, "chosen": None}, good)))
    settings = ScoringSettings(on_bad_row="quarantine")
    report = score_file(world.model(CASE), source, tmp_path / "out.jsonl", settings)
    assert (report.rows, report.quarantined) == (2, 1)
    assert [row["row_number"] for row in rows_of(tmp_path / "out.jsonl.quarantine.jsonl")] == [2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl", "out.jsonl.quarantine.jsonl"]
