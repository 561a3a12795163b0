"""``parse``: flags over YAML over defaults, and the literal message for each kind of mistake."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest

from prefopt.cli.arguments import parse
from prefopt.errors import UserError


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Data:
    """What to read."""

    data: str = field(metadata={"help": "File"})
    columns: list[str] = field(default_factory=lambda: ["prompt"])
    limit: int | None = None
    strict: bool = True
    on_bad_row: Literal["raise", "quarantine"] = "raise"


@dataclass
class Training:
    """How to train."""

    learning_rate: float = 1e-3
    steps: int = 10
    bf16: bool | None = None
    colour: Colour | str = "red"
    rewards: list[dict[str, Any]] = field(default_factory=list)
    extra: dict[str, Any] | None = None
    report_to: str | list[str] | None = None
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")


@dataclass
class Show:
    """What to show."""

    name: str | None = field(default=None, metadata={"positional": True})
    json: bool = False


def read(*argv: str) -> tuple[Data, Training]:
    return parse(list(argv), "train", Data, Training)


def message(*argv: str, types: tuple[type, ...] = (Data, Training)) -> str:
    with pytest.raises(UserError) as caught:
        parse(list(argv), "train", *types)
    return str(caught.value)


def write(folder: Path, text: str) -> str:
    (folder / "a.yaml").write_text(text, encoding="utf-8")
    return str(folder / "a.yaml")


def test_defaults() -> None:
    data, training = read("--data", "x.jsonl")
    assert (data, training) == (Data(data="x.jsonl"), Training())


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--learning-rate", "1e-4"], "learning_rate", 1e-4),
        (["--learning_rate=2"], "learning_rate", 2.0),
        (["--learning-rate", "inf"], "learning_rate", float("inf")),
        (["--steps", "1e3"], "steps", 1000),
        (["--bf16"], "bf16", True),
        (["--no-bf16"], "bf16", False),
        (["--no_bf16"], "bf16", False),
        (["--bf16", "false"], "bf16", False),
        (["--bf16=null"], "bf16", None),
        (["--colour", "blue"], "colour", "blue"),
        (
            ["--rewards", "{name: a, weight: 1e-1}", "{name: b}"],
            "rewards",
            [{"name": "a", "weight": 0.1}, {"name": "b"}],
        ),
        (["--rewards", "[{name: a}]"], "rewards", [{"name": "a"}]),
        (["--extra", '{"top_k": 5}'], "extra", {"top_k": 5}),
        (["--report-to", "none"], "report_to", "none"),
        (["--report-to", "null"], "report_to", None),
        (["--report-to", "wandb", "trackio"], "report_to", ["wandb", "trackio"]),
        (["--weights", "1", "-2e0"], "weights", (1.0, -2.0)),
        (["--steps", "3", "--steps", "4"], "steps", 4),
    ],
)
def test_flags(words: list[str], name: str, value: object) -> None:
    found = getattr(read("--data", "x", *words)[1], name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("learning_rate: 1e-4", "learning_rate", 1e-4),
        ("learning-rate: 1", "learning_rate", 1.0),
        ("learning_rate: '1e-4'", "learning_rate", 1e-4),
        ("steps: 1_000", "steps", 1000),
        ("bf16: yes", "bf16", True),
        ("bf16: null", "bf16", None),
        ("rewards: [{name: a, weight: 5e-1}]", "rewards", [{"name": "a", "weight": 0.5}]),
        ("extra: {a: {b: [1, 2]}}", "extra", {"a": {"b": [1, 2]}}),
        ("report_to: [wandb]", "report_to", ["wandb"]),
        ("weights: [1, 2.5]", "weights", (1.0, 2.5)),
    ],
)
def test_yaml(tmp_path: Path, line: str, name: str, value: object) -> None:
    found = getattr(read("--config", write(tmp_path, f"data: x\n{line}\n"))[1], name)
    assert found == value
    assert type(found) is type(value)


def test_flags_override_yaml_and_yaml_overrides_defaults(tmp_path: Path) -> None:
    """steps: 10 by default, 20 in the file, 30 as a flag; the file's learning rate stays."""
    file = write(tmp_path, "data: x\nsteps: 20\nlearning_rate: 0.5\n")
    _, training = read("--steps", "30", f"--config={file}")
    assert (training.steps, training.learning_rate) == (30, 0.5)


