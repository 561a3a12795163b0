"""Offline training on trees takes the steps that it takes on one row an answer."""

from __future__ import annotations

import logging

import pytest
import torch
from datasets import Dataset
from peft import PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM, BloomConfig

from prefopt import recipes
from prefopt.errors import UserError
from prefopt.trainers.offline import AdapterArguments, OfflineTrainer, align_offline
from prefopt.trainers.pairs.batches import PairBatchCollator, pairs_of
from prefopt.trainers.reference_cache import SIDES
from prefopt.trainers.sampling_order import EpochShuffle, LengthBuckets
from tests.tiny import VOCABULARY_SIZE, save_tiny, tiny_gpt2, tiny_llama, tiny_tokenizer
from tests.trainers.pairs import pairs, quiet


def answers_to_few_prompts() -> Dataset:
    """Six pairs on three prompts, so that a tree holds up to four answers."""
    rows = pairs(6).to_dict()
    return Dataset.from_dict({**rows, "prompt": [rows["prompt"][i % 3] for i in range(6)]})


def trained(folder, model, sharing: str, adapter: AdapterArguments | None = None, **settings):
    """Three steps; the losses, gradient norms and metrics of each, and the weights in the end."""
    fixed = {"max_steps": 3, "train_sampling_strategy": "random", "prefix_sharing": sharing}
    config = quiet(folder / sharing, **(fixed | settings))
    done = align_offline(model, answers_to_few_prompts(), config, tokenizer=tiny_tokenizer(), adapter=adapter)
    lines = [line for line in done.log if "grad_norm" in line]
    assert len(lines) == 3
    return lines, {name: p.detach() for name, p in done.model.named_parameters()}


CASES = {
    "llama": (tiny_llama, {}),
    "gpt2": (tiny_gpt2, {}),
    "checkpointing": (tiny_llama, {"gradient_checkpointing": True}),
    "accumulation": (tiny_llama, {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}),
    "wpo, sampled": (tiny_llama, {"recipe": "wpo", "recipe_settings": {"alignment": "sampled"}}),
    "wpo, greedy": (tiny_gpt2, {"recipe": "wpo", "recipe_settings": {"alignment": "greedy"}}),
    "simpo": (tiny_llama, {"recipe": "simpo"}),
    "precomputed": (tiny_llama, {"precompute_reference": True}),
    "lora": (tiny_llama, {"adapter": AdapterArguments(use_peft=True, lora_r=4, lora_alpha=8), "learning_rate": 1.0}),
}


@pytest.mark.parametrize("case", CASES)
def test_steps_equal_those_of_plain_rows(tmp_path, case):
    """Every figure of every log line, and every weight after three steps, to 1e-5.

    Accuracy counts signs of margins. At the first step policy and reference are equal and margins 0, so that rounding
    has the word where the reference was computed in other batches; it is compared from the second step on.
    """
    make, settings = CASES[case]
    shared, shared_weights = trained(tmp_path, make(), "auto", **settings)
    plain, plain_weights = trained(tmp_path, make(), "never", **settings)
    for step, (one, other) in enumerate(zip(shared, plain, strict=True)):
        assert one.keys() == other.keys()
        for name in one.keys() - ({"rewards/accuracy"} if step == 0 else set()):
            assert one[name] == pytest.approx(other[name], abs=1e-5, rel=1e-4), name
    for name, value in shared_weights.items():
        torch.testing.assert_close(value, plain_weights[name], atol=1e-5, rtol=0)
    start = dict(make().named_parameters())
    moved = [
        value for name, value in shared_weights.items() if name not in start or not torch.equal(value, start[name])
    ]
    assert moved


def rows_of(*triples) -> list[dict]:
    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    return [{**dict(zip(names, triple, strict=True)), "row": i} for i, triple in enumerate(triples)]


TWO_ON_ONE_PROMPT = rows_of(([1, 2, 3], [4, 5], [6]), ([1, 2], [7], [8, 9]), ([1, 2, 3], [4, 4, 4], [5]))


def test_a_prompt_stands_once_in_a_batch():
    """Two prompts, so two rows: 3 + (2 + 3 + 1 + 1) = 10 tokens, and 2 + (1 + 2) = 5.

    Planted in the order chosen 0, 1, 2, rejected 0, 1, 2, the first tree holds answers 0, 2, 3, 5 and the second 1, 4,
    so that these stand at places 0, 4, 1, 2, 5, 3.
    """
    batch = PairBatchCollator(0)(TWO_ON_ONE_PROMPT)
    assert (batch["trees"]["segments"] >= 0).sum(-1).tolist() == [10, 5]
    assert batch["places"].tolist() == [0, 4, 1, 2, 5, 3]
    found = pairs_of(batch, ())
    assert found.chosen_mask.sum(-1).tolist() == [2, 1, 3]
    assert found.rejected_mask.sum(-1).tolist() == [1, 2, 1]
    plain = PairBatchCollator(0, share=False)(TWO_ON_ONE_PROMPT)
    assert plain["trees"]["input_ids"].tolist()[0] == [1, 2, 3, 4, 5, 0]
    assert len(plain["trees"]["input_ids"]) == 6


