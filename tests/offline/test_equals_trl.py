"""The same numbers as TRL 1.16's DPOTrainer on the same tensors, or the difference stated."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from prefopt import recipes
from prefopt.batch import PairOutputs, Pairs
from tests.offline.examples import random_batch

trl = pytest.importorskip("trl", minversion="1.16")


def _alone(values: Tensor) -> Tensor:
    return values


def trl_loss(policy: PairOutputs, reference: PairOutputs, pairs: Pairs, loss_type: str, **settings) -> Tensor:
    """Return TRL's loss on our tensors: its loss function reads log-probabilities from a model's output."""
    from trl import DPOTrainer

    width = max(pairs.chosen_mask.shape[1], pairs.rejected_mask.shape[1])

    def stacked(chosen: Tensor, rejected: Tensor) -> Tensor:
        grow = lambda x: torch.nn.functional.pad(x, (0, width - x.shape[1]))  # noqa: E731
        return torch.cat([grow(chosen), grow(rejected)])

    mask = stacked(pairs.chosen_mask.long(), pairs.rejected_mask.long())
    zeros = torch.zeros(mask.shape)
    squares = stacked(policy.extras["chosen_log_sum_sq_probs"], policy.extras["rejected_log_sum_sq_probs"])
    output = SimpleNamespace(
        log_probs=stacked(policy.chosen_logps, policy.rejected_logps) * mask,
        log_sum_sq_probs=squares, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool(),
    )  # fmt: skip
    trainer = object.__new__(DPOTrainer)
    vars(trainer).update(
        model=SimpleNamespace(training=True), ld_alpha=None, aux_loss_enabled=False, precompute_ref_logps=True,
        f_divergence_type="reverse_kl", loss_types=[loss_type], loss_weights=[1.0], use_weighting=False,
        accelerator=SimpleNamespace(device="cpu", gather_for_metrics=_alone, gather=_alone),
        _metrics={"train": defaultdict(list)}, _total_train_tokens=0, _tp_size=1, label_smoothing=0.0,
    )  # fmt: skip
    vars(trainer).update(settings)
    before = torch.zeros(len(mask), 1, dtype=mask.dtype)  # TRL's mask covers the prompt's last token too
    inputs = {
        "input_ids": torch.cat([before, mask], 1),
        "attention_mask": torch.cat([before, mask], 1),
        "completion_mask": torch.cat([before, mask], 1),
        "ref_chosen_logps": (reference.chosen_logps * pairs.chosen_mask).sum(1),
        "ref_rejected_logps": (reference.rejected_logps * pairs.rejected_mask).sum(1),
    }
    return trainer._compute_loss(lambda **_: output, inputs, return_outputs=False)


@pytest.mark.parametrize(
    ("name", "settings", "loss_type", "beta"),
    [
        ("sigmoid", {}, "sigmoid", 0.1),
        ("hinge", {}, "hinge", 0.1),
        ("ipo", {"length_normalised": True}, "ipo", 0.1),
        ("dpo_norm", {}, "sigmoid_norm", 5.0),
    ],
)
def test_same_loss(name, settings, loss_type, beta):
    batch = random_batch(n=16)
    ours = recipes.build(name, **settings).losses(*batch).mean()
    torch.testing.assert_close(ours, trl_loss(*batch, loss_type, beta=beta).to(ours), atol=1e-5, rtol=1e-5)


def test_wpo_is_the_same_without_the_cap():
    """TRL weights by the same product, and never caps it: equal with cap = infinity, larger than ours otherwise."""
    policy, reference, pairs = random_batch(n=16, seed=3)
    theirs = trl_loss(policy, reference, pairs, "sigmoid", beta=0.01, use_weighting=True)
    uncapped = recipes.build("wpo", cap=float("inf"))
    torch.testing.assert_close(uncapped.losses(policy, reference, pairs).mean(), theirs, atol=1e-5, rtol=1e-5)
    assert (uncapped.weights(policy, pairs) > 1).any()
    assert recipes.build("wpo").losses(policy, reference, pairs).mean() < theirs


def test_ours_honours_label_smoothing_where_theirs_does_not():
    """TRL's sigmoid reads no label smoothing; ours is the cross-entropy with it."""
    batch = random_batch(n=16)
    plain = recipes.build("sigmoid").losses(*batch).mean()
    theirs = trl_loss(*batch, "sigmoid", beta=0.1, label_smoothing=0.2)
    torch.testing.assert_close(theirs.to(plain), plain, atol=1e-5, rtol=1e-5)
    assert (recipes.build("sigmoid", label_smoothing=0.2).losses(*batch).mean() - plain).abs() > 1e-3


def test_ipo_of_the_paper_is_not_theirs():
    """TRL divides each log-ratio by its length; the paper's form, our default, does not."""
    batch = random_batch(n=16)
    theirs = trl_loss(*batch, "ipo", beta=0.1)
    assert (recipes.build("ipo").losses(*batch).mean() - theirs).abs() > 1
