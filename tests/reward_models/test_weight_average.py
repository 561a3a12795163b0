"""WARM's parts: the plan of the members, what is averaged, the shared head (arXiv 2401.12187)."""

from __future__ import annotations

import json
from itertools import product

import pytest
import torch
from safetensors.torch import load_file, save_file

from reward_models import RewardModel
from reward_models.averaging import average_models
from reward_models.errors import DataError, ModelError
from reward_models.freezing import set_dropout
from reward_models.heads import RewardHead
from reward_models.linear_probe import linear_probe
from reward_models.weight_average import WeightAverage, identity_of
from tests.tiny import save_tiny, tiny_bert, tiny_llama, tiny_tokenizer


def member(path, fill: float, start: str | None = "one") -> RewardModel:
    """A saved model whose head is ``fill`` everywhere."""
    base = path.parent / "base"
    if not base.exists():
        save_tiny(base, tiny_llama(), tiny_tokenizer())
    model = RewardModel.from_backbone(base)
    model.set_heads(RewardHead.of(torch.full((1, model.config.hidden_size), fill), ("score",)))
    model.start = start
    model.save_pretrained(path)
    return model


def write_member(folder, tensors: dict[str, torch.Tensor]) -> None:
    """A folder of bare weights."""
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")


def test_average_by_hand(tmp_path) -> None:
    """Heads {w: [1, 2], b: .3}, {[2, 0], .6}, {[3, 4], 0}: the mean is {[2, 2], .3}, tensor by tensor."""
    for number, (weight, offset) in enumerate((([1.0, 2], 0.3), ([2.0, 0], 0.6), ([3.0, 4], 0.0))):
        write_member(tmp_path / str(number), {"w": torch.tensor(weight), "b": torch.tensor([offset])})
    average_models([tmp_path / str(number) for number in range(3)], tmp_path / "mean")
    found = load_file(tmp_path / "mean" / "model.safetensors")
    torch.testing.assert_close(found["w"], torch.tensor([2.0, 2.0]))
    torch.testing.assert_close(found["b"], torch.tensor([0.3]))


@pytest.mark.parametrize(("p", "squared"), [(0.3, 0.09), (0.9, 0.81)])
def test_averages_square_what_ensembles_keep(tmp_path, p, squared) -> None:
    """Ten members with two layers each; a feature is in both layers of 10 p of them, and in none of the others'.

    The ensemble gives it the mean of products, p; the mean of the weights the product of means, p^2: .3 -> .30 and .09,
    .9 -> .90 and .81. What few members have learned, such as a wrong label, loses most.
    """
    products = []
    for number in range(10):
        value = float(number < 10 * p)
        write_member(tmp_path / str(number), {"first": torch.tensor([value]), "second": torch.tensor([value])})
        products.append(value * value)
    average_models([tmp_path / str(number) for number in range(10)], tmp_path / "mean")
    found = load_file(tmp_path / "mean" / "model.safetensors")
    assert sum(products) / 10 == pytest.approx(p)
    assert float(found["first"] * found["second"]) == pytest.approx(squared)


def test_plan_goes_through_the_whole_grid() -> None:
    """Six members have the six combinations, each once; a seventh repeats one. No two have one order of the data."""
    recipe = WeightAverage(members=7)
    plan = recipe.plan()
    grid = set(product(recipe.learning_rates, recipe.dropouts))
    assert {(one.learning_rate, one.dropout) for one in plan[:6]} == grid
    assert len({one.seed for one in plan}) == 7
    assert plan == WeightAverage(members=7).plan()
    other = WeightAverage(members=7, seed=1).plan()
    assert not {one.seed for one in plan} & {one.seed for one in other}
    assert [one.name for one in plan[:2]] == ["member_01", "member_02"]


def test_the_best_members_are_chosen() -> None:
    """Accuracies .70, .75, .72, .75: the best three are 1, 3 (equal: in their order) and 2; without them all four."""
    assert WeightAverage(best=3).chosen([0.70, 0.75, 0.72, 0.75]) == (1, 3, 2)
    assert WeightAverage().chosen(None) == (0, 1, 2, 3)
    with pytest.raises(ModelError, match="best=3 of 4 members are chosen by accuracy; give pairs"):
        WeightAverage(best=3).chosen(None)


def test_linear_probe_by_hand() -> None:
    """One dimension, differences 1, 1, -1, strength s = 1/6.

    The gradient of mean -log sigma(w d) + s w^2 / 2 is -(2/3) sigma(-w) + (1/3) sigma(w) + s w. With sigma(-w) =
    1 - sigma(w) it is sigma(w) - 2/3 + w / 6, which rises in w; its root is found by bisection.
    """
    low, high = 0.0, 2.0
    for _ in range(60):
        middle = (low + high) / 2
        value = 1 / (1 + 2.718281828459045**-middle) - 2 / 3 + middle / 6
        low, high = (middle, high) if value < 0 else (low, middle)
    chosen, rejected = torch.tensor([[2.0], [0.5], [0.0]]), torch.tensor([[1.0], [-0.5], [1.0]])
    assert linear_probe(chosen, rejected, 1 / 6).item() == pytest.approx(low, abs=1e-4)


def test_a_probe_needs_pairs_and_a_penalty() -> None:
    """One pair, no penalty, states that are not finite."""
    states = torch.rand(3, 2)
    with pytest.raises(DataError, match="at least two pairs, not 1"):
        linear_probe(states[:1], states[:1])
    with pytest.raises(DataError, match="must be more than 0, got 0"):
        linear_probe(states, -states, 0.0)
    with pytest.raises(DataError, match="row 1, column 1: inf is no finite number"):
        linear_probe(states, states / 0)


def test_models_of_different_starts_are_not_averaged(tmp_path) -> None:
    """The identity of the initial head travels through save, load and averaging; another one is refused by name."""
    member(tmp_path / "a", 1.0)
    member(tmp_path / "b", 3.0)
    member(tmp_path / "c", 3.0, start="two")
    average_models([tmp_path / "a", tmp_path / "b"], tmp_path / "mean")
    found = RewardModel.from_pretrained(tmp_path / "mean")
    assert found.start == "one"
    torch.testing.assert_close(found.score_head.weight, torch.full_like(found.score_head.weight, 2.0))
    with pytest.raises(ModelError, match=r"differ in start .*start all members from one folder"):
        average_models([tmp_path / "a", tmp_path / "c"], tmp_path / "other")


def test_a_model_without_start_says_nothing_of_it(tmp_path) -> None:
    """Ordinary folders stay as they were; the identity is a digest of the head's numbers alone."""
    model = member(tmp_path / "plain", 1.0, start=None)
    assert "start" not in json.loads((tmp_path / "plain" / "reward_head.json").read_text())
    weight = model.score_head.weight
    assert identity_of(weight) == identity_of(weight.clone().double()) != identity_of(weight + 1)


def test_dropout_is_set_wherever_it_is_read() -> None:
    """BERT has dropout modules, Llama an attribute that its attention reads; .05 stands in all of them."""
    bert, llama = tiny_bert(), tiny_llama(head=False)
    assert set_dropout(bert, 0.05) > 0
    assert {part.p for part in bert.modules() if isinstance(part, torch.nn.Dropout)} == {0.05}
    assert set_dropout(llama, 0.05) == 2
    assert {layer.self_attn.attention_dropout for layer in llama.layers} == {0.05}
    with pytest.raises(ModelError, match="at least 0 and below 1, got 1"):
        set_dropout(bert, 1.0)
