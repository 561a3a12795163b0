"""Scoring of files: order kept, equal texts once, resumable, nothing lost."""

from __future__ import annotations

import gzip
import json

import pyarrow.parquet
import pytest
import torch

from reward_models import RewardModel
from reward_models.batching import cheapest_tree, token_budget_batches
from reward_models.errors import DataError
from reward_models.scoring import ScoringSettings, score_file
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = save_tiny(tmp_path_factory.mktemp("b"), tiny_llama(), tiny_tokenizer())
    torch.manual_seed(1)
    return RewardModel.from_backbone(folder, heads=("a", "b")).eval()


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="\n") as file:
        return [json.loads(line) for line in file.read().split("\n") if line]


ROWS = [{"prompt": f"p{i % 5}", "completion": "c" * (i * 7 % 23 + 1), "id": i} for i in range(50)]


def expected(model, rows):
    return model.score([r["prompt"] for r in rows], [r["completion"] for r in rows]).tolist()


def test_batches_stay_under_the_budget_and_hold_every_row_once():
    """Budget 10: 12 alone (too long for any), 5 + 5, then 4 and 1 apart: together 3 of 8 places would be padding."""
    lengths = [5, 1, 12, 4, 5]
    batches = token_budget_batches(lengths, 10)
    assert batches == [[2], [0, 4], [3], [1]]


def test_a_tree_is_as_long_as_costs_least():
    """Width 384, prompt 64: sqrt(16 * 384 * 64) = sqrt(393216) = 627.07, and no other length costs less a token."""
    cost = {tokens: (1 + 64 / tokens) * (16 * 384 + tokens) for tokens in range(100, 2000)}
    assert cheapest_tree(384, 64) == min(cost, key=cost.__getitem__) == 627


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.parquet"])
def test_every_format_keeps_order_and_columns(tmp_path, model, name):
    """50 rows in shards of 8 come out in order with one column a head, equal to `score`."""
    source = write(tmp_path / "in.jsonl", ROWS)
    score_file(model, source, tmp_path / name, ScoringSettings(shard_rows=8, batch_tokens=64))
    if name.endswith(".parquet"):
        found = pyarrow.parquet.read_table(tmp_path / name).to_pylist()
    else:
        found = read(tmp_path / name)
    assert [row["id"] for row in found] == list(range(50))
    for row, scores in zip(found, expected(model, ROWS), strict=True):
        assert [row["a"], row["b"]] == pytest.approx(scores, abs=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in.jsonl", name])


def test_gzip_and_parquet_inputs(tmp_path, model):
    """The same rows from three kinds of file give the same scores."""
    plain = write(tmp_path / "in.jsonl", ROWS)
    zipped = tmp_path / "in.jsonl.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    table = tmp_path / "in.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), table)
    results = []
    for source in (plain, zipped, table):
        score_file(model, source, tmp_path / "out.jsonl")
        results.append(read(tmp_path / "out.jsonl"))
    assert results[0] == results[1] == results[2]


