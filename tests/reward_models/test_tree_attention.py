"""Masks of trees: blocks, sliding windows, several trees in a row, and the choice of an attention."""

from __future__ import annotations

import copy
import random
import shutil
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch.nn.attention.flex_attention import create_mask
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)

from reward_models import attention_choice, tree_models
from reward_models.attention_choice import use_attention
from reward_models.errors import ModelError
from reward_models.prefix_tree import PADDING, Tree, TreeBatch, bundles, pack, why_not
from reward_models.tree_attention import ONE_ROW, block_mask, row_width, visibility
from tests.tiny import with_norms_in_own_dtype

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
}
LAYERS = ["sliding_attention", "full_attention"]
CONFIGS = {
    "llama": LlamaConfig(**SIZES),
    "qwen2": Qwen2Config(**SIZES),
    "qwen3": Qwen3Config(**SIZES, head_dim=16),
    "gemma": GemmaConfig(**SIZES, head_dim=16),
    "gemma3": Gemma3TextConfig(**SIZES, head_dim=16, sliding_window=64),
    "gpt2": GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=2, n_positions=64),
}
WINDOWED = {
    "mistral": MistralConfig(**SIZES, sliding_window=3),
    "phi3": Phi3Config(**SIZES, sliding_window=3, pad_token_id=0),
    "qwen2": Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=3, layer_types=LAYERS),
    "gemma2": Gemma2Config(**SIZES, head_dim=16, sliding_window=3, layer_types=LAYERS),
    "gemma3": Gemma3TextConfig(**SIZES, head_dim=16, sliding_window=3, layer_types=LAYERS),
}
TREES = [
    Tree([1, 7, 8, 9], [[10, 11, 2], [12, 2], [13, 14, 15, 16, 2]]),
    Tree([1, 20], [[21, 22, 23, 24], [25]]),
    Tree([1, 30, 31, 32, 33, 34], [[35, 36]]),
]
WIDTHS = {"a row a tree": None, "two trees in a row": 20, "one row": ONE_ROW}
compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for a CPU needs g++")


def model(config, dtype=torch.float64):
    """A random decoder that computes in ``dtype`` throughout."""
    torch.manual_seed(0)
    return with_norms_in_own_dtype(AutoModelForCausalLM.from_config(copy.deepcopy(config), dtype=dtype).eval())


def separate(policy, trees):
    """Logits that predict each response's tokens, and states of its last, from one row a response."""
    logits, last = [], []
    for tree in trees:
        for response in tree.responses:
            ids = torch.tensor([[*tree.prompt, *response]], device=policy.device)
            states = policy.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
            logits.append(policy.get_output_embeddings()(states[len(tree.prompt) - 1 : -1]))
            last.append(states[-1])
    return torch.cat(logits), torch.stack(last)


def together(policy, trees, width=None):
    batch = TreeBatch.collate(trees, width=width).to(policy.device)
    hidden = policy.base_model(**batch.model_inputs(policy.config, policy.dtype)).last_hidden_state
    states, targets = batch.predicting_states(hidden)
    assert targets.tolist() == [token for tree in trees for response in tree.responses for token in response]
    return policy.get_output_embeddings()(states), batch.last_states(hidden)


