"""From an entry of ``rewards:`` to a reward source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset

from prefopt.errors import UserError
from prefopt.trainers.prompts import check_columns
from prefopt.trainers.rewards.reading import read_source, read_sources
from reward_models.errors import ModelError
from reward_models.model import RewardModel
from reward_models.transforms import LogSigmoid
from reward_models.verifiable import ExactAnswer, Length
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer

CODE = """
def politeness(prompts, completions, reference, strict=False):
    return [float(r in c) for c, r in zip(completions, reference)]
"""


def test_a_verifier_by_name() -> None:
    """Name, weight, transform and settings are those of the entry."""
    entry = {
        "source": "length",
        "settings": {"target": 4},
        "weight": 0.5,
        "name": "short",
        "transform": {"name": "log_sigmoid", "centre": 0.5},
    }
    source = read_source(entry)
    assert (source.call, source.names, source.weight) == (Length(4), ("short",), 0.5)
    assert source.transform == LogSigmoid(0.5)
    assert read_source("exact_answer").names == ("exact_answer",)
    assert read_source("exact_answer").call == ExactAnswer()


def test_a_function_of_a_file(tmp_path: Path) -> None:
    """The file that the user names is run, its function called with the columns that it names, under their names."""
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    source = read_source({"source": f"{path}:politeness", "columns": {"reference": "answer"}})
    assert source.names == ("politeness",)
    assert source.required_columns() == {"reference": "answer"}
    assert source.arguments({"answer": ["a"], "other": [1]}, {"trainer_state": None}) == {"reference": ["a"]}


def test_a_reward_model_folder(tmp_path: Path) -> None:
    """Nothing is loaded until `load`; then each head is a column, named after the source where there are several."""
    backbone = save_tiny(tmp_path / "backbone", tiny_llama(head=False), tiny_tokenizer())
    model = RewardModel.from_backbone(backbone, ["helpful", "brief"], None)
    model.save_pretrained(tmp_path / "rm")
    source = read_source({"source": str(tmp_path / "rm"), "settings": {"batch_size": 2}})
    assert source.call is None
    assert read_source({"source": str(tmp_path / "rm"), "weight": [1, 0.5]}).load("cpu").weights == (1.0, 0.5)
    with pytest.raises(UserError, match=r"'rm/helpful\+rm/brief' has 3 weights for 2 columns"):
        read_source({"source": str(tmp_path / "rm"), "weight": [1, 2, 3]}).load("cpu")
    loaded = source.load("cpu")
    assert loaded.names == ("rm/helpful", "rm/brief")
    assert loaded.call is not None
    scores = loaded.call(prompts=["Hi"] * 3, completions=["a", "bb", "ccc"], answer=["x"] * 3)
    torch.testing.assert_close(scores, model.eval().score(["Hi"] * 3, ["a", "bb", "ccc"]))


def test_a_callable_and_its_names() -> None:
    """A callable keeps its own name; with ``names`` it has several columns."""

    class Two:
        names = ("left", "right")

        def __call__(self, prompts: Any, completions: Any, **_: Any) -> Any:
            return torch.zeros(len(prompts), 2)

    assert read_source(Two()).names == ("left", "right")
    assert read_source({"source": Two(), "name": "both"}).names == ("both/left", "both/right")
    assert read_source(len).names == ("len",)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"source": "exact_anwser"}, r"rewards\[1\]: source 'exact_anwser' is no folder.* Did you mean 'exact_answer'"),
        ({"sorce": "length"}, r"rewards\[1\]: unknown key 'sorce'. Did you mean 'source'"),
        ({"weight": 1.0}, r"rewards\[1\] has no 'source'"),
        ({"source": "length", "weight": "much"}, r"weight must be a finite number.*, not 'much'"),
        ({"source": "length", "weight": float("nan")}, "weight must be a finite number"),
        ({"source": "nowhere.py:f"}, r"nowhere.py: no such file"),
        (3, r"rewards\[1\] must be a mapping"),
        ({"source": "exact_answer", "columns": ["answer"]}, "columns must be a mapping"),
    ],
)
def test_what_is_no_source(entry: Any, words: str) -> None:
    """The entry, the key and the fix are named."""
    with pytest.raises(UserError, match=words):
        read_sources(["exact_answer", entry])


def test_settings_that_do_not_fit(tmp_path: Path) -> None:
    """Verifiers and transforms name what they take."""
    with pytest.raises(ModelError, match="verifier 'length': got an unexpected keyword argument 'goal'"):
        read_source({"source": "length", "settings": {"goal": 3}})
    with pytest.raises(ModelError, match=r"unknown transform 'log_sigmod'.*Did you mean 'log_sigmoid'"):
        read_source({"source": "exact_answer", "transform": "log_sigmod"})
    with pytest.raises(ModelError, match="transform 'clip' has no setting 'max'; its settings are low, high"):
        read_source({"source": "exact_answer", "transform": {"name": "clip", "max": 1}})
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    with pytest.raises(UserError, match=r"takes no 'referense'. Did you mean 'reference'\? It takes reference, strict"):
        read_source({"source": f"{path}:politeness", "columns": {"referense": "answer"}})
    with pytest.raises(UserError, match="a reward model has no setting 'batch'; it has batch_size"):
        read_source({"source": str(tmp_path), "settings": {"batch": 3}})
    with pytest.raises(UserError, match="has no function 'rudeness'; it has politeness"):
        read_source(f"{path}:rudeness")


def test_two_of_one_name() -> None:
    """Columns of one name could not be told apart in the logs."""
    with pytest.raises(UserError, match="two reward sources are called 'exact_answer'"):
        read_sources(["exact_answer", "exact_answer"])


def test_missing_columns() -> None:
    """A column that a source requires is asked for by name, with the nearest one and the way to map it."""
    data = Dataset.from_dict({"prompt": ["a"], "answers": ["b"]})
    with pytest.raises(UserError, match=r"'exact_answer' reads the column 'answer'.*Did you mean 'answers'"):
        check_columns(data, read_sources(["exact_answer"]), "the training data")
    mapped = read_sources([{"source": "exact_answer", "columns": {"answer": "answers"}}])
    check_columns(data, mapped, "the training data")
    with pytest.raises(UserError, match=r"has no column 'prompt'.*It has question"):
        check_columns(Dataset.from_dict({"question": ["a"]}), [], "the training data")
    with pytest.raises(UserError, match="the training data is empty"):
        check_columns(Dataset.from_dict({"prompt": []}), [], "the training data")
