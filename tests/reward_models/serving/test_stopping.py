"""``prefopt serve`` as a process: it says when it listens, and stops in good order."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch

from prefopt.cli import main
from reward_models import RewardModel
from tests.reward_models.serving.server import call, tiny_reward_model, wait_until


def test_sigterm_finishes_what_is_queued(tmp_path: Path) -> None:
    """Three requests wait for their batch (1.5 s) when SIGTERM comes. New connections are refused; the three get the
    scores of `RewardModel.score`; the process ends with status 0."""
    folder = tmp_path / "reward"
    tiny_reward_model(tmp_path / "base").save_pretrained(folder)
    command = [sys.executable, "-m", "prefopt", "serve", "--model", str(folder), "--port", "0", "--model-name", "rm"]
    command += ["--max-wait-ms", "1500", "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(90, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(
            r"Serving rm on (http://127\.0\.0\.1:\d+) \(heads: helpful, brief; at most 512 tokens a text\)\n", line
        )
        assert found, line + process.communicate(timeout=10)[1]
        url = found[1]
        answers: list[Any] = [None] * 3

        def client(number: int) -> None:
            answers[number] = call(f"{url}/score", {"prompts": ["Hi"], "completions": ["x" * (number + 1)]})

        threads = [threading.Thread(target=client, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: call(f"{url}/info").body["waiting"] == 3)
        process.send_signal(signal.SIGTERM)

        def refused() -> bool:
            try:
                return call(f"{url}/health").status == 503
            except (URLError, ConnectionError):
                return True

        wait_until(refused)
        for thread in threads:
            thread.join(20)
        output, errors = process.communicate(timeout=20)
        assert (process.returncode, output) == (0, "Stopped.\n"), errors
        assert "Traceback" not in errors
    finally:
        watchdog.cancel()
        process.kill()
    assert [answer.status for answer in answers] == [200] * 3
    expected = RewardModel.from_pretrained(folder).score(["Hi"] * 3, ["x", "xx", "xxx"])
    scores = torch.tensor([answer.body["scores"][0] for answer in answers])
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)


def test_mistakes_are_told_before_anything_is_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def complaint(*flags: str) -> str:
        assert main(["serve", *flags]) == 2
        return capsys.readouterr().err

    missing = str(tmp_path / "no-model")
    assert complaint("--port", "0") == (
        "Error: prefopt serve: --model must be given, as a flag or in the file of --config.\n"
    )
    assert complaint("--model", missing, "--port", "0") == f"Error: model folder {missing} does not exist\n"
    assert "queue_size must be positive, got 0" in complaint("--model", missing, "--queue-size", "0")
    assert "cannot listen on 127.0.0.1:99999" in complaint("--model", missing, "--port", "99999")


def test_without_the_web_libraries(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["serve", "--model", "x"]) == 2
    expected = "Error: prefopt serve needs fastapi and uvicorn: pip install 'prefopt[serve]'\n"
    assert capsys.readouterr().err == expected