def test_reference_values_stand_where_the_models_do():
    rows = [
        {**row, **{f"ref_{side}_logps": [-float(t) for t in row[f"{side}_ids"]] for side in SIDES}}
        for row in TWO_ON_ONE_PROMPT
    ]
    batch = PairBatchCollator(0)(rows)
    assert batch["ref_logps"].tolist() == [[-4, -5, 0], [-7, 0, 0], [-4, -4, -4], [-6, 0, 0], [-8, -9, 0], [-5, 0, 0]]


def test_the_first_token_of_an_answer_to_nothing_is_not_predicted():
    """Three tokens of the chosen answer and one of the rejected one leave two and none that are predicted."""
    batch = PairBatchCollator(0)(rows_of(([], [4, 5, 6], [7])))
    found = pairs_of(batch, ())
    assert found.chosen_mask.tolist() == [[True, True]]
    assert found.rejected_mask.tolist() == [[False, False]]


@pytest.mark.parametrize(("count", "multiple"), [(40, 1), (43, 8), (3, 4), (3, 1)])
def test_buckets_hold_every_row_once_and_then_fillers(count, multiple):
    lengths = [(7 * i) % 31 for i in range(count)]
    order = LengthBuckets(lengths, unit=4, multiple=multiple, seed=3)
    drawn = list(order)
    assert sorted(drawn[:count]) == list(range(count))
    assert drawn[count:] == list(range(count, len(order)))
    assert len(drawn) == len(order) == -(-count // multiple) * multiple


def test_buckets_depend_on_seed_and_epoch_alone():
    def drawn(seed: int, epoch: int) -> list[int]:
        order = LengthBuckets([i % 11 for i in range(64)], unit=4, multiple=1, seed=seed)
        order.set_epoch(epoch)
        torch.manual_seed(epoch * 100)
        return list(order)

    assert drawn(0, 1) == drawn(0, 1)
    assert drawn(0, 1) != drawn(0, 2)
    assert drawn(0, 1) != drawn(5, 1)


def test_buckets_need_little_padding():
    """Lengths 0 to 511 in one window: a unit of 8 spans 8 and a twentieth of its length, 3.5 + 6.4 of 256 on average.

    That is 0.04, against 8 / 9 * 511 - 256 = 199 of 256, 0.78, for the longest of 8 drawn at random.
    """
    order = LengthBuckets(range(512), unit=8, multiple=1, seed=0)
    drawn, plain = list(order), list(EpochShuffle(512, 1, 0))

    def padding(rows: list[int]) -> float:
        units = [rows[i : i + 8] for i in range(0, 512, 8)]
        return sum(8 * max(unit) - sum(unit) for unit in units) / sum(rows)

    assert padding(drawn) == pytest.approx(0.04, abs=0.02)
    assert padding(plain) == pytest.approx(0.78, abs=0.1)
    firsts = torch.tensor(drawn[::8], dtype=torch.float64)
    place = torch.arange(64, dtype=torch.float64)
    assert torch.corrcoef(torch.stack([firsts, place]))[0, 1].abs() < 0.3


@pytest.mark.parametrize("role", ["policy", "reference"])
def test_a_model_that_takes_no_trees_gets_plain_rows_and_the_log_says_why(tmp_path, caplog, role):
    torch.manual_seed(0)
    config = BloomConfig(vocab_size=VOCABULARY_SIZE, hidden_size=16, n_layer=1, n_head=2)
    bloom = AutoModelForCausalLM.from_config(config)
    folder = str(save_tiny(tmp_path / "bloom", bloom, tiny_tokenizer()))
    settings = {} if role == "policy" else {"reference_model": folder}
    policy = bloom if role == "policy" else tiny_llama()
    with caplog.at_level(logging.WARNING):
        done = align_offline(policy, pairs(4), quiet(tmp_path, **settings), tokenizer=tiny_tokenizer())
    assert [r.message for r in caplog.records if "one row an answer" in r.message] == [
        "one row an answer: BloomForCausalLM takes no position ids, so that positions cannot restart after the prompt"
    ]
    equal = done.log[0]["loss"] == pytest.approx(0.693147, abs=1e-5)
    assert equal == (role == "policy")


def test_adapters_that_add_tokens_are_refused(tmp_path):
    model = get_peft_model(tiny_llama(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    with pytest.raises(UserError, match="PromptTuningConfig puts tokens of its own before the prompt"):
        OfflineTrainer(model, quiet(tmp_path), recipes.build("simpo"), pairs(), processing_class=tiny_tokenizer())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"prefix_sharing": "on"}, "prefix_sharing must be one of auto, never"),
        ({"train_sampling_strategy": "batch_rebalance"}, "train_sampling_strategy must be one of group_by_length"),
    ],
)
def test_settings_are_checked(tmp_path, setting, message):
    with pytest.raises(UserError, match=message):
        quiet(tmp_path, **setting)