def test_pairs_and_lists(tmp_path, model):
    """Pairs get two columns a head, lists a list; a line separator inside a text does not cut its line."""
    rows = [
        {"prompt": "p", "chosen": "x\u2028y", "rejected": "z"},
        {"prompt": [{"role": "user", "content": "p"}], "completions": ["one", "two", "three"]},
    ]
    score_file(model, write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl")
    pair, several = read(tmp_path / "out.jsonl")
    scores = model.score(["p", "p"], ["x\u2028y", "z"])
    assert [pair["a_chosen"], pair["a_rejected"]] == pytest.approx(scores[:, 0].tolist(), abs=1e-6)
    assert [pair["b_chosen"], pair["b_rejected"]] == pytest.approx(scores[:, 1].tolist(), abs=1e-6)
    scores = model.score([rows[1]["prompt"]] * 3, ["one", "two", "three"])
    assert several["a"] == pytest.approx(scores[:, 0].tolist(), abs=1e-6)


def test_transcripts_are_read_as_pairs(tmp_path, model):
    """A preference shape without a prompt column is brought to prompt, chosen, rejected first."""
    row = {"chosen": "\n\nHuman: hi\n\nAssistant: yes", "rejected": "\n\nHuman: hi\n\nAssistant: no"}
    score_file(model, write(tmp_path / "in.jsonl", [row]), tmp_path / "out.jsonl")
    (found,) = read(tmp_path / "out.jsonl")
    assert found["prompt"] == "\n\nHuman: hi\n\nAssistant:"
    scores = model.score([found["prompt"]] * 2, [found["chosen"], found["rejected"]])[:, 0]
    assert [found["a_chosen"], found["a_rejected"]] == pytest.approx(scores.tolist(), abs=1e-6)


def test_equal_texts_are_scored_once_across_shards(tmp_path, model):
    """40 rows of 2 different texts: 2 forward rows, 38 reused, also where they lie in different shards."""
    rows = [{"prompt": "p", "completion": "ab"[i % 2]} for i in range(40)]
    report = score_file(
        model, write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", ScoringSettings(shard_rows=7)
    )
    assert (report.rows, report.scored, report.reused) == (40, 2, 38)


@pytest.mark.parametrize("fails_at", range(1, 13, 2))
def test_a_killed_run_goes_on(tmp_path, model, monkeypatch, fails_at):
    """The forward pass fails at call 1, 3, 5, ...: nothing is at the output's name, and the second run repeats no text.

    The result is the same, byte for byte, as that of a run that was never interrupted.
    """
    source = write(tmp_path / "in.jsonl", ROWS)
    settings = ScoringSettings(shard_rows=8, batch_tokens=64)
    whole = score_file(model, source, tmp_path / "whole.jsonl", settings)
    real = model.score_batch
    calls, texts = [], []

    def dies(batch):
        calls.append(1)
        if len(calls) == fails_at:
            raise KeyboardInterrupt
        texts.extend((*tree.prompt, *response) for tree in batch.trees for response in tree.responses)
        return real(batch)

    monkeypatch.setattr(model, "score_batch", dies)
    with pytest.raises(KeyboardInterrupt):
        score_file(model, source, tmp_path / "out.jsonl", settings)
    assert not (tmp_path / "out.jsonl").exists()
    report = score_file(model, source, tmp_path / "out.jsonl", settings)
    assert len(texts) == len(set(texts)) == whole.scored
    assert report.rows == 50
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_parts_of_another_run_are_not_mixed_in(tmp_path, model, monkeypatch):
    """A run is killed, then the input changes: it is refused, with the reason; with ``restart`` nothing is reused."""
    source = write(tmp_path / "in.jsonl", ROWS)
    settings = ScoringSettings(shard_rows=8)
    real = model.score_batch
    calls = []

    def dies(batch):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(batch)

    monkeypatch.setattr(model, "score_batch", dies)
    with pytest.raises(KeyboardInterrupt):
        score_file(model, source, tmp_path / "out.jsonl", settings)
    monkeypatch.undo()
    write(source, ROWS[::-1])
    with pytest.raises(DataError, match=r"shard-1-of-1 holds scores of an earlier attempt.*the input file was another"):
        score_file(model, source, tmp_path / "out.jsonl", settings)
    report = score_file(model, source, tmp_path / "out.jsonl", ScoringSettings(shard_rows=8, restart=True))
    assert report.resumed_rows == 0
    assert [row["id"] for row in read(tmp_path / "out.jsonl")] == list(range(49, -1, -1))


def test_bad_rows_stop_the_run_or_are_listed(tmp_path, model):
    """Line 2 is no JSON, line 3 has no completion: the error names the line; quarantine keeps the other two rows."""
    source = tmp_path / "in.jsonl"
    good = json.dumps({"prompt": "p", "completion": "c"})
    source.write_text(f'{good}\n{{"prompt": \n{{"prompt": "p"}}\n{good}\n')
    with pytest.raises(DataError, match="row 2"):
        score_file(model, source, tmp_path / "out.jsonl")
    report = score_file(model, source, tmp_path / "out.jsonl", ScoringSettings(on_bad_row="quarantine"))
    assert (report.rows, report.quarantined) == (2, 2)
    listed = read(tmp_path / "out.jsonl.quarantine.jsonl")
    assert [(row["row_number"], row["reason"]) for row in listed] == [(2, "unparseable_json"), (3, "missing_field")]


def test_what_cannot_work_is_refused(tmp_path, model):
    """Each message names the file or the column."""
    source = write(tmp_path / "in.jsonl", [{"prompt": "p", "completion": "c", "a": 1}])
    with pytest.raises(DataError, match="column 'a' already"):
        score_file(model, source, tmp_path / "out.jsonl")
    score_file(model, source, tmp_path / "out.jsonl", ScoringSettings(prefix="reward_"))
    assert set(read(tmp_path / "out.jsonl")[0]) == {"prompt", "completion", "a", "reward_a", "reward_b"}
    with pytest.raises(DataError, match="must end in"):
        score_file(model, source, tmp_path / "out.csv")
    with pytest.raises(DataError, match="no such file"):
        score_file(model, tmp_path / "none.jsonl", tmp_path / "out.jsonl")
    with pytest.raises(DataError, match="the input itself"):
        score_file(model, source, source)
    with pytest.raises(DataError, match="no rows"):
        score_file(model, write(tmp_path / "empty.jsonl", []), tmp_path / "out2.jsonl")
