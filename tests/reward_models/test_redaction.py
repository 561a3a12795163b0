"""What is hidden, and what is not."""

from __future__ import annotations

import logging
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_models.redaction import HIDDEN, is_secret, redact, redacted, redacted_logs


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no server at http://me:pass@host:8000/x", f"no server at http://{HIDDEN}@host:8000/x"),
        ("https://host/score?api_key=abc&rows=3", f"https://host/score?api_key={HIDDEN}&rows=3"),
        ("Authorization: Bearer abcdefgh12345", f"Authorization: Bearer {HIDDEN}"),
        ("{'hub_token': 'abc', 'rows': 3}", f"{{'hub_token': '{HIDDEN}', 'rows': 3}}"),
        ('{"api-key": "abc"}', f'{{"api-key": "{HIDDEN}"}}'),
        ("password='abc' wrong", f"password='{HIDDEN}' wrong"),
        ("used hf_abcdefghijklmnopqrst for it", f"used {HIDDEN} for it"),
        ("http://me:p@ss@host/x", f"http://{HIDDEN}@host/x"),
        ("http://u:p@one,http://v:q@two", f"http://{HIDDEN}@one,http://{HIDDEN}@two"),
        ("Authorization: Token swordfish", f"Authorization: Token {HIDDEN}"),
        ("X-Api-Key: swordfish", f"X-Api-Key: {HIDDEN}"),
        ("api_key=abc, hub_token=None", f"api_key={HIDDEN}, hub_token=None"),
        ("{'accessToken': 'abc', 'privateKey': 'abc'}", f"{{'accessToken': '{HIDDEN}', 'privateKey': '{HIDDEN}'}}"),
        ('password="it\'s"', f'password="{HIDDEN}"'),
        (r'password="a\"b" wrong', f'password="{HIDDEN}" wrong'),
        ("the key of row 3 is 'abc'", "the key of row 3 is 'abc'"),
        ("pad_token='<pad>', max_tokens='12'", "pad_token='<pad>', max_tokens='12'"),
        ("mail me@example.org, or http://host/a@b", "mail me@example.org, or http://host/a@b"),
        ("a token: 'abc' of the vocabulary", "a token: 'abc' of the vocabulary"),
    ],
)
def test_texts(text: str, shown: str) -> None:
    """Users in addresses, parameters, headers, named values and known forms; nothing else."""
    assert redact(text) == shown


def test_values_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hidden wherever they turn up, if the variable's name says that it is a secret."""
    monkeypatch.setenv("WANDB_API_KEY", "swordfish-1234")
    monkeypatch.setenv("PREFOPT_SANDBOX_KEY", "angelfish-1234")
    monkeypatch.setenv("RUN_NAME", "friendly-name")
    assert redact("swordfish-1234 in friendly-name") == f"{HIDDEN} in friendly-name"
    assert redact("angelfish-1234") == HIDDEN


def test_settings() -> None:
    """By their names, at any depth; counts of tokens, flags and absent values stay."""
    settings = {
        "hub_token": "abc",
        "push_to_hub_token": None,
        "pad_token": "<pad>",
        "max_new_tokens": 12,
        "include_tokens": True,
        "api_keys": ["abc", "def"],
        "suppress_tokens": [1, 2],
        "model_init_kwargs": {"token": "abc", "api_key": "abc", "dtype": "float32"},
        "rewards": [{"source": "http://u:p@host", "headers": {"Authorization": "abc"}}],
    }
    assert redacted(settings) == {
        "hub_token": HIDDEN,
        "push_to_hub_token": None,
        "pad_token": "<pad>",
        "max_new_tokens": 12,
        "include_tokens": True,
        "api_keys": [HIDDEN, HIDDEN],
        "suppress_tokens": [1, 2],
        "model_init_kwargs": {"token": HIDDEN, "api_key": HIDDEN, "dtype": "float32"},
        "rewards": [{"source": f"http://{HIDDEN}@host", "headers": {"Authorization": HIDDEN}}],
    }


def test_names() -> None:
    assert [
        name for name in ("HF_TOKEN", "OPENAI_API_KEY", "aws-secret-key", "key", "db_password") if not is_secret(name)
    ] == []
    assert [name for name in ("eos_token", "keys", "tokenizer", "monkey", "max_tokens", 3) if is_secret(name)] == []


def test_logs(caplog: pytest.LogCaptureFixture) -> None:
    """Records of any logger, with or without arguments; others stay as they are."""
    with redacted_logs(), caplog.at_level(logging.INFO):
        logging.getLogger("a.library").info("asking %s for %d rows", "http://u:p@host", 3)
        logging.getLogger("another").info("%d rows", 3)
    assert [record.getMessage() for record in caplog.records] == [f"asking http://{HIDDEN}@host for 3 rows", "3 rows"]
    assert caplog.records[1].args == (3,)


def test_logged_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    """A traceback holds the error's message, and is formatted by the handler."""
    with redacted_logs():
        try:
            raise ValueError("no server at http://u:swordfish@host")
        except ValueError:
            logging.getLogger("a.library").exception("asking failed")
    assert "swordfish" not in caplog.text
    assert f"ValueError: no server at http://{HIDDEN}@host" in caplog.text


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("message", "given"),
    [
        ("%d rows", ("http://u:swordfish@host",)),
        ("%(rows)s", ({"url": "http://u:swordfish@host"},)),
        ("%s", (Unprintable(),)),
    ],
)
def test_records_that_cannot_be_written(
    message: str, given: tuple[object, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Logging says so on stderr, as ever, and goes on; what it shows of the arguments holds no secret."""
    monkeypatch.setattr(logging, "raiseExceptions", True)
    logger = logging.Logger("alone")
    logger.addHandler(logging.StreamHandler())
    with redacted_logs():
        logger.error(message, *given)
    written = capsys.readouterr().err
    assert "Logging error" in written
    assert "swordfish" not in written


@given(st.text())
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    """What is hidden stays hidden, and the mark itself is no secret."""
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "text", ["a" * 100_000, "a_" * 50_000, "password='" + "a" * 100_000, "http://" + "a@" * 50_000]
)
def test_long_texts_take_no_time(text: str) -> None:
    """Each record that is logged is looked through: 100,000 letters in well under a second (quadratic: a minute)."""
    begin = perf_counter()
    redact(text)
    assert perf_counter() - begin < 5
