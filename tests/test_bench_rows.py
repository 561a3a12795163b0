"""What benchmark rows count, and that rows for a GPU do what they say, at a toy size on a CPU."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from reward_models.prefix_tree import Tree
from scripts.bench import __main__ as command
from scripts.bench import gpu, harness
from scripts.bench.counting import once_each, over_epochs, padded
from scripts.bench.flops import Passed, needed, padded_rows, peak, separate_tokens, triangle
from scripts.bench.harness import Counts, Row, run
from scripts.bench.rows import gpu_attention, gpu_dpo_training, gpu_grpo_update, gpu_reward_training, gpu_scoring

GPU_ROWS = (gpu_attention, gpu_dpo_training, gpu_grpo_update, gpu_reward_training, gpu_scoring)
TINY = gpu.llama(
    vocab_size=gpu.WORDS,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=128,
)
# Prompts of 4 and 2 tokens with responses of 3 and 2, and of 1 and 2.
TREES = [Tree([5, 6, 7, 8], [[9, 10, 1], [11, 1]]), Tree([5, 6], [[1], [12, 1]])]
LOAD = gpu.Load(TREES, TINY, together=2)


def test_operations_of_a_forward_pass():
    """Width 32, 2 heads of 16, 1 key-value head, inner width 48, 2 layers, vocabulary 4096.

    A layer's matrices: query and output 2 x 32 x 32, key and value 2 x 32 x 16, MLP 3 x 32 x 48: 2048 + 1024 + 4608 =
    7680 multiplications, so 2 x 2 x 7680 = 30720 operations a token. A pair of tokens: 4 x 2 x 32 = 256. A prediction:
    2 x 32 x 4096 = 262144.
    """
    assert Passed(tokens=1).operations(TINY) == 30_720
    assert Passed(pairs=1).operations(TINY) == 256
    assert Passed(predicting=1).operations(TINY) == 262_144
    assert Passed(3, 6, 2).operations(TINY) == 3 * 30_720 + 6 * 256 + 2 * 262_144


def test_matrices_are_those_of_the_model():
    """Two operations a weight of the layers' matrices: norms have one dimension, embeddings are looked up."""
    layers = LOAD.backbone().layers
    assert Passed(tokens=1).operations(TINY) == 2 * sum(p.numel() for p in layers.parameters() if p.ndim == 2)


def test_what_is_needed():
    """First tree: 4 + 3 + 2 = 9 tokens; pairs 10 in the prompt, 4 x 3 + 6 and 4 x 2 + 3 = 39. Second: 5 tokens;
    3 + (2 + 1) + (4 + 3) = 13 pairs. Responses 8 tokens. Separate rows 7 + 6 + 3 + 4 = 20 tokens.

    Padded two at a time: 2 x 7 and 2 x 4 tokens, 2 x 28 and 2 x 10 pairs.
    """
    assert triangle(4) == 10
    assert needed(TREES, head=True) == Passed(14, 52, 8)
    assert separate_tokens(TREES) == 20
    assert LOAD.row_lengths() == [7, 6, 3, 4]
    assert padded_rows(LOAD.row_lengths(), 2, head=True) == Passed(22, 76, 22)
    assert padded_rows(LOAD.row_lengths(), 2, head=False) == Passed(22, 76, 0)


def test_tokens_are_counted():
    """Rows of 3, 1, 2 in twos: 2 x 3 + 1 x 2 = 8. The prompt (1) has two distinct responses of 1 and 2 tokens."""
    assert padded([3, 1, 2], 2) == 8
    assert over_epochs([2, 0, 1], lambda order: padded([[3, 1, 2][i] for i in order], 2)) == 2 * 3 + 1
    assert once_each([[1], [1], [1], [2, 2]], [[5], [6, 6], [5], [5]]) == 1 + 1 + 2 + 2 + 1


def test_peaks():
    assert peak("NVIDIA H200") == 989e12
    assert peak("NVIDIA H100 PCIe") == 756e12
    assert peak("someone's accelerator") is None


def test_closeness_says_what_the_rest_is():
    """Peer 40, ours 12.5, needed 10: limit 4, work 3.2 to 1, a quarter more than needed; 2.4 is 0.75 of 3.2."""
    counts = Counts(peer=40, ours=12.5, needed=10)
    assert counts.limit == 4
    stated = counts.closeness(1, 2.4)
    assert (stated["share_of_limit"], stated["ratio_of_work"], stated["surplus"]) == (0.6, 3.2, 0.25)
    assert "25 % more than is needed" in stated["rest"]
    assert "we take 1.33 times as long as the peer for equal work" in stated["rest"]
    assert "the peer takes 1.25 times as long as we" in counts.closeness(1, 4.0)["rest"]


