"""The sample data is what its scripts make, its splits are disjoint, and its cards tell the truth."""

from __future__ import annotations

import hashlib
import json
import random
import re
from pathlib import Path

import pytest
import torch

from prefopt import assets
from reward_models.data import validate
from scripts import make_sample_data, make_tiny_policy, small_talk
from scripts.small_talk import Answer, Sum

ROOT = Path(__file__).parents[2]


def rows(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in assets.path(name).read_text(encoding="utf-8").splitlines()]


def sum_of(prompt: str) -> Sum:
    first, sign, second = re.search(r"(\d+) (plus|minus) (\d+)", prompt).groups()  # type: ignore[union-attr]
    return Sum(int(first), sign, int(second))


def test_data_is_made_again_byte_for_byte(tmp_path: Path) -> None:
    make_sample_data.write_all(tmp_path)
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.jsonl"))
    assert len(made) == 5
    for name in made:
        assert (tmp_path / name).read_bytes() == assets.path(str(name)).read_bytes(), name


def test_splits_share_no_sum() -> None:
    """The rule of ``Sum.held_out`` holds for every row, so no sum of a test file was ever trained on."""
    for kind in ("preferences", "prompts"):
        assert not any(sum_of(row["prompt"]).held_out for row in rows(f"{kind}/train.jsonl"))
        assert all(sum_of(row["prompt"]).held_out for row in rows(f"{kind}/test.jsonl"))


def test_both_orders_of_a_sum_are_on_the_same_side() -> None:
    for each in small_talk.all_sums(held_out=True):
        if each.sign == "plus":
            assert Sum(each.second, "plus", each.first).held_out


def test_answers_of_the_prompts_are_right() -> None:
    for split in ("train", "test"):
        for row in rows(f"prompts/{split}.jsonl"):
            assert int(row["answer"]) == sum_of(row["prompt"]).total


@pytest.mark.parametrize(
    ("question", "text"),
    [
        (Sum(37, "plus", 48), "70 and 15 make 85."),  # 30 + 40 and 7 + 8
        (Sum(85, "minus", 48), "40 less 3 make 37."),  # 80 - 40 and 5 - 8 = -3
        (Sum(58, "minus", 45), "10 and 3 make 13."),  # 50 - 40 and 8 - 5
    ],
)
def test_working_goes_by_tens_and_units(question: Sum, text: str) -> None:
    assert small_talk.working(question, question.total) == text


def test_annotator_prefers_by_the_difference_in_utility() -> None:
    """Polite, bare and right: 1.0 + 0 + 1.0 = 2. Plain, bare and right: 1. sigmoid(2 * (2 - 1)) = 0.8808."""
    polite = Answer("Sure! 85.", "polite", "bare", "plain", right=True)
    plain = Answer("85.", "plain", "bare", "plain", right=True)
    assert make_sample_data.probability_preferred(polite, plain) == pytest.approx(0.880797, abs=1e-6)
    assert make_sample_data.probability_preferred(plain, polite) == pytest.approx(1 - 0.880797, abs=1e-6)


def test_share_of_right_answers_is_that_of_the_mixture() -> None:
    """0.15 * 0.95 + (0.25 + 0.30) * 0.30 + 0.20 * 0.10 = 0.3275; 4,000 draws have a standard error of 0.0074."""
    rng = random.Random(0)
    drawn = [small_talk.answer(Sum(37, "plus", 48), rng).right for _ in range(4000)]
    assert sum(drawn) / len(drawn) == pytest.approx(0.3275, abs=0.03)


def test_data_check_finds_what_the_cards_say() -> None:
    found = validate(assets.path("bad-rows/preferences.jsonl"))
    assert (found.rows, found.examples, found.duplicates, found.contradictions) == (14, 4, 1, 1)
    assert [bad.row_number for bad in found.bad_rows] == list(range(3, 13))
    for kind, sizes in {"preferences": (2000, 400), "prompts": (1000, 250)}.items():
        for split, size in zip(("train", "test"), sizes, strict=True):
            report = validate(assets.path(f"{kind}/{split}.jsonl"))
            assert (report.rows, report.examples, dict(report.bad)) == (size, size, {})


def test_tokenizer_returns_every_answer_as_it_was() -> None:
    tokenizer = make_tiny_policy.make_tokenizer()
    for row in rows("preferences/test.jsonl"):
        for text in (row["prompt"], row["chosen"], row["rejected"]):
            ids = tokenizer(text)["input_ids"]
            assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids) == text


def test_card_names_the_scripts_and_the_weights_by_their_hashes() -> None:
    folder = assets.path("tiny-policy")
    card = (folder / "README.md").read_text(encoding="utf-8")
    sources = b"".join((ROOT / source).read_bytes() for source in make_tiny_policy.SOURCES)
    assert all(source in card for source in make_tiny_policy.SOURCES)
    assert hashlib.sha256(sources).hexdigest() in card
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() in card


def test_tokenizer_is_the_one_that_the_script_makes(tmp_path: Path) -> None:
    make_tiny_policy.make_tokenizer().save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").read_bytes() == assets.path("tiny-policy/tokenizer.json").read_bytes()


def test_weights_follow_from_the_seed() -> None:
    """The script's first two steps, twice; all 4,000 take minutes."""

    def weights() -> dict[str, torch.Tensor]:
        tokenizer = make_tiny_policy.make_tokenizer()
        torch.manual_seed(make_tiny_policy.SEED)
        model = make_tiny_policy.make_model(tokenizer)
        make_tiny_policy.pretrain(model, tokenizer, steps=2)
        return model.state_dict()

    first, again = weights(), weights()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
