"""Secrets in the environment, in settings and in addresses turn up in nothing that is printed, logged or written."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefopt import assets
from prefopt.cli import main
from reward_models.redaction import HIDDEN

CANARY = "canary-swordfish"
ENVIRONMENT = ("HF_TOKEN", "WANDB_API_KEY", "OPENAI_API_KEY", "PREFOPT_SANDBOX_KEY", "DATABASE_PASSWORD")
QUIET = ["--use-cpu", "true", "--disable-tqdm", "true", "--max-steps", "1", "--logging-steps", "1", "--save-steps", "1"]
POLICY = str(assets.path("tiny-policy"))
SMALL = [*QUIET, "--per-device-train-batch-size", "4", "--hub-token", f"{CANARY}-hub"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with data; every variable with a secret's name holds a canary."""
    for number, name in enumerate(ENVIRONMENT):
        monkeypatch.setenv(name, f"{CANARY}-{number}")
    monkeypatch.chdir(tmp_path)
    pairs = [{"prompt": f"What is {n} plus 2?", "chosen": f"{n + 2}.", "rejected": "Maybe 9."} for n in range(1, 9)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    prompts = [{"prompt": pair["prompt"], "answer": pair["chosen"]} for pair in pairs]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in prompts), encoding="utf-8")
    return tmp_path


def leaks(folder: Path) -> Iterator[str]:
    """Files, of whatever kind, that hold a canary; the ones that the test wrote itself apart."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.name.startswith("own_") and CANARY.encode() in file.read_bytes():
            yield str(file.relative_to(folder))


def check(folder: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture) -> str:
    """Nothing printed, logged or written holds a canary; returns what was printed."""
    printed = capsys.readouterr()
    shown = printed.out + printed.err
    assert CANARY not in shown
    assert [record.getMessage() for record in caplog.records if CANARY in record.getMessage()] == []
    assert list(leaks(folder)) == []
    return shown


@pytest.mark.parametrize(
    "arguments", [["doctor"], ["doctor", "--json"], ["methods", "dpo"], ["check-data", "pairs.jsonl"]]
)
def test_commands_that_report(
    folder: Path, arguments: list[str], capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    """What is installed, what a method is, what the data hold."""
    with caplog.at_level(logging.DEBUG):
        main(arguments)
    check(folder, capsys, caplog)


def test_offline(folder: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture) -> None:
    """A run with a token for the hub: settings, manifests, summaries, checkpoints. The token's name stays."""
    arguments = ["align-offline", "--model", POLICY, "--data", "pairs.jsonl", "--output-dir", "run", *SMALL]
    assert main(arguments) == 0
    check(folder, capsys, caplog)
    written = json.loads((folder / "run" / "training_args.json").read_text(encoding="utf-8"))
    assert "hub_token" in written


def test_reward(folder: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture) -> None:
    """The same of a reward model, which then scores."""
    assert main(["train-reward", "--model", POLICY, "--data", "pairs.jsonl", "--output-dir", "reward", *SMALL]) == 0
    assert (
        main(["score", "--model", "reward", "--data", "pairs.jsonl", "--output", "scores.jsonl", "--device", "cpu"])
        == 0
    )
    check(folder, capsys, caplog)


def test_online(folder: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture) -> None:
    """A run with a token for the model's hub among the arguments of its loading."""
    (folder / "own_rewards.py").write_text(
        "import logging\n\n\ndef length(prompts, completions, **columns):\n"
        f"    logging.getLogger('own').warning('asked http://user:{CANARY}-url@host/score')\n"
        "    return [float(len(str(one))) for one in completions]\n",
        encoding="utf-8",
    )
    (folder / "own_run.yaml").write_text(
        f"model: {POLICY}\ndata: prompts.jsonl\noutput_dir: aligned\nrewards: [{{source: 'own_rewards.py:length'}}]\n"
        f"num_generations: 2\nmax_completion_length: 4\nmodel_init_kwargs: {{token: {CANARY}-kwargs}}\n",
        encoding="utf-8",
    )
    assert main(["align-online", "--config", "own_run.yaml", *SMALL]) == 0
    check(folder, capsys, caplog)


@pytest.mark.parametrize(
    "address", ["http://user:{}@127.0.0.1:9", "ftp://user:{}@127.0.0.1/", "http://user:{}@[broken"]
)
def test_addresses_in_messages(
    folder: Path, address: str, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that is not there, an address of another kind, and one that is none: the message shows the rest."""
    (folder / "own_run.yaml").write_text(
        f"model: {POLICY}\ndata: prompts.jsonl\noutput_dir: aligned\nnum_generations: 2\nmax_completion_length: 4\n"
        f"rewards: [{{source: '{address.format(CANARY)}'}}]\n",
        encoding="utf-8",
    )
    assert main(["align-online", "--config", "own_run.yaml", *SMALL]) == 2
    assert HIDDEN in check(folder, capsys, caplog)


def test_an_error_of_the_library_hides_the_user(folder: Path) -> None:
    """Without the command line, too: the exception itself holds no password."""
    from reward_models.errors import ModelError
    from reward_models.remote import score_over_http

    with pytest.raises(ModelError) as raised:
        score_over_http(f"http://user:{CANARY}@127.0.0.1:9", deadline=0.5)
    assert CANARY not in str(raised.value)
    assert CANARY not in repr(score_over_http(f"http://user:{CANARY}@127.0.0.1:9", names=["score"]))


def test_programs_in_the_sandbox_see_no_environment(folder: Path) -> None:
    """A candidate's program that prints its environment prints none of ours."""
    from reward_models.verifiable.sandbox import CONFINED, Sandbox, SandboxUnavailable
    from reward_models.verifiable.sandbox.limits import Limits

    for tier in CONFINED:
        try:
            sandbox = Sandbox.named(tier)
        except SandboxUnavailable:
            continue
        process = sandbox.start("import os; os.write(3, repr(dict(os.environ)).encode())", Limits(wall_seconds=20))
        process.close_input()
        process.wait()
        answer = process.take_answers()
        assert answer.startswith(b"{")
        assert CANARY.encode() not in answer
        return
    pytest.skip("no sandbox contains programs on this machine")
