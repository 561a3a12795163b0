"""A tree gives what separate rows give: states, log-probabilities, scores, losses and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    BertConfig,
    BloomConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoConfig,
    Llama4TextConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
    RecurrentGemmaConfig,
)

from reward_models.prefix_tree import Tree, TreeBatch, bundles, plant, why_not
from tests.tiny import with_norms_in_own_dtype

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
}
CONFIGS = {
    "llama": LlamaConfig(**SIZES),
    "qwen2": Qwen2Config(**SIZES),
    "qwen3": Qwen3Config(**SIZES, head_dim=8),
    "mistral": MistralConfig(**SIZES, sliding_window=None),
    "gemma": GemmaConfig(**SIZES, head_dim=8),
    "gemma2": Gemma2Config(**SIZES, head_dim=8, sliding_window=64, attn_implementation="eager"),
    "gemma3": Gemma3TextConfig(**SIZES, head_dim=8, sliding_window=64),
    "gpt2": GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_positions=64),
}
TREES = [
    Tree([1, 7, 8, 9], [[10, 11, 2], [12, 2], [13, 14, 15, 16, 2]]),
    Tree([1, 20], [[21, 22, 23, 24], [25]]),
    Tree([1, 30, 31, 32, 33, 34], [[35, 36]]),
]


def model(name: str, dtype: torch.dtype = torch.float64):
    """A random model that computes in ``dtype`` throughout."""
    torch.manual_seed(0)
    return with_norms_in_own_dtype(AutoModelForCausalLM.from_config(CONFIGS[name], dtype=dtype).eval())


def separate_logps(policy, trees: list[Tree]) -> list[torch.Tensor]:
    """Log-probabilities of each response's tokens, from one row a response without any padding."""
    found = []
    for tree in trees:
        for response in tree.responses:
            ids = torch.tensor([[*tree.prompt, *response]])
            logps = policy(input_ids=ids).logits.log_softmax(-1)
            start = len(tree.prompt)
            found.append(logps[0, start - 1 : -1].gather(-1, ids[0, start:, None])[:, 0])
    return found


def tree_logps(policy, trees: list[Tree]) -> tuple[torch.Tensor, torch.Tensor]:
    batch = TreeBatch.collate(trees)
    hidden = policy.base_model(**batch.model_inputs(policy.config, policy.dtype)).last_hidden_state
    states, targets = batch.predicting_states(hidden)
    logits = policy.get_output_embeddings()(states)
    cap = getattr(policy.config, "final_logit_softcapping", None)
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    return batch.by_response(logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", CONFIGS)
def test_log_probabilities_and_gradients_equal_those_of_separate_rows(name, dtype, tolerance):
    """Same values, and the same gradient of their weighted sum in every parameter."""
    policy = model(name, dtype)
    assert why_not(policy, longest=9) is None
    expected = separate_logps(policy, TREES)
    found, mask = tree_logps(policy, TREES)
    assert mask.sum(-1).tolist() == [len(r) for tree in TREES for r in tree.responses]
    for row, logps in zip(found, expected, strict=True):
        torch.testing.assert_close(row[: len(logps)], logps, rtol=tolerance, atol=tolerance)
        assert (row[len(logps) :] == 0).all()
    weights = torch.linspace(-1, 1, sum(len(e) for e in expected), dtype=dtype)
    parameters = [p for p in policy.parameters() if p.requires_grad]
    ours = torch.autograd.grad((found[mask] * weights).sum(), parameters)
    theirs = torch.autograd.grad((torch.cat(expected) * weights).sum(), parameters)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("name", CONFIGS)
def test_last_states_equal_those_of_separate_rows(name):
    """What a reward head reads."""
    backbone = model(name).base_model
    batch = TreeBatch.collate(TREES)
    found = batch.last_states(backbone(**batch.model_inputs(backbone.config, torch.float64)).last_hidden_state)
    rows = [[*tree.prompt, *response] for tree in TREES for response in tree.responses]
    expected = torch.stack([backbone(input_ids=torch.tensor([row])).last_hidden_state[0, -1] for row in rows])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


tokens = st.lists(st.integers(0, 49), min_size=1, max_size=6)
forests = st.lists(
    st.builds(Tree, tokens, st.lists(st.lists(st.integers(0, 49), max_size=6), min_size=1, max_size=4)),
    min_size=1,
    max_size=3,
)


@settings(max_examples=25, deadline=None)
@given(forests)
def test_any_forest(trees):
    """Random trees, empty responses among them."""
    policy = model("llama")
    found, mask = tree_logps(policy, trees)
    for row, kept, expected in zip(found, mask, separate_logps(policy, trees), strict=True):
        torch.testing.assert_close(row[kept], expected, rtol=1e-10, atol=1e-10)


def test_layout():
    """Prompt (5, 6), responses (7) and (8, 9), beside a shorter tree padded with 0: positions restart at 2."""
    batch = TreeBatch.collate([Tree([5, 6], [[7], [8, 9]]), Tree([4], [[3]])])
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9], [4, 3, 0, 0, 0]]
    assert batch.position_ids[0].tolist() == [0, 1, 2, 2, 3]
    assert batch.tree_ids.tolist() == [[0] * 5, [1, 1, -1, -1, -1]]
    assert batch.segments.tolist() == [[0, 0, 1, 2, 2], [0, 1, -1, -1, -1]]
    assert batch.attention_mask()[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],
        [1, 1, 0, 1, 1],
    ]
    assert batch.attention_mask()[1, 0, 2:].int().tolist() == [[0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]]


