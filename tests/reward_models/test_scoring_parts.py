"""Scoring in parts: the same bytes as one process, each text once, any process may die."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from reward_models import RewardModel
from reward_models.errors import DataError
from reward_models.scoring import Part, ScoringSettings, join_parts, score_file, score_part
from reward_models.scoring.processes import score_in_processes
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer

SETTINGS = ScoringSettings(shard_rows=8, batch_tokens=128)
# Of 60 texts every one occurs in two places 30 rows apart, so in different shards.
ROWS = [{"prompt": f"p{i // 5 % 6}", "completion": "c" * (i % 30 + 1), "id": i} for i in range(60)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = save_tiny(tmp_path_factory.mktemp("base"), tiny_llama(), tiny_tokenizer())
    torch.manual_seed(1)
    RewardModel.from_backbone(base).save_pretrained(tmp_path_factory.getbasetemp() / "reward")
    return tmp_path_factory.getbasetemp() / "reward"


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_parts_give_the_bytes_of_one_process_and_score_each_text_once(tmp_path, source, folder):
    """30 distinct texts: in three parts, in any order, they are scored 30 times in all, and no file is left."""
    model = RewardModel.from_pretrained(folder)
    whole = score_file(model, source, tmp_path / "whole.jsonl", SETTINGS, folder)
    reports = [score_part(model, source, tmp_path / "out.jsonl", SETTINGS, folder, Part(i, 3)) for i in (3, 1, 2)]
    joined = join_parts(source, tmp_path / "out.jsonl", 3, reports)
    assert whole.scored == joined.scored == 30
    assert whole.reused == joined.reused == 30
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl", "whole.jsonl"]


def test_a_shard_ends_where_its_prompt_does(tmp_path, source, folder, monkeypatch):
    """Prompts come five rows at a time: a shard of at least 8 rows ends after 10, with its prompt."""
    model = RewardModel.from_pretrained(folder)
    sizes = []
    score_file(model, source, tmp_path / "out.jsonl", SETTINGS, progress=sizes.append)
    assert sizes == [10, 20, 30, 40, 50, 60]


def test_join_refuses_what_is_missing_unfinished_or_foreign(tmp_path, source, folder):
    """Each message names the part's file."""
    model = RewardModel.from_pretrained(folder)
    output = tmp_path / "out.jsonl"
    score_part(model, source, output, SETTINGS, folder, Part(1, 2))
    with pytest.raises(DataError, match=r"out.jsonl.shard-2-of-2 is missing"):
        join_parts(source, output, 2)
    score_part(model, source, output, ScoringSettings(shard_rows=9), folder, Part(2, 2))
    with pytest.raises(DataError, match=r"shard-2-of-2 belongs to another"):
        join_parts(source, output, 2)
    with pytest.raises(DataError, match="shard_rows was 9 and is 8"):
        score_part(model, source, output, SETTINGS, folder, Part(2, 2))
    score_part(model, source, output, replace(SETTINGS, restart=True), folder, Part(2, 2))
    with sqlite3.connect(Part(2, 2).path(output)) as part:
        part.execute("DELETE FROM about WHERE name = 'complete'")
    with pytest.raises(DataError, match=r"shard-2-of-2 is not finished"):
        join_parts(source, output, 2)
    for text in ("0/2", "3/2", "2", "a/b"):
        with pytest.raises(DataError, match=r"part|shard"):
            Part.parse(text)


def test_two_processes_give_the_bytes_of_one(tmp_path, source, folder, monkeypatch):
    """Two processes of one thread each beside one of one thread."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    score_file(RewardModel.from_pretrained(folder), source, tmp_path / "whole.jsonl", SETTINGS, folder)
    report = score_in_processes(folder, source, tmp_path / "out.jsonl", 2, SETTINGS, "cpu")
    assert (report.rows, report.scored, report.reused) == (60, 30, 30)
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["parent", "worker"])
def test_any_process_may_be_killed(tmp_path, source, folder, victim):
    """Signal 9 once the first scores are on disk: the other processes end, and the same command goes on to the end.

    Workers are not begun again here; tests/reliability has that.
    """
    source.write_text("".join(json.dumps({"prompt": f"p{i}", "completion": "c" * 200}) + "\n" for i in range(6000)))
    output = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "prefopt", "score", "--model", str(folder), "--data", str(source)]
    command += ["--output", str(output), "--num-processes", "2", "--device", "cpu", "--shard-rows", "64"]
    command += ["--worker-restarts", "0"]
    process = subprocess.Popen(command, start_new_session=True)
    part = Part(1, 2).path(output)
    import psutil

    def scored() -> int:
        if not part.exists():
            return 0
        with sqlite3.connect(f"file:{part}?mode=ro", uri=True, timeout=5) as file:
            try:
                return file.execute("SELECT count(*) FROM texts WHERE value IS NOT NULL").fetchone()[0]
            except sqlite3.OperationalError:
                return 0

    while not scored():
        assert process.poll() is None
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    (psutil.Process(process.pid) if victim == "parent" else workers[0]).send_signal(signal.SIGKILL)
    assert process.wait(60) != 0
    _, left = psutil.wait_procs(workers, timeout=30)
    assert not left
    assert not output.exists()
    before = scored()
    assert 0 < before < 6000
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["prompt"] for row in found] == [f"p{i}" for i in range(6000)]
    assert all(isinstance(row["score"], float) for row in found)
    fresh = int(done.stdout.split(" texts scored")[0].split("\n")[-1].replace(",", ""))
    assert fresh <= 6000 - before


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file():
    """In shards of 200 rows, 50,000 rows take at most 32 MiB more than 1,000; five shards are there to warm up."""
    from scripts.bench.growth import in_a_process

    few, many = (in_a_process(count, "200") for count in (1_000, 50_000))
    assert many["scored"] == 50 * few["scored"] == 50_000
    assert many["peak_mib"] - few["peak_mib"] < 32
