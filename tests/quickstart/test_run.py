"""The whole path, at a toy scale; the figures of the real scale are those of ``scripts.bench.quickstart_seeds``."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from prefopt.cli import main
from prefopt.errors import UserError
from prefopt.quickstart import EvaluationSettings, OnlineSettings, RewardModelSettings, Settings, run_quickstart
from prefopt.quickstart.settings import BREVITY, LEARNED, VERIFIER
from prefopt.quickstart.summary import reached
from prefopt.report import Estimate, RunRecord
from reward_models import RewardModel


def toy(folder: Path, seed: int = 0) -> Settings:
    return Settings(
        folder,
        seed,
        rows=32,
        reward_model=RewardModelSettings(epochs=1.0),
        online=OnlineSettings(steps=2, prompts_per_step=4, completions_per_prompt=4),
        evaluation=EvaluationSettings(samples_per_prompt=2, resamples=200, examples=3),
    )


def run(folder: Path, seed: int = 0) -> tuple[dict[str, Any], str]:
    screen = io.StringIO()
    figures = run_quickstart(toy(folder, seed), Console(file=screen, width=110))
    return figures, screen.getvalue()


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    folder = tmp_path_factory.mktemp("quickstart")
    return (folder, *run(folder))


def test_all_that_was_promised_lies_in_the_folder(outcome: tuple[Path, dict[str, Any], str]) -> None:
    folder, figures, screen = outcome
    assert json.loads((folder / "summary.json").read_text(encoding="utf-8")) == figures
    assert "<html" in (folder / "report.html").read_text(encoding="utf-8")
    assert str(folder / "report.html") in screen
    for name in ("base", "online", "offline", "[8/8]"):
        assert name in screen


def test_summary_has_the_figures_that_others_read(outcome: tuple[Path, dict[str, Any], str]) -> None:
    _, figures, _ = outcome
    assert set(figures["policies"]) == {"base", "online", "offline"}
    for policy in figures["policies"].values():
        assert set(policy["rewards"]) == {VERIFIER, LEARNED, BREVITY}
        # Accuracy is the mean of the verifier's scores, by definition.
        assert policy["accuracy"] == policy["rewards"][VERIFIER]
        assert 0 <= policy["accuracy"]["low"] <= policy["accuracy"]["value"] <= policy["accuracy"]["high"] <= 1
    base, online = (figures["policies"][name]["accuracy"]["value"] for name in ("base", "online"))
    assert figures["policies"]["online"]["gain"]["value"] == pytest.approx(online - base)
    assert figures["policies"]["base"]["gain"] is None
    assert 0 <= figures["reward_model"]["accuracy"]["value"] <= 1
    assert len(figures["seconds"]) == 8 + 1
    assert figures["seconds"]["total"] == pytest.approx(sum(figures["seconds"].values()) / 2, abs=0.1)


def test_record_holds_every_step_and_the_scores_of_the_saved_reward_model(
    outcome: tuple[Path, dict[str, Any], str],
) -> None:
    folder, _, _ = outcome
    record = RunRecord.from_json((folder / "record.json").read_text(encoding="utf-8"))
    assert [line["step"] for line in record.history] == [1, 2]
    for line in record.history:
        assert {f"reward/{name}" for name in (VERIFIER, LEARNED, BREVITY)} <= set(line)
    assert [len(policy.samples) for policy in record.policies] == [64, 64, 64]
    model = RewardModel.from_pretrained(folder / "reward-model")
    for example in record.examples:
        for completion in example.completions:
            score = float(model.score([example.prompt], [completion.text])[0, 0])
            assert completion.rewards[LEARNED] == pytest.approx(score, abs=1e-4)
            assert completion.correct == (completion.rewards[VERIFIER] == 1)


def test_same_seed_same_figures(outcome: tuple[Path, dict[str, Any], str], tmp_path: Path) -> None:
    _, first, _ = outcome
    again, other = run(tmp_path / "again")[0], run(tmp_path / "other", seed=1)[0]
    assert again | {"seconds": None} == first | {"seconds": None}
    assert other["policies"] != first["policies"]


@pytest.mark.parametrize(("gain", "verdict"), [(0.2, True), (0.199, False), (math.nan, False)])
def test_goal_is_judged_by_the_measured_gain(gain: float, verdict: bool, tmp_path: Path) -> None:
    assert reached(Estimate(gain), Settings(tmp_path)) is verdict


def test_bad_arguments_are_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    file = tmp_path / "file"
    file.write_text("")
    assert main(["quickstart", "--output-dir", str(file)]) == 2
    assert "is a file; name a folder" in capsys.readouterr().err
    with pytest.raises(UserError, match="seed must not be negative, got -1"):
        Settings(tmp_path, seed=-1)
