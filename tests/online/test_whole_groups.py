"""Terms over whole groups, in each other's methods."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from tests.contract.online_samples import policy, ready, rollouts, splits

NAMES = [name for name in recipes.names("online") if "together" in recipes.build(name).slot_names()]


def test_which_methods_have_terms():
    """The four whose loss relates the completions of a prompt to each other."""
    assert NAMES == ["dypo", "gvpo", "haepo", "trpa"]


@pytest.mark.parametrize("other", NAMES)
@pytest.mark.parametrize("name", NAMES)
def test_terms_of_each_other(name, other):
    """Any method takes any term; its losses over micro-batches of whole groups add up to the loss of the whole."""
    objective = recipes.build(name, together=other)
    assert objective.together == recipes.build(other).together
    batch = rollouts(objective)
    outputs = policy(objective, batch)
    prepared = ready(objective, batch, outputs)
    whole = objective.loss(batch, prepared, outputs)
    assert torch.isfinite(whole)
    for parts in splits(objective, batch):
        losses = [objective.loss(batch[rows], prepared[rows], outputs[rows]) for rows in parts]
        torch.testing.assert_close(sum(losses), whole, rtol=1e-10, atol=1e-12)


def test_a_method_without_groups_takes_no_term():
    """Its micro-batches could split a group."""
    with pytest.raises(TypeError, match="has no setting 'together'"):
        recipes.build("grpo", together="gvpo")
