"""Log-probabilities of trees from a chunked head equal those of separate rows and whole logits."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, CohereConfig, Gemma2Config, GraniteConfig

from prefopt.errors import UserError
from prefopt.trainers.logprobs import _logps_of_chunks, _logps_of_kernel, attach_tree_head, next_token_statistics
from reward_models.prefix_tree import Tree, TreeBatch
from tests.tiny import tiny_gpt2, tiny_llama

STATISTICS = ("entropies", "log_sum_sq_probs", "max_logps")
SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
}
TREES = [
    Tree([7, 8, 9], [[10, 11, 2], [12, 2], [13, 14, 15, 16, 2]]),
    Tree([20], [[21, 22, 23, 24], [25]]),
    Tree([30, 31, 32, 33, 34], [[35, 36]]),
]


def of_config(config):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


MODELS = {
    "llama": tiny_llama,
    "gpt2": tiny_gpt2,
    "gemma2, capped": lambda: of_config(
        Gemma2Config(**SIZES, head_dim=8, sliding_window=64, final_logit_softcapping=0.5, attn_implementation="eager")
    ),
    "granite, divided": lambda: of_config(GraniteConfig(**SIZES, logits_scaling=3.0)),
    "cohere, scaled": lambda: of_config(CohereConfig(**SIZES, logit_scale=0.25)),
}


def of_logits(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    logps = logits.log_softmax(-1)
    return {
        "logps": logps.gather(-1, targets[:, None])[:, 0],
        "entropies": -(logps.exp() * logps).sum(-1),
        "log_sum_sq_probs": (2 * logps).logsumexp(-1),
        "max_logps": logps.amax(-1),
    }


def by_hand(model, temperature: float = 1.0) -> dict[str, Tensor]:
    """One row a response, whole logits of the model's own forward."""
    parts = []
    for tree in TREES:
        for response in tree.responses:
            ids = torch.tensor([[*tree.prompt, *response]])
            start = len(tree.prompt)
            parts.append(of_logits(model(input_ids=ids).logits[0, start - 1 : -1] / temperature, ids[0, start:]))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def weighted(found: dict[str, Tensor]) -> Tensor:
    """A loss through log-probabilities and entropies, another weight a token."""
    weights = torch.linspace(-1, 1, len(found["logps"]), dtype=found["logps"].dtype)
    return (weights * found["logps"] + weights.flip(0) * found["entropies"]).sum()


def gradients(loss: Tensor, model) -> dict[str, Tensor]:
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return dict(zip(named, torch.autograd.grad(loss, named.values()), strict=True))


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("name", MODELS)
def test_statistics_and_gradients_equal_those_of_separate_rows(name, temperature):
    model = MODELS[name]()
    expected = by_hand(model, temperature)
    wanted = gradients(weighted(expected), model)
    attach_tree_head(model)
    found = model(trees=TreeBatch.collate(TREES), statistics=STATISTICS, temperature=temperature)
    assert set(found) == set(expected)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-5, rtol=1e-5)
    for key, value in gradients(weighted(found), model).items():
        torch.testing.assert_close(value, wanted[key], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_of_an_adapter(checkpointing):
    """Through the PEFT model's forward, with and without gradient checkpointing."""
    model = tiny_llama()
    attach_tree_head(model)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    wanted = gradients(weighted(by_hand(adapted)), adapted)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        adapted.train()
    found = gradients(weighted(adapted(trees=TreeBatch.collate(TREES), statistics=STATISTICS)), adapted)
    assert found.keys() == wanted.keys()
    for key, value in found.items():
        torch.testing.assert_close(value, wanted[key], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("kernel", "dtype", "tolerance"),
    [
        (_logps_of_chunks, torch.float64, 1e-10),
        (_logps_of_chunks, torch.float32, 1e-5),
        (_logps_of_kernel, torch.float32, 1e-5),
    ],
)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("scale", "softcap"), [(1.0, None), (0.5, None), (2.0, 3.0)])
@pytest.mark.parametrize("fitting", [False, True])
def test_statistics_of_states(kernel, dtype, tolerance, bias, scale, softcap, fitting, monkeypatch):
    """Chunks of 4 tokens (and 16 of 50 words), or all in one; gradients of states, weight and bias."""
    if not fitting:
        monkeypatch.setattr("prefopt.trainers.head_chunks.CHUNK_BYTES", 4 * 50 * dtype.itemsize)
    monkeypatch.setattr("prefopt.trainers.logprobs.CHUNK_VOCABULARY", 16)
    draw = torch.Generator().manual_seed(0)
    states, weight, shift = (
        torch.randn(size, generator=draw, dtype=dtype, requires_grad=True) for size in ((11, 8), (50, 8), (50,))
    )
    targets = torch.randint(50, (11,), generator=draw)
    inputs = (states, weight, shift) if bias else (states, weight)
    logits = scale * torch.nn.functional.linear(states, weight, shift if bias else None)
    logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
    expected = of_logits(logits / 0.9, targets)
    found = kernel(states, targets, weight, shift if bias else None, frozenset(STATISTICS), scale, softcap, 0.9)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=tolerance, rtol=tolerance)
    ours = torch.autograd.grad(weighted(found), inputs)
    theirs = torch.autograd.grad(weighted(expected), inputs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=10 * tolerance, rtol=10 * tolerance)
    assert not found["max_logps"].requires_grad
    assert not found["log_sum_sq_probs"].requires_grad


