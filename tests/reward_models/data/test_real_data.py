"""Public data sets as they are published: every file loads, and every row is accounted for."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from reward_models.data import load_preferences, load_preferences_with_report, load_prompts, load_unpaired, validate

ROOT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("PREFOPT_REAL_DATA", ROOT / ".." / "shared" / "data"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}; set PREFOPT_REAL_DATA")

PREFERENCES = [
    ("hh-rlhf/harmless_test.jsonl.gz", "HH-RLHF transcripts", 2312),
    ("gsm8k/example_model_solutions.jsonl", "model solutions", 1319),
    ("finegrained/dev_feedback.json", "fine-grained feedback", 500),
    ("llmbar/natural.json", "LLMBar", 100),
    ("llmbar/adversarial_gptinst.json", "LLMBar", 92),
    ("llmbar/adversarial_gptout.json", "LLMBar", 47),
    ("llmbar/adversarial_manual.json", "LLMBar", 46),
    ("llmbar/adversarial_neighbor.json", "LLMBar", 134),
    ("mr-gsm8k/Claude.json", "solutions with first wrong step", 326),
    ("mr-gsm8k/GPT3_5.json", "solutions with first wrong step", 173),
    ("mr-gsm8k/llama2_70b.json", "solutions with first wrong step", 323),
    ("mr-gsm8k/metamath_70B.json", "solutions with first wrong step", 22),
]
PROMPTS = [
    ("gsm8k/train.jsonl", "questions with answers", 7473),
    ("gsm8k/test.jsonl", "questions with answers", 1319),
    ("humaneval/HumanEval.jsonl.gz", "code with a check function", 164),
    ("codet/mbpp_sanitized.jsonl", "code with a check function", 427),
    ("codet/humaneval_codegen16B_code_solution.jsonl", "prompts", 164),
    ("codet/humaneval_codegen16B_test_case.jsonl", "prompts", 164),
]


def test_every_file_is_listed() -> None:
    """A new file in the folder needs an entry here."""
    found = {str(path.relative_to(DATA)) for path in DATA.rglob("*.json*")}
    assert found == {name for name, _, _ in PREFERENCES + PROMPTS}


@pytest.mark.parametrize(("name", "shape", "rows"), PREFERENCES, ids=[entry[0] for entry in PREFERENCES])
def test_preference_files_load(name: str, shape: str, rows: int) -> None:
    """No bad row; chosen and rejected always differ."""
    dataset, report = load_preferences_with_report(DATA / name)
    assert (report.shape, report.rows, report.bad_count) == (shape, rows, 0)
    assert len(dataset) == report.examples > 0
    assert all(row["chosen"] != row["rejected"] for row in dataset)


@pytest.mark.parametrize(("name", "shape", "rows"), PROMPTS, ids=[entry[0] for entry in PROMPTS])
def test_prompt_files_load(name: str, shape: str, rows: int) -> None:
    """No bad row, one prompt a row; `validate` finds the kind by itself."""
    report = validate(DATA / name)
    assert (report.kind, report.shape, report.rows, report.bad_count) == ("prompts", shape, rows, 0)
    assert len(load_prompts(DATA / name)) == rows


def test_every_hh_row_splits_at_its_last_common_assistant_turn() -> None:
    """2,312 of 2,312: prompt + answer is the transcript again, the prompt ends with the marker, and no later marker is
    common to both: the first later one, if any, comes after the place where the answers part.
    """
    with gzip.open(DATA / "hh-rlhf/harmless_test.jsonl.gz", "rt", encoding="utf-8", newline="\n") as file:
        rows = [json.loads(line) for line in file.read().split("\n") if line]
    dataset = load_preferences(DATA / "hh-rlhf/harmless_test.jsonl.gz")
    assert len(dataset) == len(rows) == 2312
    marker = "\n\nAssistant:"
    for row, pair in zip(rows, dataset, strict=True):
        assert pair["prompt"].endswith(marker)
        assert pair["prompt"] + pair["chosen"] == row["chosen"]
        assert pair["prompt"] + pair["rejected"] == row["rejected"]
        parts = [text.split(marker) for text in (pair["chosen"], pair["rejected"])]
        assert len(parts[0]) == 1 or len(parts[1]) == 1 or parts[0][0] != parts[1][0]


def test_solutions_against_their_verdicts() -> None:
    """With c correct and w wrong distinct solutions a question has c * w pairs; counted here from the file itself."""
    path = DATA / "gsm8k/example_model_solutions.jsonl"
    expected = 0
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line:
            solutions = [value for value in json.loads(line).values() if isinstance(value, dict)]
            correct = {s["solution"].strip() for s in solutions if s["is_correct"]}
            wrong = {s["solution"].strip() for s in solutions if not s["is_correct"]}
            expected += len(correct) * len(wrong)
    dataset = load_preferences(path)
    assert len(dataset) == expected
    assert set(dataset["margin"]) == {1.0}
    assert len(load_unpaired(path)) == 1319 * 4


def test_finegrained_verdicts() -> None:
    """500 * 6 verdicts, of which 384 are 0: 2,616 pairs, or 3,000 with soft ties."""
    path = DATA / "finegrained/dev_feedback.json"
    assert len(load_preferences(path)) == 3000 - 384
    soft = load_preferences(path, ties="soft")
    assert soft["label_chosen_preferred"][:].count(0.5) == 384


def test_llmbar_by_subset() -> None:
    """Five files are five subsets of 419 pairs."""
    dataset = load_preferences(DATA / "llmbar" / "*.json")
    counts = {name: dataset["subset"][:].count(name) for name in set(dataset["subset"])}
    names = ("adversarial_gptinst", "adversarial_gptout", "adversarial_manual", "adversarial_neighbor", "natural")
    assert counts == dict(zip(names, (92, 47, 46, 134, 100), strict=True))


def test_gsm8k_answers_are_numbers() -> None:
    """Every short answer of the training set parses."""
    assert all(float(answer) is not None for answer in load_prompts(DATA / "gsm8k/train.jsonl")["answer"])
