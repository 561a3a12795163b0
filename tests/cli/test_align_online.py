"""``prefopt align-online``: from a YAML file to a saved policy, and what a mistake in it gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import AutoModelForCausalLM

from prefopt.cli import main
from prefopt.cli.align_online import AlignOnlineArguments
from prefopt.cli.arguments import parse
from prefopt.trainers.online_config import OnlineConfig
from reward_models.model import RewardModel
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer

EXAMPLE = Path(__file__).parents[2] / "examples" / "align.yaml"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """A run of two steps against a verifier, a reward model and a user's function."""
    policy = save_tiny(tmp_path / "policy", tiny_llama(), tiny_tokenizer())
    backbone = save_tiny(tmp_path / "backbone", tiny_llama(head=False, seed=1), tiny_tokenizer())
    RewardModel.from_backbone(backbone, ["score"], None).save_pretrained(tmp_path / "judge")
    rows = [{"prompt": f"{i} plus {i}?", "answer": str(2 * i)} for i in range(8)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine.py").write_text(
        "def brief(prompts, completions, wish):\n    return [-len(c) for c in completions]\n"
    )
    return {
        "model": str(policy),
        "data": str(tmp_path / "prompts.jsonl"),
        "output_dir": str(tmp_path / "out"),
        "rewards": [
            {"source": "exact_answer", "weight": 2.0},
            {"source": str(tmp_path / "judge"), "transform": "log_sigmoid", "settings": {"batch_size": 4}},
            {"source": f"{tmp_path / 'mine.py'}:brief", "columns": {"wish": "answer"}, "weight": 0.1},
        ],
        "recipe": {"recipe": "gdpo", "gate": "sapo"},
        "num_generations": 4,
        "per_device_train_batch_size": 8,
        "max_completion_length": 4,
        "max_steps": 2,
        "logging_steps": 1,
        "learning_rate": 1e-3,
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
    }


def run(tmp_path: Path, settings: dict[str, Any], *flags: str) -> int:
    """Write the YAML file and run the command on it."""
    path = tmp_path / "align.yaml"
    path.write_text(yaml.safe_dump(settings))
    return main(["align-online", "--config", str(path), *flags])


def test_a_run(tmp_path: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Three kinds of sources, weights, a transform and a recipe by parts; model, history and summary are written."""
    assert run(tmp_path, settings, "--max-steps", "3") == 0
    folder = tmp_path / "out"
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert {"reward/exact_answer", "reward/judge", "reward/brief"} <= set(lines[0])
    assert lines[0]["reward/judge"] < 0  # a log sigmoid
    assert "weights=(2.0, 1.0, 0.1)" in json.loads((folder / "alignment.json").read_text())["parts"]["weighting"]
    assert AutoModelForCausalLM.from_pretrained(folder).config.vocab_size == 263
    page = (folder / "README.md").read_text()
    assert "recipe `gdpo`, 3 steps" in page
    assert "Rewards: `exact_answer`, `judge`, `brief`." in page
    assert "2511.20347" in page  # the gate's paper
    printed = capsys.readouterr().out
    assert "Aligned policy" in printed
    assert "judge" in printed


def test_resume(tmp_path: Path, settings: dict[str, Any]) -> None:
    """``--resume`` goes on from the last checkpoint: the history has every step once."""
    settings |= {"save_strategy": "steps", "save_steps": 2}
    assert run(tmp_path, settings) == 0
    assert run(tmp_path, settings, "--resume", "--max-steps", "4") == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipee": "grpo"}, "unknown key 'recipee'. Did you mean 'recipe'"),
        ({"recipe": "gdop"}, "unknown recipe 'gdop'. Did you mean 'gdpo'"),
        ({"weighting": "mo_grpo", "recipe": "grpo"}, "takes no weights"),
        ({"loss_type": "grpo"}, "has no effect here"),
        ({"num_generations": 3}, "does not divide into groups of num_generations=3"),
        ({"rewards": [{"source": "exact_answer", "columns": {"answer": "truth"}}]}, "reads the column 'truth'"),
        ({"rewards": "exact_answer"}, "rewards"),
        ({"max_steps": "many"}, "max_steps"),
        ({"model": "nowhere"}, "nowhere"),
        ({"data": "nowhere.jsonl"}, "nowhere.jsonl"),
    ],
)
def test_mistakes(
    tmp_path: Path, settings: dict[str, Any], change: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2 and one message that names the key; nothing was written."""
    assert run(tmp_path, settings | change) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_example_parses() -> None:
    """The file in ``examples`` has the command in its first line and only keys that exist."""
    assert EXAMPLE.read_text().splitlines()[0] == "# prefopt align-online --config examples/align.yaml"
    arguments, config = parse(["--config", str(EXAMPLE)], "align-online", AlignOnlineArguments, OnlineConfig)
    assert [entry["source"] for entry in arguments.rewards] == ["exact_answer", "length", "format"]
    assert (config.recipe, config.num_generations) == ("gdpo", 8)
