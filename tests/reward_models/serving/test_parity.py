"""The scores that come over HTTP are those of `RewardModel.score`, however requests are batched."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from reward_models import RewardModel
from reward_models.formatting import Encoded
from reward_models.serving import ScoringService
from tests.reward_models.serving.server import HEADS, call, running, service_of, tiny_reward_model, together
from tests.tiny import save_tiny, tiny_bert, tiny_tokenizer

CHAT = [{"role": "user", "content": "Why is the sky blue?"}]
REPLY = [{"role": "assistant", "content": "It scatters."}]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> RewardModel:
    return tiny_reward_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def service(model: RewardModel) -> ScoringService:
    return service_of(model, max_batch_tokens=256, max_wait_ms=20.0)


@pytest.fixture(scope="module")
def url(service: ScoringService) -> Iterator[str]:
    with running(service, head="brief") as url:
        yield url


def close(found: list[list[float]], expected: torch.Tensor) -> None:
    torch.testing.assert_close(torch.tensor(found), expected, rtol=0, atol=1e-5)


def test_score_all_heads(url: str, model: RewardModel) -> None:
    """Texts, messages, and a text that answers messages; (N, 2) in the order of the heads."""
    prompts = ["Hi", CHAT, CHAT, ""]
    completions = ["there", REPLY, "It scatters.", "x"]
    answer = call(f"{url}/score", {"prompts": prompts, "completions": completions})
    assert (answer.status, answer.body["names"]) == (200, list(HEADS))
    assert (answer.body["unscored"], answer.body["truncated"]) == ({}, [])
    close(answer.body["scores"], model.score(prompts, completions))


def test_many_clients_at_once(url: str, model: RewardModel, service: ScoringService) -> None:
    """12 clients send 7 pairs each, at once, of 30 different pairs: each gets the scores of its own pairs in its own
    order, although all share passes of at most 256 tokens. 84 texts take fewer passes than 84, and at least
    the share of each that is equal to another of the same pass is not scored again."""
    rng = random.Random(0)
    pool = [("Q" * rng.randint(1, 40), "a" * rng.randint(1, 60)) for _ in range(30)]
    requests = [[rng.choice(pool) for _ in range(7)] for _ in range(12)]
    before = vars(service.batcher.counts).copy()
    bodies = [{"prompts": [p for p, _ in pairs], "completions": [c for _, c in pairs]} for pairs in requests]
    answers = together([lambda body=body: call(f"{url}/score", body) for body in bodies])
    for pairs, answer in zip(requests, answers, strict=True):
        assert answer.status == 200
        close(answer.body["scores"], model.score([p for p, _ in pairs], [c for _, c in pairs], batch_size=1))
    done = {name: value - before[name] for name, value in vars(service.batcher.counts).items()}
    assert done["texts"] == 84
    assert done["scored"] + done["shared"] == 84
    assert done["passes"] < 84
    assert done["shared"] > 0


def test_get_reward_tells_prompt_and_response_apart(url: str, model: RewardModel) -> None:
    """The first query starts with its prompt: scored as the pair. The second does not: the whole as a response to an
    empty prompt, and marked. ``rewards`` are those of the head that the server was told (brief), ``scores`` their
    sigmoids."""
    body = {"query": ["Hi there", "Hi there"], "prompts": ["Hi ", "Ho "], "labels": ["", ""]}
    answer = call(f"{url}/get_reward", body)
    expected = model.score(["Hi ", ""], ["there", "Hi there"])
    assert answer.status == 200
    extra = answer.body["extra_logs"]
    close([extra["helpful"], extra["brief"]], expected.T)
    assert answer.body["rewards"] == extra["brief"]
    assert answer.body["scores"] == pytest.approx([1 / (1 + math.exp(-value)) for value in extra["brief"]])
    assert (extra["prompt_not_found"], extra["truncated"]) == ([0.0, 1.0], [0.0, 0.0])


def test_get_reward_takes_rendered_chats(url: str, model: RewardModel) -> None:
    """A policy sends the chat as its template wrote it, with or without the start token: the scores are those of the
    messages."""
    prompt = "<|user|>Why is the sky blue?<eos><|assistant|>"
    assert model.tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True) == "<bos>" + prompt
    query = prompt + "It scatters.<eos>"
    body = {"query": [query, "<bos>" + query, "<bos>" + query], "prompts": [prompt, prompt, "<bos>" + prompt]}
    answer = call(f"{url}/get_reward", body).body["extra_logs"]
    close([answer["helpful"], answer["brief"]], model.score([CHAT], [REPLY]).T.expand(2, 3))
    assert answer["prompt_not_found"] == [0.0, 0.0, 0.0]


def test_get_reward_without_prompts(url: str, model: RewardModel) -> None:
    """Nothing is said to be missing."""
    answer = call(f"{url}/get_reward", {"query": ["Hi there"]}).body
    close([[answer["extra_logs"][name][0] for name in HEADS]], model.score([""], ["Hi there"]))
    assert "prompt_not_found" not in answer["extra_logs"]


def test_classify_without_activation_is_the_reward(url: str, model: RewardModel) -> None:
    answer = call(f"{url}/classify", {"model": "tiny", "input": ["Hi there", "<bos>Ho"], "use_activation": False})
    expected = model.score(["", ""], ["Hi there", "Ho"])
    close([row["probs"] for row in answer.body["data"]], expected)
    labels = [HEADS[int(row.argmax())] for row in expected]
    assert [(r["index"], r["label"], r["num_classes"]) for r in answer.body["data"]] == [
        (0, labels[0], 2),
        (1, labels[1], 2),
    ]
    # One token a byte, with start and end: 8 + 2 and 2 + 2.
    assert answer.body["usage"] == {"prompt_tokens": 14, "total_tokens": 14, "completion_tokens": 0}


@pytest.mark.parametrize("sent", [{}, {"use_activation": True}, {"use_activation": None}])
def test_classify_activates_unless_told_otherwise(url: str, model: RewardModel, sent: dict[str, object]) -> None:
    """The sigmoid, head by head, as vLLM gives for a single label."""
    answer = call(f"{url}/classify", {"input": "Hi there", **sent})
    close([answer.body["data"][0]["probs"]], torch.sigmoid(model.score([""], ["Hi there"])))


def test_classify_takes_messages_and_token_ids(url: str, model: RewardModel) -> None:
    """Token ids are scored as they are: those of the pair give the pair's scores."""
    ids = model.formatter().encode("Hi ", "there").input_ids
    chat = call(f"{url}/classify", {"messages": CHAT + REPLY, "use_activation": False}).body["data"]
    one = call(f"{url}/classify", {"input": ids, "use_activation": False}).body["data"]
    two = call(f"{url}/classify", {"input": [ids, ids[:3]], "use_activation": False}).body["data"]
    close([chat[0]["probs"]], model.score([CHAT], [REPLY]))
    close([one[0]["probs"], two[0]["probs"]], model.score(["Hi ", "Hi "], ["there", "there"]))
    close([two[1]["probs"]], model.score_encoded([Encoded(ids[:3], 0)]))


