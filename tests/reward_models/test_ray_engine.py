"""Scoring on Ray: the same bytes as one process. Runs where the extra `ray` is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from reward_models import RewardModel
from reward_models.scoring import ScoringSettings, score_file
from reward_models.scoring.ray_engine import score_with_ray
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer


@pytest.mark.slow
def test_two_actors_give_the_bytes_of_one_process(tmp_path):
    """60 rows of 30 distinct texts, two actors on a local cluster."""
    ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    RewardModel.from_backbone(save_tiny(tmp_path / "base", tiny_llama(), tiny_tokenizer())).save_pretrained(
        tmp_path / "reward"
    )
    rows = [{"prompt": f"p{i // 5 % 6}", "completion": "c" * (i % 30 + 1), "id": i} for i in range(60)]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ScoringSettings(shard_rows=8, batch_tokens=128)
    model = RewardModel.from_pretrained(tmp_path / "reward")
    score_file(model, source, tmp_path / "whole.jsonl", settings, tmp_path / "reward")
    variables = {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": variables})
    try:
        report = score_with_ray(tmp_path / "reward", source, tmp_path / "out.jsonl", settings, actors=2, device="cpu")
    finally:
        ray.shutdown()
        torch.set_num_threads(threads)
    assert (report.rows, report.scored, report.reused) == (60, 30, 30)
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