def test_positional() -> None:
    (show,) = parse(["--json", "gdpo"], "methods", Show)
    assert show == Show(name="gdpo", json=True)
    (show,) = parse(["--name", "gdpo", "--json", "no"], "methods", Show)
    assert show == Show(name="gdpo", json=False)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "prefopt train: --data must be given, as a flag or in the file of --config."),
        (
            ["--learning-rat", "1"],
            "--learning-rat: unknown flag. Did you mean '--learning-rate'?\n"
            "`prefopt train --help-all` lists every flag.",
        ),
        (["--xyzzy", "1"], "--xyzzy: unknown flag.\n`prefopt train --help-all` lists every flag."),
        (["--learning-rate", "fast"], "--learning-rate: expected a number, got 'fast'."),
        (["--learning-rate", "nan"], "--learning-rate: expected a number, got 'nan'."),
        (["--learning-rate"], "--learning-rate: expected a number, got nothing."),
        (["--steps", "2.5"], "--steps: expected a whole number, got '2.5'."),
        (["--limit", "many"], "--limit: expected a whole number or null, got 'many'."),
        (["--strict", "maybe"], "--strict: expected true or false, got 'maybe'."),
        (
            ["--on-bad-row", "rais"],
            "--on-bad-row: expected one of 'raise', 'quarantine', got 'rais'. Did you mean 'raise'?",
        ),
        (["--colour", "bleu"], "--colour: expected one of 'red', 'blue', got 'bleu'. Did you mean 'blue'?"),
        (["--rewards", "a"], "--rewards: expected a mapping, got 'a'."),
        (["--extra", "{a: ["], "--extra: expected a mapping or null, got '{a: ['."),
        (["stray"], "prefopt train: unexpected argument 'stray'. Flags start with '--'."),
        (["--steps", "1", "2"], "prefopt train: unexpected argument '2'. Flags start with '--'."),
        (["--data", "x", "--steps", "0"], "prefopt train: steps must be at least 1, got 0"),
        (["--config", "a.yaml", "--config", "b.yaml"], "--config: given twice; put everything into one file."),
        (["--config", "absent.yaml"], "absent.yaml: cannot be read: No such file or directory."),
    ],
)
def test_mistakes_in_flags(words: list[str], expected: str) -> None:
    assert message(*words) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "data: x\nlerning_rate: 1\n",
            "FILE: unknown key 'lerning_rate'. Did you mean 'learning_rate'?\n"
            "`prefopt train --help-all` lists every key.",
        ),
        (
            "dta: x\nxyzzy: 1\n",
            "FILE: unknown key 'dta'. Did you mean 'data'?\nFILE: unknown key 'xyzzy'.\n"
            "`prefopt train --help-all` lists every key.",
        ),
        ("learning_rate: fast\n", "FILE: learning_rate: expected a number, got 'fast'."),
        ("learning_rate: true\n", "FILE: learning_rate: expected a number, got True."),
        ("learning_rate: null\n", "FILE: learning_rate: expected a number, got null."),
        ("learning_rate: [1]\n", "FILE: learning_rate: expected a number, got [1]."),
        ("steps: 2.5\n", "FILE: steps: expected a whole number, got 2.5."),
        ("data: 2026\n", "FILE: data: expected text, got 2026. Put it in quotes."),
        ("strict: 'yes'\n", "FILE: strict: expected true or false, got 'yes'."),
        ("columns: prompt\n", "FILE: columns: expected a list of text, got 'prompt'."),
        ("columns: [prompt, 3]\n", "FILE: columns: expected text, got 3. Put it in quotes."),
        ("rewards: {name: a}\n", "FILE: rewards: expected a list of mappings, got {'name': 'a'}."),
        ("steps: 1\nsteps: 2\n", "FILE, line 2: key 'steps' is given twice."),
        ("extra:\n  a: 1\n  a: 2\n", "FILE, line 3: key 'a' is given twice."),
        ("learning_rate: 1\nlearning-rate: 2\n", "FILE: 'learning_rate' is given twice, with '-' and with '_'."),
        ("- a\n- b\n", "FILE: expected keys with values ('learning_rate: 1e-4'), got list."),
        ("on: 3\n", "FILE: key True is not text; put it in quotes."),
        ("data: [x\n", "FILE, line 2: expected ',' or ']', but got '<stream end>'."),
        ("data: !!python/name:os.system x\n", "FILE, line 1: could not determine a constructor for the tag "
         "'tag:yaml.org,2002:python/name:os.system'."),
        ("? [a]\n: b\n", "FILE: not valid YAML: unhashable type: 'list'."),
        ("data: 2026-13-45\n", "FILE: not valid YAML: month must be in 1..12."),
        ("steps: !!int x\n", "FILE: not valid YAML: invalid literal for int() with base 10: 'x'."),
        ("data: " + "[" * 20_000, "FILE: not valid YAML: nested too deeply."),
    ],
)  # fmt: skip
def test_mistakes_in_yaml(tmp_path: Path, text: str, expected: str) -> None:
    file = write(tmp_path, text)
    assert message("--config", file) == expected.replace("FILE", file)


def test_two_dataclasses_with_the_same_field_are_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError, match="Data and Data both have 'data'"):
        parse(["--data", "x"], "train", Data, Data)


def test_help_shows_own_fields(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        read("--help")
    shown = capsys.readouterr().out
    assert stop.value.code == 0
    assert "Usage: prefopt train [--config FILE.yaml]" in shown
    assert "What to read" in shown
    assert "--data" in shown
    assert "File. text; required" in shown
    assert "a whole number; default 10" in shown


def test_training_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every field of transformers.TrainingArguments works: enumerations, mappings given inline, integrations."""
    from transformers import TrainingArguments

    @dataclass
    class Ours(TrainingArguments):
        beta: float = 0.1

    words = ["--output-dir", str(tmp_path), "--lr-scheduler-type", "cosine", "--lr-scheduler-kwargs", "{num_cycles: 2}"]
    file = write(tmp_path, "eval_strategy: no\nreport_to: none\nlearning_rate: 3e-5\nuse_cpu: true\n")
    (ours,) = parse([*words, "--config", file], "train", Ours)
    assert ours.lr_scheduler_type.value == "cosine"
    assert ours.lr_scheduler_kwargs == {"num_cycles": 2}
    assert ours.eval_strategy.value == "no"
    assert ours.report_to == []
    assert (ours.learning_rate, ours.beta) == (3e-5, 0.1)
    with pytest.raises(SystemExit):
        parse(["--help"], "train", Ours)
    short = capsys.readouterr().out
    with pytest.raises(SystemExit):
        parse(["--help-all"], "train", Ours)
    long = capsys.readouterr().out
    assert "--beta" in short
    assert "--learning-rate" in short
    assert "--adam-epsilon" not in short
    assert "--adam-epsilon" in long