def test_utilisation():
    """20 tokens in half a second; 100e12 operations needed in 0.5 s are 200e12 a second of H200's 989e12."""
    measured = [{"ours_s": [0.7, 0.5], "peer_s": [1.0, 2.0]}]
    found = gpu.figures(LOAD, Counts(peer=4e14, ours=1.5e14, needed=1e14), measured, "NVIDIA H200")
    assert found["ours"]["tokens_per_second"] == 40
    assert found["ours"]["model_flop_utilisation"] == round(200 / 989, 4)
    assert found["ours"]["hardware_flop_utilisation"] == round(300 / 989, 4)
    assert found["peer"] == {
        "tokens_per_second": 20,
        "model_flop_utilisation": round(100 / 989, 4),
        "hardware_flop_utilisation": round(400 / 989, 4),
    }


def test_texts_have_the_tokens_of_the_load():
    """A prompt joined with its response tokenises to both, without the end token, which trainers add."""
    words = gpu.words()
    prompt, response = gpu.text([5, 6, 7]), gpu.text([9, 10, 1])
    assert words(prompt + response)["input_ids"] == [5, 6, 7, 9, 10]
    assert words.eos_token_id == 1


def test_counts_of_gpu_rows():
    """Reward: pairs are padded to (7, 7, 4, 4) in one batch of 4 rows: 4 x 7 tokens, 4 x 28 pairs; three passes.

    DPO: the same four times with the head over 28 tokens, and the head once more; needed 14 tokens, 52 pairs, 8
    predictions. GRPO: 4 rows of 4 + 3. Scoring without end tokens, two at a time: 2 x 6 and 2 x 3 tokens.
    """
    token, pair, head = 30_720, 256, 262_144
    assert gpu_reward_training.counts(LOAD).peer == 3 * (28 * token + 112 * pair)
    assert gpu_reward_training.counts(LOAD).needed == 3 * (14 * token + 52 * pair)
    assert gpu_dpo_training.counts(LOAD).peer == 4 * (28 * token + 112 * pair + 28 * head) + 28 * head
    assert gpu_dpo_training.counts(LOAD).needed == 4 * (14 * token + 52 * pair + 8 * head)
    assert gpu_grpo_update.counts(LOAD).peer == 3 * (28 * token + 112 * pair + 28 * head) + 28 * head
    assert gpu_grpo_update.counts(LOAD).needed == 3 * (14 * token + 52 * pair + 8 * head)
    assert gpu_scoring.counts(LOAD).peer == 18 * token + (2 * 21 + 2 * 6) * pair
    assert gpu_attention.counts(LOAD).peer == 3 * (18 * token + 2 * 81 * pair)


def test_trees_and_plain_rows_have_one_gradient():
    """What `gpu_attention` compares is the same computation."""
    norms = [gpu_attention.work(LOAD, "sdpa", share)() for share in (True, False)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)


def test_scoring_sides_read_the_same_texts():
    ours, peer = gpu_scoring.sides(LOAD)
    assert ours().shape == (4, 1)
    assert len(peer()) == 4


@pytest.mark.parametrize("row", [gpu_reward_training, gpu_dpo_training])
def test_training_sides_make_the_same_steps(row):
    """Two pairs in micro-batches of two: one optimiser step each."""
    for side in row.sides(LOAD):
        assert side().global_step == 1


def test_update_sides_agree():
    """Loss and gradients of the GRPO update, ours on trees, the peer's on padded rows."""
    ours, peer = gpu_grpo_update.sides(LOAD)
    ours(), peer()
    assert ours.loss == pytest.approx(peer.loss, abs=1e-5)
    for one, other in zip(ours.trainer.model.parameters(), peer.trainer.model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_rows_say_why_they_are_skipped(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    assert command.main(["gpu_*"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"{row.ROW.name}: skipped, no CUDA device" for row in GPU_ROWS]
    assert command.main(["gpu_nothing"]) == 2


def test_packages_that_a_row_lacks_are_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert gpu.skip("torch", "no_such_package")() == "no_such_package not installed (see scripts/bench/gpu.py)"


def test_parts_of_a_row_are_measured_one_by_one(monkeypatch, tmp_path):
    """First one thread, then two: both are in the file; another work starts it anew."""
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    row = Row("r", "work", "torch", "", lambda: (int, int), reach=1.0, counts=lambda: Counts(2, 1, 1))
    run(row, [1])
    assert [one["threads"] for one in run(row, [2])["measured"]] == [1, 2]
    kept = json.loads((tmp_path / "r.json").read_text())
    assert kept["limit"] == 2
    assert [one["threads"] for one in kept["closeness"]] == [1, 2]
    assert [one["threads"] for one in run(row, times=False)["measured"]] == [1, 2]
    assert [one["threads"] for one in run(replace(row, work="other"), [2])["measured"]] == [2]