def assert_equal(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def exactness(policy):
    """Eager attention (Gemma 2 knows no SDPA) rounds its softmax to float32 at any dtype."""
    return 1e-5 if policy.config._attn_implementation == "eager" else 1e-10


def gradients(policy, outputs):
    """Gradients of a weighted sum of logits and last states in every parameter."""
    logits, last = (one.double() for one in outputs)
    weights = [torch.linspace(-1, 1, one.numel(), device=one.device, dtype=one.dtype) for one in (logits, last)]
    total = sum((one.flatten() * weight).sum() for one, weight in zip((logits, last), weights, strict=True))
    return torch.autograd.grad(total, [p for p in policy.parameters() if p.requires_grad])


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("name", [*CONFIGS, *(f"{name} window 3" for name in WINDOWED)])
def test_packed_and_windowed_trees_equal_separate_rows(name, width):
    """States, logits and gradients; the window of 3 is shorter than most prompts with their responses."""
    policy = model(WINDOWED[name.split()[0]] if "window" in name else CONFIGS[name])
    assert why_not(policy, longest=9) is None
    expected, found = separate(policy, TREES), together(policy, TREES, width)
    tolerance = exactness(policy)
    assert_equal(found, expected, tolerance)
    assert_equal(gradients(policy, found), gradients(policy, expected), 10 * tolerance)


def test_a_window_that_a_model_ignores_is_ignored():
    """Llama reads no window; a file that names one all the same is exact without."""
    config = LlamaConfig(**SIZES, sliding_window=3)
    policy = model(config)
    assert policy.config.sliding_window == 3
    assert why_not(policy, longest=9) is None
    assert_equal(together(policy, TREES), separate(policy, TREES), 1e-10)


def test_a_window_that_nothing_in_the_model_applies_is_refused(monkeypatch):
    """And mixed layers of a model that takes one mask for all of them."""
    monkeypatch.setattr(tree_models, "SLIDES", "no model has this in its source")
    monkeypatch.setattr(tree_models, "TAKES_MASKS", "nor this")
    assert "does not say where it acts" in why_not(model(WINDOWED["mistral"]), longest=4)
    assert "takes no mask for its sliding layers alone" in why_not(model(WINDOWED["gemma3"]), longest=4)
    assert why_not(model(WINDOWED["mistral"]), longest=3) is None
    assert why_not(model(WINDOWED["gemma3"]), longest=3) is None


def flex(policy):
    policy.set_attn_implementation("flex_attention")
    return policy


# GPT-2 takes no FlexAttention.
FLEX = {name: config for name, config in CONFIGS.items() if name != "gpt2"}
FLEX |= {f"{name} window 3": config for name, config in WINDOWED.items()}


@torch.no_grad()
@pytest.mark.parametrize("width", [None, ONE_ROW])
@pytest.mark.parametrize("config", FLEX.values(), ids=FLEX)
def test_flex_attention_equals_separate_rows(config, width):
    """Uncompiled, which alone knows float64 on a CPU; there it has no backward pass."""
    policy = model(config)
    expected, tolerance = separate(policy, TREES), exactness(policy)
    with torch.compiler.set_stance("force_eager"):
        found = together(flex(policy), TREES, width)
    assert why_not(policy) is None
    assert_equal(found, expected, tolerance)


@compiler
@torch.no_grad()
@pytest.mark.parametrize("name", ["llama", "gemma3 window"])
def test_compiled_flex_attention_equals_separate_rows(name):
    """In float32, as it runs outside of tests; the windowed model takes a block mask for each kind of layers."""
    policy = model(WINDOWED["gemma3"] if "window" in name else CONFIGS[name], torch.float32)
    expected = separate(policy, TREES)
    assert_equal(together(flex(policy), TREES, ONE_ROW), expected, 1e-5)


def test_flex_attention_is_not_trained_on_a_cpu():
    with pytest.raises(ModelError, match="no backward pass on a CPU"):
        use_attention(model(CONFIGS["llama"]), "flex_attention", torch.device("cpu"), 64, training=True)


parts = st.lists(st.integers(1, 49), max_size=7)
forests = st.lists(
    st.builds(Tree, st.lists(st.integers(1, 49), min_size=1, max_size=7), st.lists(parts, min_size=1, max_size=4)),
    min_size=1,
    max_size=5,
)
layouts = st.one_of(st.none(), st.integers(1, 60), st.just(ONE_ROW))


def seen_by_definition(trees: list[Tree], batch: TreeBatch, window: int | None) -> torch.Tensor:
    """From the texts alone: a token sees itself, and what stands before it on its path of prompt and response.

    A path is written out as a row of its own, where a window is a distance in places.
    """
    rows, width = batch.input_ids.shape
    seen = torch.eye(width, dtype=torch.bool).repeat(rows, 1, 1)
    response = 0
    for tree in trees:
        for text in tree.responses:
            row, start, end = (int(x[response]) for x in (batch.rows, batch.starts, batch.prompt_ends))
            path = [*range(end - len(tree.prompt), end), *range(start, start + len(text))]
            assert batch.input_ids[row, path].tolist() == [*tree.prompt, *text]
            for i, query in enumerate(path):
                for j, key in enumerate(path[: i + 1]):
                    seen[row, query, key] |= window is None or i - j < window
            response += 1
    return seen[:, None]


@settings(max_examples=60, deadline=None)
@given(forests, layouts, st.one_of(st.none(), st.integers(1, 9)))
def test_masks_of_any_forest_are_those_of_the_definition(trees, width, window):
    """Dense, and element by element what FlexAttention evaluates."""
    batch = TreeBatch.collate(trees, width=width)
    expected = seen_by_definition(trees, batch, window)
    assert torch.equal(batch.attention_mask(window), expected)
    rule = visibility(batch.tree_ids, batch.segments, batch.position_ids, window)
    rows, tokens = batch.input_ids.shape
    assert torch.equal(create_mask(rule, rows, None, tokens, tokens, "cpu"), expected)
    assert int((batch.tree_ids != PADDING).sum()) == sum(map(len, trees))
    if width == ONE_ROW:
        assert rows == 1
        assert tokens == sum(map(len, trees))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999), st.sampled_from([None, 40, 200]))
