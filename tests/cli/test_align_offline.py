from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefopt.cli import main
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer


@pytest.fixture
def model(tmp_path) -> Path:
    return save_tiny(tmp_path / "model", tiny_llama(), tiny_tokenizer(pad=False))


@pytest.fixture
def data(tmp_path) -> Path:
    return written(tmp_path / "pairs.jsonl", [row(i) for i in range(6)])


def row(i: int, **columns) -> dict:
    return {"prompt": f"Question {i}?", "chosen": f"Yes {i}.", "rejected": f"No {i}!", **columns}


def written(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def align(model, data, folder, *more: str) -> int:
    quiet = ["--use-cpu", "--disable-tqdm", "--max-steps", "2", "--logging-steps", "1", "--save-strategy", "no"]
    return main(
        ["align-offline", "--model", str(model), "--data", str(data), "--output-dir", str(folder), *quiet, *more]
    )


def test_aligns_and_says_where(model, data, tmp_path, capsys):
    """A tokenizer without a pad token is handled."""
    assert align(model, data, tmp_path / "out", "--recipe", "ipo", "--eval-data", str(data)) == 0
    said = capsys.readouterr().out
    assert f"ipo: aligned model in {tmp_path / 'out'}" in said
    assert "held out: loss " in said
    assert len((tmp_path / "out" / "history.jsonl").read_text().splitlines()) >= 2
    assert json.loads((tmp_path / "out" / "alignment.json").read_text())["pairs"] == 6


def test_config_file_and_flags_over_it(model, data, tmp_path):
    config = tmp_path / "align.yaml"
    config.write_text("recipe: {recipe: dpo, beta: 0.3, pair_weight: wpo}\nlearning_rate: 1e-4\n")
    assert align(model, data, tmp_path / "out", "--config", str(config), "--learning-rate", "1e-3") == 0
    assert json.loads((tmp_path / "out" / "training_args.json").read_text())["learning_rate"] == 1e-3
    parts = json.loads((tmp_path / "out" / "alignment.json").read_text())["parts"]
    assert parts["link"].startswith("Sigmoid(beta=0.3")
    assert parts["pair_weight"].startswith("AlignedProbability(")


def test_resumes(model, data, tmp_path):
    """Killed after step 1 of 2, in effect: the second call starts from checkpoint-1 and ends at step 2."""
    saving = ("--save-strategy", "steps", "--save-steps", "1")
    assert align(model, data, tmp_path / "out", *saving) == 0
    before = (tmp_path / "out" / "model.safetensors").read_bytes()
    (tmp_path / "out" / "checkpoint-2").rename(tmp_path / "lost")
    assert align(model, data, tmp_path / "out", *saving, "--resume") == 0
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before


def test_lora(model, data, tmp_path):
    assert align(model, data, tmp_path / "out", "--use-peft", "--lora-r", "2") == 0
    assert (tmp_path / "out" / "adapter_model.safetensors").exists()


@pytest.fixture
def no_model_is_loaded(monkeypatch):
    """Loading weights takes minutes on real models; what can be known before is said before."""
    from prefopt.trainers import offline

    def refuse(*_):
        raise AssertionError("a model was loaded before the error")

    monkeypatch.setattr(offline, "load_policy", refuse)


@pytest.mark.usefixtures("no_model_is_loaded")
class TestBadInput:
    def refused(self, capsys, *arguments, message: str) -> None:
        assert align(*arguments) == 2
        said = capsys.readouterr().err
        assert message in said
        assert "Traceback" not in said

    def test_unknown_recipe(self, model, data, tmp_path, capsys):
        more = ("--recipe", "simp")
        self.refused(capsys, model, data, tmp_path / "out", *more, message="Did you mean 'simpo'?")

    def test_recipe_of_another_kind(self, model, data, tmp_path, capsys):
        self.refused(capsys, model, data, tmp_path / "out", "--recipe", "grpo", message="of kind online, not offline")

    def test_unknown_setting(self, model, data, tmp_path, capsys):
        more = ("--recipe-settings", "{betta: 1}")
        self.refused(capsys, model, data, tmp_path / "out", *more, message="Did you mean 'beta'?")

    def test_unknown_flag(self, model, data, tmp_path, capsys):
        self.refused(capsys, model, data, tmp_path / "out", "--recip", "dpo", message="Did you mean '--recipe'?")

    def test_missing_file(self, model, tmp_path, capsys):
        self.refused(capsys, model, tmp_path / "none.jsonl", tmp_path / "out", message="none.jsonl")

    def test_missing_column(self, model, tmp_path, capsys):
        data = written(tmp_path / "half.jsonl", [{"prompt": "a", "chosen": "b"}])
        self.refused(capsys, model, data, tmp_path / "out", message="half.jsonl")

    def test_missing_label_column(self, model, data, tmp_path, capsys):
        more = ("--recipe-settings", "{margin_scale: 1.0}")
        self.refused(capsys, model, data, tmp_path / "out", *more, message="no column 'margin'")

    def test_empty_data(self, model, tmp_path, capsys):
        self.refused(capsys, model, written(tmp_path / "empty.jsonl", []), tmp_path / "out", message="empty.jsonl")

    def test_bad_row(self, model, tmp_path, capsys):
        data = written(tmp_path / "bad.jsonl", [row(0), row(1, rejected="Yes 1.")])
        self.refused(capsys, model, data, tmp_path / "out", message="rejected")

    def test_model_folder_without_weights(self, model, data, tmp_path, capsys):
        (model / "model.safetensors").unlink()
        self.refused(capsys, model, data, tmp_path / "out", message="has no weights")

    def test_nothing_to_resume(self, model, data, tmp_path, capsys):
        self.refused(capsys, model, data, tmp_path / "out", "--resume", message="holds no checkpoint")

    def test_reference_folder_without_weights(self, model, data, tmp_path, capsys):
        more = ("--reference-model", str(tmp_path))
        self.refused(capsys, model, data, tmp_path / "out", *more, message="has no config.json")

    def test_prompt_longer_than_the_context(self, model, tmp_path, capsys):
        """The tiny model takes 512 tokens; an answer of 600 leaves no room for its prompt."""
        data = written(tmp_path / "long.jsonl", [row(0), row(1, chosen="y" * 600)])
        self.refused(capsys, model, data, tmp_path / "out", message="row 2: the longer answer has 601 tokens")

    def test_max_length_beyond_the_context(self, model, data, tmp_path, capsys):
        more = ("--max-length", "1000")
        self.refused(capsys, model, data, tmp_path / "out", *more, message="exceeds the model's context of 512")


def test_bad_rows_are_kept_in_quarantine(model, tmp_path):
    data = written(tmp_path / "bad.jsonl", [*(row(i) for i in range(4)), row(9, rejected="Yes 9.")])
    assert align(model, data, tmp_path / "out", "--on-bad-row", "quarantine") == 0
    kept = (tmp_path / "out" / "quarantine_training.jsonl").read_text().splitlines()
    assert len(kept) == 1
    assert "identical" not in json.loads(kept[0])["field"]
    assert json.loads((tmp_path / "out" / "alignment.json").read_text())["pairs"] == 4
