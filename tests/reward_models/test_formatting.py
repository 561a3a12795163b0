"""From (prompt, completion) to token ids.

The tiny tokenizer has one id a byte; bos 1, eos 2, system 4, user 5, assistant 6.
"""

from __future__ import annotations

import logging

import pytest
from tokenizers import processors

from reward_models import RewardModel
from reward_models.errors import DataError, ModelError
from reward_models.formatting import Formatter
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer

TOKENIZER = tiny_tokenizer()


def ids(text: str) -> list[int]:
    return TOKENIZER(text, add_special_tokens=False)["input_ids"]


def test_text_is_prompt_completion_eos():
    """Prompt + completion + eos; the response starts after 2 tokens."""
    row = Formatter(TOKENIZER).encode("ab", "cde")
    assert row.input_ids == [*ids("ab"), *ids("cde"), 2]
    assert row.response_start == 2


def test_the_start_is_what_the_tokenizer_adds():
    """A tokenizer that puts bos before a text does so here, before the prompt; a chat template has its own."""
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 1)]
    )
    row = Formatter(tokenizer).encode("ab", "c")
    assert (row.input_ids, row.response_start) == ([1, *ids("ab"), *ids("c"), 2], 3)
    assert Formatter(tokenizer).encode([{"role": "user", "content": "a"}], "c").input_ids[0] == 5


def test_an_eos_that_is_there_is_not_doubled():
    """A completion that ends with the end token keeps one."""
    assert Formatter(TOKENIZER).encode("a", "b<eos>").input_ids == [*ids("a"), *ids("b"), 2]


def test_messages_go_through_the_chat_template():
    """``<|user|>hi<eos><|assistant|>`` is the prompt, ``yo<eos>`` the response; a string answer equals a message."""
    prompt = [{"role": "user", "content": "hi"}]
    row = Formatter(TOKENIZER).encode(prompt, [{"role": "assistant", "content": "yo"}])
    assert row.input_ids == [5, *ids("hi"), 2, 6, *ids("yo"), 2]
    assert row.response_start == 5
    assert Formatter(TOKENIZER).encode(prompt, "yo") == row


def test_messages_without_a_template_become_a_transcript():
    """Roles are written out where the tokenizer has no template."""
    plain = tiny_tokenizer(chat=False)
    row = Formatter(plain).encode([{"role": "user", "content": "hi"}], "yo")
    assert plain.decode(row.input_ids[:-1]) == "User: hi\n\nAssistant: yo"


def test_an_encoder_separates_prompt_and_completion():
    """cls + prompt + sep + completion + sep."""
    row = Formatter(tiny_tokenizer(encoder=True)).encode("ab", "c")
    assert row.input_ids == [1, *ids("ab"), 2, *ids("c"), 2]


def test_the_prompt_is_cut_on_its_left():
    """max 7 = 3 of the prompt + 3 of the answer + eos: the prompt loses its first 3 of 6 tokens."""
    row = Formatter(TOKENIZER, 7).encode("abcdef", "xyz")
    assert row.input_ids == [*ids("def"), *ids("xyz"), 2]
    assert (row.prompt_cut, row.response_cut) == (3, 0)


@pytest.mark.parametrize("end", ["", "<eos>"])
def test_an_answer_longer_than_everything_is_cut_on_its_right(end):
    """max 5 = 4 of the answer + eos; the whole prompt goes, and both counts say so."""
    row = Formatter(TOKENIZER, 5).encode("ab", "uvwxyz" + end)
    assert row.input_ids == [*ids("uvwx"), 2]
    assert (row.prompt_cut, row.response_cut) == (2, 2)


def test_a_length_without_room_is_refused():
    """eos leaves nothing of 1 token."""
    with pytest.raises(DataError, match="no room"):
        Formatter(TOKENIZER, 1).encode("a", "b")


def test_the_prompt_never_depends_on_the_response():
    """The ids before response_start are the same for every answer."""
    rows = [Formatter(TOKENIZER).encode("ab ", answer) for answer in ("c", " c", "", "ü")]
    assert {tuple(row.input_ids[: row.response_start]) for row in rows} == {tuple(ids("ab "))}


@pytest.mark.parametrize("max_length", [None, 6])
@pytest.mark.parametrize("tokenizer", [TOKENIZER, tiny_tokenizer(chat=False), tiny_tokenizer(encoder=True)])
def test_many_at_once_equal_one_by_one(tokenizer, max_length):
    """Text, messages, empty and repeated texts, cut or not: one call of the tokenizer changes no id."""
    hello = [{"role": "user", "content": "hello"}]
    prompts = ["abcdefgh", "", hello, "abcdefgh", hello, "ü"]
    completions = ["x", "", "uvwxyz", "uvwxyz<eos>", [{"role": "assistant", "content": "yo"}], "x"]
    formatter = Formatter(tokenizer, max_length)
    expected = [formatter.encode(p, c) for p, c in zip(prompts, completions, strict=True)]
    assert formatter.encode_many(prompts, completions) == expected
    assert formatter.encode_many([], []) == []


def test_score_says_how_many_were_cut(tmp_path, caplog):
    """One of two prompts is longer than max_length."""
    model = RewardModel.from_backbone(save_tiny(tmp_path, tiny_llama(), TOKENIZER))
    with caplog.at_level(logging.WARNING):
        model.score(["a" * 50, "a"], ["b", "b"], max_length=20)
    assert "cut on the left in 1 of 2 rows" in caplog.text
    with pytest.raises(ModelError, match="longer than the model's 512 positions"):
        model.score(["a"], ["b"], max_length=513)
