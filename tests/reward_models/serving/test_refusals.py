"""What is refused, with which status and in which words; and that nothing without a score gets one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from reward_models import RewardModel
from reward_models.errors import ModelError
from reward_models.formatting import Encoded
from reward_models.serving import ServingSettings, bind, create_app
from tests.reward_models.serving.server import Held, call, running, service_of, tiny_reward_model, together, wait_until

PAIR = {"prompts": ["a"], "completions": ["b"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> RewardModel:
    return tiny_reward_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def strict(model: RewardModel) -> Iterator[str]:
    """A server that takes 8 texts at once, of 20 tokens each, and cuts none."""
    with running(service_of(model, queue_size=8, max_length=20, truncate=False, max_body_mb=1)) as url:
        yield url


BAD = [
    ("/score", {}, 400, "prompts: is missing; completions: is missing"),
    ("/score", {"prompts": [], "completions": []}, 400, "prompts: must not be empty; completions: must not be empty"),
    ("/score", {"prompts": "a", "completions": ["b"]}, 400, "prompts: must be a list"),
    ("/score", {**PAIR, "completion": ["b"]}, 400, "completion: is no field of this request"),
    ("/score", {**PAIR, "truncate": "no"}, 400, "truncate: must be true or false"),
    ("/score", {"prompts": ["a", "b"], "completions": ["c"]}, 400, "completions: 1 for 2 prompts; they must pair up"),
    ("/score", {"prompts": ["a", 3], "completions": ["b", "c"]}, 400,
     "prompts[1]: expected text or a list of messages, found a number"),
    ("/score", {"prompts": ["a"], "completions": [None]}, 400,
     "completions[0]: expected text or a list of messages, found null"),
    ("/score", {"prompts": [[]], "completions": ["b"]}, 400,
     "prompts[0]: expected a list of messages, found an empty list"),
    ("/score", {"prompts": [["a"]], "completions": ["b"]}, 400,
     "prompts[0][0]: expected a message with role and content, found text"),
    ("/score", {"prompts": [[{"role": "user"}]], "completions": ["b"]}, 400, "prompts[0][0].content: is missing"),
    ("/score", {"prompts": [[{"role": "user", "content": [{"type": "text"}]}]], "completions": ["b"]}, 400,
     "prompts[0][0].content: expected text, found a list"),
    ("/score", {"prompts": ["\ud800"], "completions": ["b"]}, 400,
     "prompts[0]: no valid Unicode (half of a surrogate pair)"),
    # 1 start + 10 + 10 + 1 end = 22 tokens.
    ("/score", {"prompts": ["a", "p" * 10], "completions": ["b", "c" * 10]}, 400,
     "completions[1]: 22 tokens, but at most 20 are scored; shorten it"),
    ("/score", {"prompts": ["a"] * 9, "completions": ["b"] * 9}, 413,
     "9 texts in one request; this server takes 8: send several"),
    ("/get_reward", {"query": []}, 400, "query: must not be empty"),
    ("/get_reward", {"query": ["a", "b"], "prompts": ["a"]}, 400,
     "prompts: 1 for 2 queries; leave them out, or pair them up"),
    ("/get_reward", {"query": ["a", 1]}, 400, "query[1]: expected text, found a number"),
    ("/get_reward", {"query": ["a" * 30]}, 400, "query[0]: 32 tokens, but at most 20 are scored; shorten it"),
    ("/classify", {}, 400, "input: exactly one of input and messages must be given"),
    ("/classify", {"input": "a", "model": "other"}, 404, "model: 'other' is not served here; this server has 'tiny'"),
    ("/classify", {"input": []}, 400, "input: expected text, token ids, or a list of them, found an empty list"),
    ("/classify", {"input": ["a", True]}, 400, "input[1]: expected text, found true or false"),
    ("/classify", {"input": [1, "a"]}, 400, "input[1]: expected a token id, found text"),
    ("/classify", {"input": [[1], [2, 263]]}, 400, "input[1][1]: token 263 is not in the vocabulary of 263"),
    ("/classify", {"input": [-1]}, 400, "input[0]: token -1 is not in the vocabulary of 263"),
    ("/classify", {"input": [[]]}, 400, "input[0]: no tokens; the model needs at least one"),
    ("/classify", {"input": [1] * 21}, 400, "input: 21 tokens, but at most 20 are scored; token ids are never cut"),
    ("/classify", {"input": "a", "truncate_prompt_tokens": 8}, 400,
     "truncate_prompt_tokens: null or -1; another length would score another text"),
    ("/classify", {"input": "a", "use_activation": 0}, 400, "use_activation: must be true or false"),
    ("/classify", {"messages": [{"role": "user", "content": "a"}]}, 400,
     "messages: the last message must be the assistant's: it is what is scored"),
    ("/classify", ["a"], 400, "body: must be a JSON object, sent with Content-Type: application/json"),
    ("/scores", {}, 404, "/scores: Not Found"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "status", "message"), BAD)
def test_bad_requests(strict: str, path: str, body: Any, status: int, message: str) -> None:
    """``param`` is the field that the message starts with."""
    answer = call(strict + path, body)
    assert (answer.status, answer.body["error"]["message"]) == (status, message)
    assert answer.body["error"]["code"] == status
    field = answer.body["error"]["param"]
    assert field is None or message.startswith(f"{field}: ")


def test_no_json(strict: str) -> None:
    answer = call(f"{strict}/score", raw=b'{"prompts": [')
    assert answer.status == 400
    assert answer.body["error"]["message"].startswith("the body is no valid JSON: ")
    form = call(f"{strict}/score", raw=b"a=b", kind="application/x-www-form-urlencoded")
    assert (form.status, form.body["error"]["param"]) == (400, "body")


def test_a_body_over_the_limit(strict: str) -> None:
    """1 MiB is taken."""
    answer = call(f"{strict}/score", {"prompts": ["a" * (1 << 20)], "completions": ["b"]})
    assert (answer.status, answer.body["error"]["message"]) == (413, "the body is over 1 MiB: send several")


def test_refused_texts_leave_no_trace(strict: str) -> None:
    """After all refusals of this module the queue is empty, and the next pair is scored."""
    assert call(f"{strict}/info").body["waiting"] == 0
    assert call(f"{strict}/score", PAIR).status == 200


def test_truncation_can_be_asked_for(strict: str) -> None:
    """A request may override the server: here it does not cut."""
    body = {"prompts": ["p" * 30], "completions": ["b"], "truncate": True}
    assert call(f"{strict}/score", body).body["truncated"] == [0]
    answer = call(f"{strict}/classify", {"input": "p" * 30, "truncate_prompt_tokens": -1})
    assert (answer.status, answer.body["truncated"]) == (200, [0])


def test_overload_is_refused_and_what_was_taken_in_is_scored(model: RewardModel) -> None:
    """4 places. While the model is held, 4 clients of 1 text are taken in; the other 6 get 429 with Retry-After.
    Once the model goes on, the 4 get the right score, and there is room again."""
    service = service_of(model, queue_size=4)
    held = Held(service)
    with running(service) as url:
        answers: list[Any] = []

        def release() -> None:
            wait_until(lambda: len(answers) == 6)
            assert service.batcher.admitted == 4
            ready = call(f"{url}/ready")
            assert (ready.status, "Retry-After" in {k.title() for k in ready.headers}) == (503, True)
            assert call(f"{url}/health").status == 200
            held.release.set()

        def client() -> Any:
            answer = call(f"{url}/score", PAIR)
            if answer.status == 429:
                answers.append(answer)
            return answer

        done = together([release, *[client] * 10])[1:]
        assert call(f"{url}/ready").status == 200
        assert call(f"{url}/info").body["counts"]["refused"] == 6
        assert call(f"{url}/score", PAIR).status == 200
    assert sorted(answer.status for answer in done) == [200] * 4 + [429] * 6
    for answer in answers:
        assert {k.title(): v for k, v in answer.headers.items()}["Retry-After"] == "1"
        assert answer.body["error"]["message"] == "the queue of 4 texts is full; try again later"
    expected = model.score(["a"], ["b"])
    for answer in done:
        if answer.status == 200:
            torch.testing.assert_close(torch.tensor(answer.body["scores"]), expected, rtol=0, atol=1e-5)


def test_a_request_that_takes_too_long(model: RewardModel) -> None:
    """The model is held for longer than 1 s: status 503; its place is free afterwards, and rows that still wait are
    dropped (the second request never reaches the model)."""
    service = service_of(model, request_timeout=1.0)
    held = Held(service)
    with running(service) as url:
        first = call(f"{url}/score", PAIR)
        second = call(f"{url}/score", {"prompts": ["c"], "completions": ["d"]})
        held.release.set()
        wait_until(lambda: service.batcher.counts.scored == 1)
        assert call(f"{url}/score", {"prompts": ["e"], "completions": ["f"]}).status == 200
        assert call(f"{url}/info").body["waiting"] == 0
    for answer in (first, second):
        assert (answer.status, answer.body["error"]["message"]) == (
            503,
            "not scored within 1 s; send fewer texts at once",
        )
    assert held.batches == [1, 1]
    assert service.batcher.counts.scored == 2


@pytest.fixture
def broken(model: RewardModel) -> Iterator[str]:
    """A server whose model raises on texts with a 'c' (byte 99) and gives NaN for those with an 'n', head 2 only."""
    service = service_of(model)
    inner = service.batcher.score
    raises, nan = (model.tokenizer.convert_tokens_to_ids(symbol) for symbol in "cn")

    def score(rows: list[Encoded]) -> Tensor:
        if any(raises in row.input_ids for row in rows):
            raise RuntimeError("out of luck")
        scores = inner(rows).clone()
        scores[[nan in row.input_ids for row in rows], 1] = float("nan")
        return scores

    service.batcher.score = score
    with running(service) as url:
        yield url


def test_a_text_without_a_score_is_null_with_its_reason(broken: str, model: RewardModel) -> None:
    """Rows: fine, raises, NaN in the second head, fine."""
    answer = call(f"{broken}/score", {"prompts": ["a"] * 4, "completions": ["b", "c", "n", "d"]})
    fine = model.score(["a", "a", "a"], ["b", "n", "d"]).tolist()
    expected = [fine[0], [None, None], [fine[1][0], None], fine[2]]
    assert answer.status == 200
    for found, row in zip(answer.body["scores"], expected, strict=True):
        assert found == pytest.approx(row, abs=1e-5)
    assert answer.body["unscored"] == {"1": "RuntimeError: out of luck", "2": "the score is not finite"}


@pytest.mark.parametrize(("path", "key"), [("/get_reward", "query"), ("/classify", "input")])
def test_protocols_without_null_get_an_error(broken: str, path: str, key: str) -> None:
    for text, reason in (("c", "RuntimeError: out of luck"), ("n", "the score is not finite")):
        answer = call(broken + path, {key: ["b", text]})
        expected = f"{key}[1]: no score for this text: {reason}"
        assert (answer.status, answer.body["error"]["message"]) == (500, expected)


def test_health_after_three_failures(broken: str) -> None:
    """A model that fails on everything is ill; a score makes it well again."""
    for _ in range(3):
        assert call(f"{broken}/health").status == 200
        call(f"{broken}/score", {"prompts": ["a"], "completions": ["c"]})
    ill = call(f"{broken}/health")
    assert (ill.status, ill.body) == (503, {"status": "the last 3 texts could not be scored"})
    call(f"{broken}/score", PAIR)
    assert call(f"{broken}/health").body == {"status": "ok"}


def test_info_and_models(strict: str) -> None:
    info = call(f"{strict}/info").body
    assert (info["model"], info["names"], info["max_length"]) == ("tiny", ["helpful", "brief"], 20)
    assert info["settings"]["queue_size"] == 8
    assert call(f"{strict}/v1/models").body["data"] == [{"id": "tiny", "object": "model", "max_model_len": 20}]


def test_an_unknown_head(model: RewardModel) -> None:
    service = service_of(model)
    with pytest.raises(ModelError, match="the model has no head 'kind'; it has helpful, brief"):
        create_app(service, "kind")
    service.close()


def test_an_address_that_is_taken() -> None:
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ModelError, match=f"cannot listen on 127.0.0.1:{port}: .*choose another --host or --port"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("queue_size", 0, "queue_size must be positive, got 0"),
        ("max_batch_tokens", -1, "max_batch_tokens must be positive, got -1"),
        ("max_wait_ms", -1, "max_wait_ms must not be negative, got -1"),
        ("max_length", 0, "max_length must be positive, got 0"),
    ],
)
def test_bad_settings(name: str, value: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ServingSettings(**{name: value})  # type: ignore[arg-type]