def test_split_keeps_responses_in_order_within_the_budget():
    """Prompt 3, responses of 2, 2, 9 and 1 tokens, budget 8: (2, 2) = 7; 9 alone exceeds it; 1."""
    tree = Tree([1, 2, 3], [[4] * 2, [5] * 2, [6] * 9, [7]])
    parts = tree.split(8)
    assert [[len(r) for r in part.responses] for part in parts] == [[2, 2], [9], [1]]
    assert [r for part in parts for r in part.responses] == list(tree.responses)
    assert all(part.prompt == tree.prompt for part in parts)


def test_equal_prompts_share_a_tree():
    """Prompts a, b, a: two trees; the third response is the second of the first tree, so places are 0, 2, 1."""
    trees, places = plant([[1], [2], [1]], [[10], [20], [11]])
    assert trees == [Tree([1], [[10], [11]]), Tree([2], [[20]])]
    assert places == [0, 2, 1]
    assert plant([[1], [2], [1]], [[10], [20], [11]], share=False)[1] == [0, 1, 2]


def test_rows_of_one_response_are_an_ordinary_batch():
    """No 4-D mask and no position ids are needed, so that any model takes them."""
    trees, _ = plant([[1], [1, 2]], [[3], [4]], share=False)
    inputs = TreeBatch.collate(trees).model_inputs(CONFIGS["llama"])
    assert inputs["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert set(inputs) == {"input_ids", "attention_mask"}


def test_a_prompt_without_tokens_predicts_nothing():
    """It has no state that could predict a response's first token; a reward head still reads the response's last."""
    batch = TreeBatch.collate([Tree([], [[1, 2]])])
    with pytest.raises(ValueError, match="give it a start token"):
        batch.predicting_states(torch.zeros(1, 2, 4))
    assert batch.last_states(torch.tensor([[[1.0], [2.0]]])).tolist() == [[2.0]]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2), "is an encoder"),
        (BloomConfig(vocab_size=50, hidden_size=16, n_layer=1, n_head=2), "takes no position ids"),
        (MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, state_size=4), "no position ids"),
        (RecurrentGemmaConfig(**SIZES | {"num_hidden_layers": 3}, lru_width=16), "recurrent layers (linear_attention)"),
        (
            GPTNeoConfig(
                vocab_size=50, hidden_size=16, num_layers=2, num_heads=2, attention_types=[[["global", "local"], 1]]
            ),
            "local attention",
        ),
        (
            Llama4TextConfig(
                **SIZES, head_dim=8, attention_chunk_size=8, num_local_experts=2, intermediate_size_mlp=32
            ),
            "chunks of 8 tokens",
        ),
    ],
)
def test_models_for_which_a_tree_would_be_wrong_are_refused(config, reason):
    assert reason in why_not(AutoModel.from_config(config), longest=9)


def test_bundles_hold_trees_of_similar_length():
    """Prompts of 2, responses of 8, 7, 2 and (to the first prompt again) 1 token: trees of 11, 9 and 4 tokens.

    11 + 9 fill 2 x 11 places with 2 of padding (9 %); the third would make 9 of 33 (27 %): it goes alone.
    """
    first, second, third = [1, 1], [2, 2], [3, 3]
    found = bundles([first, second, third, first], [[5] * 8, [6] * 7, [7] * 2, [8]])
    assert [[len(tree) for tree in bundle.trees] for bundle in found] == [[11, 9], [4]]
    assert [bundle.rows for bundle in found] == [[0, 3, 1], [2]]
    assert bundles([], []) == []