def test_blocks_that_nobody_sees_are_skipped_and_full_ones_are_not_masked(seed, window):
    """Of the 128 x 128 blocks of a long row exactly those with a visible pair are computed."""
    draw = random.Random(seed)
    trees = [Tree([1] * draw.randint(1, 300), [[2] * draw.randint(0, 200) for _ in range(3)]) for _ in range(3)]
    batch = TreeBatch.collate(trees, width=ONE_ROW)
    rule = visibility(batch.tree_ids, batch.segments, batch.position_ids, window)
    blocks = block_mask(rule, batch.input_ids.shape, torch.device("cpu"))
    count = -(-batch.input_ids.shape[1] // 128)
    room = 128 * count - batch.input_ids.shape[1]
    dense = torch.nn.functional.pad(batch.attention_mask(window), (0, room, 0, room))
    by_block = dense.view(1, 1, count, 128, count, 128)
    assert torch.equal(blocks.to_dense().bool(), by_block.any(5).any(3))
    full = torch.zeros(count, count, dtype=torch.bool)
    for query in range(count):
        full[query, blocks.full_kv_indices[0, 0, query, : int(blocks.full_kv_num_blocks[0, 0, query])].long()] = True
    assert torch.equal(full, by_block.all(5).all(3)[0, 0])


@torch.no_grad()
@settings(max_examples=15, deadline=None)
@given(forests, layouts)
def test_any_forest_in_any_layout(trees, width):
    """Responses without tokens among them: their last state is the prompt's, wherever the tree lies in its row."""
    policy = model(CONFIGS["llama"])
    assert_equal(together(policy, trees, width), separate(policy, trees), 1e-10)


def test_packing():
    """Pieces of 5, 3, 4, 2 and 9 in rows of 8, the longest first: 9 alone; 5 + 3; 4 + 2."""
    assert pack([5, 3, 4, 2, 9], 8) == [(1, 0), (1, 5), (2, 0), (2, 4), (0, 0)]


def test_layout_of_two_trees_in_a_row():
    """Trees (5, 6 | 7 | 8, 9) and (4 | 3): the second starts at place 5, in positions 0 and 1."""
    batch = TreeBatch.collate([Tree([5, 6], [[7], [8, 9]]), Tree([4], [[3]])], width=8)
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9, 4, 3]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 2, 3, 0, 1]]
    assert batch.tree_ids.tolist() == [[0, 0, 0, 0, 0, 1, 1]]
    assert batch.segments.tolist() == [[0, 0, 1, 2, 2, 0, 1]]
    assert batch.attention_mask()[0, 0, 5:].int().tolist() == [[0, 0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1, 1]]
    states, targets = batch.predicting_states(torch.arange(7.0)[None, :, None])
    assert targets.tolist() == [7, 8, 9, 3]
    assert states[:, 0].tolist() == [1, 1, 3, 5]
    assert batch.last_states(torch.arange(7.0)[None, :, None])[:, 0].tolist() == [2, 4, 6]
    assert batch.by_response(torch.tensor([1.0, 2.0, 3.0, 4.0]))[0].tolist() == [[1, 0], [2, 3], [4, 0]]


def test_bundles_without_padding_are_filled_to_the_budget():
    """Trees of 11, 9 and 4 tokens, budget 16: (11, 4) and (9), each one row of exactly its tokens."""
    arguments = ([[1, 1], [2, 2], [3, 3], [1, 1]], [[5] * 8, [6] * 7, [7] * 2, [8]])
    found = bundles(*arguments, budget=16, row=ONE_ROW)
    assert [bundle.rows for bundle in found] == [[0, 3, 2], [1]]
    assert [tuple(bundle.batch().input_ids.shape) for bundle in found] == [(1, 15), (1, 9)]
    plain = bundles(*arguments, share=False, budget=64, row=ONE_ROW)
    assert all(len(bundle.batch().input_ids) == len(bundle.rows) for bundle in plain)


CUDA = SimpleNamespace(type="cuda")
CPU = SimpleNamespace(type="cpu")


