from __future__ import annotations

import pytest
from datasets import Dataset

from prefopt.errors import UserError
from prefopt.trainers.pairs.tokens import check_pairs, tokenise_pairs
from reward_models.data.quarantine import read_quarantine
from tests.tiny import tiny_tokenizer
from tests.trainers.pairs import pairs

TOKENIZER = tiny_tokenizer()
BOS, EOS = 1, 2


def ids(text: str) -> list[int]:
    return TOKENIZER(text, add_special_tokens=False)["input_ids"]


def one(**row) -> Dataset:
    return Dataset.from_list([{"prompt": "abcd", "chosen": "xyz", "rejected": "uv", **row}])


def tokens(data: Dataset, limit: int = 100, rule: str = "truncate_prompt", **settings):
    return tokenise_pairs(data, TOKENIZER, limit, rule, **settings)


def test_a_prompt_is_what_generation_gets():
    """The tokenizer itself adds nothing before a text, so there is no begin token, although it has one."""
    row = tokens(one()).rows[0]
    assert row["prompt_ids"] == TOKENIZER("abcd")["input_ids"] == ids("abcd")


def test_responses_end_with_one_end_token():
    row = tokens(one(rejected="uv<eos>")).rows[0]
    assert row["chosen_ids"] == [*ids("xyz"), EOS]
    assert row["rejected_ids"] == [*ids("uv"), EOS]


def test_messages_go_through_the_chat_template():
    asked = [{"role": "user", "content": "abcd"}]
    answers = {side: [{"role": "assistant", "content": text}] for side, text in (("chosen", "xyz"), ("rejected", "u"))}
    row = tokens(one(prompt=asked, **answers)).rows[0]
    text = TOKENIZER.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert row["prompt_ids"] == ids(text)
    assert row["chosen_ids"] == [*ids("xyz"), EOS]


def test_truncated_prompts_lose_their_left_and_are_the_same_for_both_answers():
    """4 prompt tokens and 4 of the longer answer (3 and an end) against a limit of 6: two prompt tokens stay."""
    found = tokens(one(), limit=6)
    row = found.rows[0]
    assert row["prompt_ids"] == ids("cd")
    assert (row["chosen_ids"], row["rejected_ids"]) == ([*ids("xyz"), EOS], [*ids("uv"), EOS])
    assert (found.truncated, found.bad) == (1, [])


def test_a_leading_begin_token_is_kept():
    """Begin token and 4 prompt tokens, limit 7, longer answer 4: the begin token and two others stay."""
    row = tokens(one(prompt="<bos>abcd"), limit=7).rows[0]
    assert row["prompt_ids"] == [BOS, *ids("cd")]


def test_truncated_responses_have_no_end_token():
    """4 prompt tokens, limit 6: two tokens of each answer, and the policy does not learn to stop there."""
    found = tokens(one(), limit=6, rule="truncate_response")
    assert (found.rows[0]["chosen_ids"], found.rows[0]["rejected_ids"]) == (ids("xy"), ids("uv"))


@pytest.mark.parametrize(
    ("settings", "limit", "message"),
    [
        ({"rule": "refuse"}, 6, "prompt and answer have 8 tokens, 6 are allowed"),
        ({"rule": "truncate_prompt"}, 4, "the longer answer has 4 tokens, 4 are allowed with its prompt"),
        ({"rule": "truncate_response"}, 4, "the prompt has 4 tokens, 4 are allowed"),
    ],
)
def test_a_pair_that_does_not_fit_is_named(settings, limit, message):
    with pytest.raises(UserError, match=f"training data, row 1: {message}"):
        tokens(one(), limit, **settings)


def test_answers_that_differ_only_beyond_the_limit():
    with pytest.raises(UserError, match="both answers are the same in the first 2 tokens"):
        tokens(one(rejected="xyw"), limit=6, rule="truncate_response")


def test_bad_rows_go_to_quarantine_with_reasons(tmp_path):
    """Limit 16, rows 1 to 4: prompts of 5, 9, 13, 17 tokens; those above stay out."""
    data = Dataset.from_dict(
        {"prompt": ["p" * n for n in (5, 9, 13, 17)], "chosen": ["yes"] * 4, "rejected": ["no"] * 4}
    )
    file = tmp_path / "bad.jsonl"
    found = tokens(data, limit=16, rule="refuse", on_bad_row="quarantine", quarantine=file)
    assert found.rows["row"] == [0, 1]
    written = read_quarantine(file)
    assert [(row.row_number, row.reason) for row in written] == [(3, "over_length"), (4, "over_length")]
    assert written[0].row["prompt"] == "p" * 13


def test_no_pair_left(tmp_path):
    with pytest.raises(UserError, match="none of the 1 pairs fits max_length=3"):
        tokens(one(), limit=3, on_bad_row="quarantine", quarantine=tmp_path / "bad.jsonl")


def test_missing_column_names_column_and_those_present():
    with pytest.raises(UserError, match="no column 'rejected'; it has prompt, chosen"):
        check_pairs(pairs().remove_columns("rejected"), set())
    with pytest.raises(UserError, match="no column 'margin' \\(by how much the chosen response is better\\)"):
        check_pairs(pairs(), {"ref_logps", "margin"})


def test_empty_data():
    with pytest.raises(UserError, match="training data has no rows"):
        check_pairs(pairs().select([]), set())


def test_soft_labels_are_never_trained_as_certain():
    """A tie would count as a preference: say so, unless the objective reads the column."""
    data = pairs(4, label_chosen_preferred=[1.0, 1.0, 0.5, 1.0])
    with pytest.raises(UserError, match=r"row 3: label_chosen_preferred is 0\.5.*labels: soft"):
        check_pairs(data, {"ref_logps"})
    check_pairs(data, {"ref_logps", "label_chosen_preferred"})
    check_pairs(data.select([0, 1, 3]), {"ref_logps"})


def test_labels_must_be_numbers():
    with pytest.raises(UserError, match="row 2: margin is None; it must be a finite number"):
        tokens(pairs(2, margin=[1.0, None]), needs={"margin"})


@pytest.mark.parametrize("column", ["label_chosen_preferred", "label_smoothing"])
def test_a_label_is_a_probability(column):
    """1.3 would turn a soft label's cross-entropy into a loss without a lower end."""
    with pytest.raises(UserError, match=rf"training data, row 1: {column} is 1.3; it is a probability, from 0 to 1"):
        tokens(one(**{column: 1.3}), needs={column})
