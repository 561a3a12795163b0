from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.errors import UserError
from prefopt.offline import OfflineObjective
from prefopt.trainers.logprobs import attach_head, needed_statistics, pair_outputs, token_statistics
from tests.tiny import VOCABULARY_SIZE, tiny_gpt2, tiny_llama

STATISTICS = ("entropies", "log_sum_sq_probs", "max_logps")


def batch() -> dict[str, torch.Tensor]:
    """Two rows of 6 tokens; responses are tokens 2 to 4 and 3 to 5; row 0 is padded by one."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(7, VOCABULARY_SIZE, (2, 6), generator=draw)
    response = torch.tensor([[0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1]], dtype=torch.bool)
    attention = torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]])
    return {"input_ids": ids, "attention_mask": attention, "response_mask": response}


def by_hand(model, inputs) -> dict[str, torch.Tensor]:
    """From whole logits: column t is the distribution of token t + 1, 0 outside responses."""
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[:, :-1]
    logps = logits.log_softmax(-1)
    mask = inputs["response_mask"][:, 1:]
    found = {
        "logps": logps.gather(-1, inputs["input_ids"][:, 1:, None])[..., 0],
        "entropies": -(logps.exp() * logps).sum(-1),
        "log_sum_sq_probs": (2 * logps).logsumexp(-1),
        "max_logps": logps.amax(-1),
    }
    return {name: value * mask for name, value in found.items()}


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_statistics_equal_those_of_whole_logits(make):
    model, inputs = make(), batch()
    expected = by_hand(model, inputs)
    attach_head(model, STATISTICS)
    found = token_statistics(model, model, inputs, STATISTICS)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5)


def test_gradients_equal_those_of_whole_logits():
    model, inputs = tiny_llama(), batch()
    by_hand(model, inputs)["logps"].sum().backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    attach_head(model)
    token_statistics(model, model, inputs)["logps"].sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-5, rtol=1e-4)


def test_statistics_of_the_vocabulary_carry_no_gradient():
    model = tiny_llama()
    attach_head(model, STATISTICS)
    found = token_statistics(model, model, batch(), STATISTICS)
    assert not found["max_logps"].requires_grad
    assert not found["log_sum_sq_probs"].requires_grad
    assert found["logps"].requires_grad


def test_sides_are_the_halves_of_the_batch():
    found = {"logps": torch.arange(8.0).view(4, 2), "max_logps": -torch.arange(8.0).view(4, 2)}
    outputs = pair_outputs(found)
    assert outputs.chosen_logps.tolist() == [[0, 1], [2, 3]]
    assert outputs.rejected_logps.tolist() == [[4, 5], [6, 7]]
    assert outputs.extras["rejected_max_logps"].tolist() == [[-4, -5], [-6, -7]]


def test_generation_still_gets_logits():
    model = tiny_llama()
    before = model(input_ids=batch()["input_ids"]).logits
    attach_head(model)
    torch.testing.assert_close(model(input_ids=batch()["input_ids"]).logits, before, atol=0, rtol=0)


def test_largest_log_probability_of_rescaled_logits_is_refused():
    model = tiny_llama()
    model.config.logit_scale = 0.5
    with pytest.raises(UserError, match="rescales its logits \\(logit_scale\\)"):
        attach_head(model, ["max_logps"])


def test_statistics_that_recipes_need():
    assert needed_statistics(recipes.build("dpo")) == set()
    assert needed_statistics(recipes.build("wpo")) == {"log_sum_sq_probs"}
    assert needed_statistics(recipes.build("wpo", alignment="greedy")) == {"max_logps"}


def test_needs_that_the_trainer_does_not_supply_are_named():
    from dataclasses import dataclass

    from prefopt.offline.slots import Regulariser

    @dataclass(frozen=True)
    class OnHiddenStates(Regulariser):
        needs = frozenset({"chosen_hidden_states"})

    with pytest.raises(UserError, match="does not supply chosen_hidden_states"):
        needed_statistics(OfflineObjective(regularise=(OnHiddenStates(),)))