@pytest.mark.parametrize(
    ("device", "triton", "config", "longest", "chosen"),
    [
        (CUDA, True, CONFIGS["llama"], 1024, "flex_attention"),
        (CUDA, True, CONFIGS["llama"], None, "flex_attention"),
        (CUDA, True, CONFIGS["llama"], 1023, "sdpa"),
        (CUDA, False, CONFIGS["llama"], 1024, "sdpa"),
        (CPU, True, CONFIGS["llama"], 1024, "sdpa"),
        (CUDA, True, CONFIGS["gpt2"], 1024, "sdpa"),
        (CUDA, True, LlamaConfig(**SIZES, attention_dropout=0.1), 1024, "sdpa"),
        (CUDA, True, LlamaConfig(**SIZES | {"num_attention_heads": 4}), 1024, "sdpa"),
        (CUDA, True, LlamaConfig(**SIZES, attn_implementation="eager"), 1024, "eager"),
    ],
)
def test_automatic_choice(monkeypatch, device, triton, config, longest, chosen):
    """FlexAttention only where every condition of `use_attention` holds; a model's own choice stays.

    GPT-2 is not known to take it; 32 dimensions in 4 heads are 8 a head, below the kernel's 16.
    """
    monkeypatch.setattr(attention_choice, "find_spec", lambda name: object() if triton else None)
    backbone = AutoModel.from_config(copy.deepcopy(config))
    assert use_attention(backbone, "auto", device, longest, training=True) == chosen
    assert backbone.config._attn_implementation == chosen
    assert row_width(backbone.config) == (ONE_ROW if chosen == "flex_attention" else None)


def test_an_adapter_and_the_model_inside_it_are_one(monkeypatch):
    """PEFT leaves its settings on the model that it wraps, too."""
    monkeypatch.setattr(attention_choice, "find_spec", lambda name: object())
    for inner in (False, True):
        wrapped = get_peft_model(model(CONFIGS["llama"], torch.float32), LoraConfig(target_modules="all-linear"))
        chosen = use_attention(wrapped.get_base_model() if inner else wrapped, "auto", CUDA, 2048, training=True)
        assert chosen == wrapped.config._attn_implementation == "flex_attention"


def test_float64_keeps_sdpa(monkeypatch):
    monkeypatch.setattr(attention_choice, "find_spec", lambda name: object())
    assert use_attention(model(CONFIGS["llama"]), "auto", CUDA, 2048) == "sdpa"


def test_a_choice_overrides():
    backbone = AutoModel.from_config(copy.deepcopy(CONFIGS["llama"]))
    assert use_attention(backbone, "eager", CPU, 9) == "eager"
    assert why_not(backbone) is None
    with pytest.raises(ModelError, match="attention must be one of auto, sdpa, flex_attention, eager, got 'flash'"):
        use_attention(backbone, "flash", CPU, 9)
    with pytest.raises(ModelError, match="GPT2Model does not support"):
        use_attention(AutoModel.from_config(copy.deepcopy(CONFIGS["gpt2"])), "flex_attention", CPU, 9)


@pytest.mark.gpu
@pytest.mark.parametrize("width", [None, ONE_ROW])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 2e-4), (torch.bfloat16, 6e-2)], ids=["float32", "bfloat16"]
)
@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma3 window"])
def test_compiled_flex_attention_on_a_gpu(name, dtype, tolerance, width):
    """Logits, states and gradients of long trees against separate rows under SDPA, whose kernels sum in another order.

    Rows reach 700 tokens, six blocks of 128; matrix products are told to keep float32. Gradients are compared
    relative to the largest entry of each parameter's.
    """
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    draw = random.Random(0)

    def text(low: int, high: int) -> list[int]:
        return [draw.randint(1, 49) for _ in range(draw.randint(low, high))]

    trees = [Tree(text(100, 300), [text(20, 150) for _ in range(3)]) for _ in range(3)]
    config = copy.deepcopy(WINDOWED["gemma3"] if "window" in name else CONFIGS[name])
    config.max_position_embeddings, config.sliding_window = 1024, 64 if "window" in name else None
    torch.set_float32_matmul_precision("highest")
    policy = model(config, dtype).cuda().train()
    expected = separate(policy, trees)
    theirs = gradients(policy, expected)
    use_attention(policy, "flex_attention", torch.device("cuda"), None, training=True)
    found = together(policy, trees, width)
    assert_equal(found, expected, tolerance)
    for one, other in zip(gradients(policy, found), theirs, strict=True):
        largest = float(other.abs().max())
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * max(largest, 1e-3))


@pytest.mark.gpu
def test_auto_takes_flex_attention_on_a_gpu():
    """Scores of a long group equal those of plain rows, in float32."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    policy = model(LlamaConfig(**SIZES | {"max_position_embeddings": 2048}), torch.float32).cuda()
    trees = [Tree([1] * 900, [[2 + i] * 150 for i in range(4)])]
    with torch.no_grad():
        expected = separate(policy, trees)
        assert use_attention(policy, "auto", torch.device("cuda"), 1050) == "flex_attention"
        assert_equal(together(policy, trees, row_width(policy.config)), expected, 2e-4)