def test_an_encoder_is_served_too(tmp_path: Path) -> None:
    """BERT with mean pooling: pairs, and whole texts as responses to an empty prompt."""
    save_tiny(tmp_path, tiny_bert(), tiny_tokenizer(encoder=True, chat=False))
    torch.manual_seed(2)
    model = RewardModel.from_backbone(tmp_path).eval()
    with running(service_of(model)) as url:
        pairs = call(f"{url}/score", {"prompts": ["a", "b"], "completions": ["cd", "e"]}).body
        whole = call(f"{url}/get_reward", {"query": ["abc"]}).body
    close(pairs["scores"], model.score(["a", "b"], ["cd", "e"]))
    close([whole["rewards"]], model.score([""], ["abc"]))


def test_long_texts_are_cut_as_in_training_and_reported(model: RewardModel) -> None:
    """At most 16 tokens with start and end: 14 bytes. A pair of 20 + 4 bytes loses 10 of its prompt; a whole text of 24
    bytes loses the same 10 on its left, so that both score alike."""
    with running(service_of(model, max_length=16)) as url:
        pair = call(f"{url}/score", {"prompts": ["x", "p" * 20], "completions": ["y", "done"]}).body
        whole = call(f"{url}/get_reward", {"query": ["p" * 20 + "done", "xy"]}).body
        same = call(f"{url}/classify", {"input": "p" * 20 + "done", "use_activation": False}).body
    expected = model.score(["x", "p" * 10], ["y", "done"])
    close(pair["scores"], expected)
    assert pair["truncated"] == [1]
    close([[whole["extra_logs"][name][0] for name in HEADS]], expected[1:])
    assert whole["extra_logs"]["truncated"] == [1.0, 0.0]
    close([same["data"][0]["probs"]], expected[1:])
    assert same["truncated"] == [0]
