"""Rows count by the weight that the data give them, in every kind of offline objective."""

from __future__ import annotations

import pytest
import torch

from prefopt import recipes
from prefopt.errors import UserError
from prefopt.offline.pair_weight import FromData, Product
from prefopt.trainers.offline import align_offline
from prefopt.trainers.sample_weights import with_sample_weights
from reward_models.errors import DataError
from tests.tiny import tiny_llama, tiny_tokenizer
from tests.trainers.pairs import pairs, quiet

BATCH = "per_device_train_batch_size"
WEIGHTS = [2.0, 0.0, 1.0, 1.0, 0.0, 2.0, 1.0, 1.0]


def rows_of(kind: str) -> list[dict]:
    if kind == "pairs":
        return list(pairs())
    if kind == "judged":
        return [{"prompt": f"Q{i}?", "completion": f"A{'!' * i}", "label": i % 2 == 0} for i in range(8)]
    if kind == "logged":
        return [
            {"prompt": f"Q{i}?", "completion": f"A{i}", "reward": 1.0 + i, "log_propensity": -9.0} for i in range(8)
        ]
    return [{"prompt": f"Q{i}?", "completion": f"A{'!' * i}"} for i in range(8)]


CASES = {
    "dpo": ("pairs", {}),
    "wpo": ("pairs", {}),
    "cpo": ("pairs", {}),
    "bco": ("judged", {}),
    "ips": ("logged", {"per_token": True}),
    "conditional_pretraining": ("texts", {"objective": "mle"}),
}


def gradient_step(folder, rows, recipe, settings, **more) -> torch.Tensor:
    """The change of all weights in one step of plain gradient descent."""
    config = quiet(folder, recipe=recipe, recipe_settings=settings, max_grad_norm=0.0, **more)
    done = align_offline(tiny_llama(), rows, config, tokenizer=tiny_tokenizer())
    flat = lambda model: torch.cat([p.detach().flatten() for p in model.parameters()])  # noqa: E731
    return flat(done.model) - flat(tiny_llama())


@pytest.mark.parametrize("recipe", CASES)
def test_weights_are_numbers_of_copies(tmp_path, recipe):
    """Weights (2, 0, 1, 1, 0, 2, 1, 1) take the step of eight rows of which two come twice and two not at all.

    In micro-batches of three. BCO's rows depend on each other by their mean reward, which at the start is 0.
    """
    kind, settings = CASES[recipe]
    plain = rows_of(kind)
    rows = [{**row, "sample_weight": weight} for row, weight in zip(plain, WEIGHTS, strict=True)]
    steps = {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 3}
    found = gradient_step(tmp_path / "weighted", rows, recipe, settings, sample_weights=True, **steps)
    copies = [row for row, weight in zip(plain, WEIGHTS, strict=True) for _ in range(int(weight))]
    torch.testing.assert_close(found, gradient_step(tmp_path / "copies", copies, recipe, settings), atol=2e-6, rtol=0)
    assert found.abs().max() > 1e-4


def test_weights_stand_beside_those_of_a_method():
    assert with_sample_weights(recipes.build("dpo")).pair_weight == FromData()
    wpo = recipes.build("wpo")
    assert with_sample_weights(wpo).pair_weight == Product((wpo.pair_weight, FromData()))
    mixture = recipes.mix([{"recipe": "dpo", "weight": 1.0}, {"recipe": "simpo", "weight": 0.5}])
    assert all("sample_weight" in one.needs for one in with_sample_weights(mixture).objectives)
    for name in set(recipes.names("offline")) - {"aot", "aot_unpaired", "mah_dpo", "multi_level_dpo"}:
        assert "sample_weight" in with_sample_weights(recipes.build(name)).needs


@pytest.mark.parametrize("recipe", ["aot", "aot_unpaired"])
def test_a_sorted_batch_has_no_row_to_weight(recipe):
    with pytest.raises(UserError, match=r"sample_weights: .* sorts the batch as if every row had the same mass"):
        with_sample_weights(recipes.build(recipe))


@pytest.mark.parametrize("recipe", ["mah_dpo", "multi_level_dpo"])
def test_means_of_groups_leave_no_weight_to_a_row(recipe):
    """A pair counts by its group's share of the batch (head, or level): another weight would shift the groups."""
    with pytest.raises(UserError, match="sample_weights: GroupMeans depends on other pairs"):
        with_sample_weights(recipes.build(recipe))


@pytest.mark.parametrize("recipe", CASES)
def test_weights_are_never_ignored_in_silence(tmp_path, recipe):
    """A column that the run would not read, a missing one, a negative one."""
    kind, settings = CASES[recipe]
    config = {"recipe": recipe, "recipe_settings": settings}
    weighted = [{**row, "sample_weight": 0.5 + i} for i, row in enumerate(rows_of(kind))]
    with pytest.raises(UserError, match="sample_weight"):
        align_offline(tiny_llama(), weighted, quiet(tmp_path, **config), tokenizer=tiny_tokenizer())
    with pytest.raises(UserError, match="sample_weight"):
        align_offline(
            tiny_llama(), rows_of(kind), quiet(tmp_path, **config, sample_weights=True), tokenizer=tiny_tokenizer()
        )
    weighted[3]["sample_weight"] = -1.0
    with pytest.raises((UserError, DataError), match=r"not for less|out_of_range"):
        align_offline(
            tiny_llama(), weighted, quiet(tmp_path, **config, sample_weights=True), tokenizer=tiny_tokenizer()
        )


def test_pairs_that_are_taken_apart_keep_their_weights(tmp_path):
    """Bad and good answer of a pair of weight 0 teach nothing: the step of the other pairs' answers.

    KTO around 0 reads no other row; the mean is over all 2 n responses, whatever they weigh, so that four of eight
    pairs with weight 2 are those four alone.
    """
    settings = {"reference_point": "zero"}
    weighted = pairs(sample_weight=[2.0, 0.0] * 4)
    found = gradient_step(tmp_path / "all", weighted, "kto", settings, sample_weights=True, **{BATCH: 16})
    some = gradient_step(tmp_path / "some", pairs().select(range(0, 8, 2)), "kto", settings, **{BATCH: 16})
    torch.testing.assert_close(found, some, atol=1e-6, rtol=1e-4)
    with pytest.raises(UserError, match="which this run would not read; set sample_weights"):
        gradient_step(tmp_path / "unread", weighted, "kto", settings)