def test_other_calls_go_where_they_went():
    model = tiny_llama()
    ids = torch.arange(7, 20)[None]
    before = model(input_ids=ids).logits
    attach_tree_head(model)
    assert torch.equal(model(input_ids=ids).logits, before)


def test_each_statistic_alone_and_gradients_of_one_output():
    """What is not asked for is not given; log-probabilities alone and entropies alone carry their own gradients."""
    draw = torch.Generator().manual_seed(0)
    states = torch.randn(5, 8, generator=draw, requires_grad=True)
    weight = torch.randn(50, 8, generator=draw, requires_grad=True)
    targets = torch.arange(5)
    expected = of_logits(states @ weight.T, targets)
    assert set(next_token_statistics(states, targets, weight)) == {"logps"}
    for name in STATISTICS:
        found = next_token_statistics(states, targets, weight, statistics=(name,))
        assert set(found) == {"logps", name}
        torch.testing.assert_close(found[name], expected[name], atol=1e-5, rtol=1e-5)
    found = next_token_statistics(states, targets, weight, statistics=("entropies",))
    for name in ("logps", "entropies"):
        ours = torch.autograd.grad(found[name].sum(), (states, weight), retain_graph=True)
        theirs = torch.autograd.grad(expected[name].sum(), (states, weight), retain_graph=True)
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_no_response_token_gives_nothing_and_a_gradient_of_zero():
    """A micro-batch whose responses are all empty still takes part in a backward pass of several processes."""
    model = tiny_llama()
    attach_tree_head(model)
    found = model(trees=TreeBatch.collate([Tree([7, 8], [[], []])]), statistics=STATISTICS)
    assert {name: value.tolist() for name, value in found.items()} == {key: [] for key in ("logps", *STATISTICS)}
    found["logps"].sum().backward()
    assert all((p.grad == 0).all() for p in model.parameters())


@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_gives_float32_near_the_exact(autocast, monkeypatch):
    """Products in bfloat16 (8 bits of mantissa), sums in float32, also over chunks of two tokens."""
    monkeypatch.setattr("prefopt.trainers.head_chunks.CHUNK_BYTES", 2 * 50 * 4)
    draw = torch.Generator().manual_seed(0)
    exact = [torch.randn(size, generator=draw).bfloat16().float().requires_grad_() for size in ((5, 8), (50, 8))]
    targets = torch.arange(5)
    expected = of_logits(exact[0] @ exact[1].T, targets)
    given = [value.detach().to(torch.float32 if autocast else torch.bfloat16).requires_grad_() for value in exact]
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = next_token_statistics(given[0], targets, given[1], statistics=STATISTICS)
    for name, value in expected.items():
        assert found[name].dtype == torch.float32
        torch.testing.assert_close(found[name], value, atol=0.05, rtol=0.02)
    ours = torch.autograd.grad(weighted(found), given)
    theirs = torch.autograd.grad(weighted(expected), exact)
    for one, other, like in zip(ours, theirs, given, strict=True):
        assert one.dtype == like.dtype
        torch.testing.assert_close(one.float(), other, atol=0.05, rtol=0.05)


def test_an_adapter_on_the_head_is_refused_and_a_whole_head_is_trained():
    """A low-rank part of the head is not in its weight; a head in modules_to_save is, with the adapter on and off."""
    on_head = get_peft_model(tiny_llama(), LoraConfig(r=4, target_modules=["q_proj", "lm_head"]))
    with pytest.raises(UserError, match="leave lm_head out"):
        attach_tree_head(on_head.get_base_model())
    model = tiny_llama()
    attach_tree_head(model)
    settings = {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"], "init_lora_weights": False}
    adapted = get_peft_model(model, LoraConfig(r=4, **settings))
    with torch.no_grad():
        model.get_output_embeddings().weight.add_(0.1)
    found = [adapted(trees=TreeBatch.collate(TREES))["logps"]]
    expected = [by_hand(adapted)["logps"]]
    with adapted.disable_adapter():
        found.append(adapted(trees=TreeBatch.collate(TREES))["logps"])
        expected.append(by_hand(adapted)["logps"])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert (found[0] - found[1]).abs().max() > 1e-3
