"""Canaries in data, configurations, chat templates and caches."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from prefopt import assets
from prefopt.cli import main
from prefopt.cli.yaml_file import read_mapping
from prefopt.errors import UserError
from prefopt.trainers.policies import load_tokenizer
from reward_models.data import load_preferences, load_prompts, validate
from reward_models.model import RewardModel
from reward_models.multi_objective.embedding import embed
from scripts.faults.canaries.outcome import Outcome, attempt
from scripts.faults.canaries.plants import CODE, Trap, trap

Case = tuple[str, Callable[[Path, Path], Any], bool]
PAIR = {"prompt": "What is 1 plus 1?", "chosen": "2.", "rejected": "3."}
TAGS = (
    "!!python/object/apply:os.mkdir [{canary}]",
    "!!python/object/new:os.mkdir [{canary}]",
    "!!python/name:os.mkdir",
    "!!python/module:os",
)
ESCAPES = (
    "{{{{ cycler.__init__.__globals__.os.mkdir({canary!r}) }}}}",
    "{{{{ ''.__class__.__mro__[1].__subclasses__() }}}}",
    "{{{{ messages.__class__.__init__.__globals__['__builtins__']['open']({canary!r}, 'w') }}}}",
    "{{% for m in messages %}}{{{{ m.__init__.__globals__.__builtins__.open({canary!r}, 'w') }}}}{{% endfor %}}",
)


def configuration(tag: str) -> Callable[[Path, Path], Any]:
    def load(room: Path, canary: Path) -> None:
        (room / "run.yaml").write_text("data: " + tag.format(canary=canary), encoding="utf-8")
        read_mapping(room / "run.yaml")

    return load


def flag(tag: str) -> Callable[[Path, Path], Any]:
    def load(room: Path, canary: Path) -> None:
        if main(["check-data", "rows.jsonl", "--columns", "{prompt: " + tag.format(canary=canary) + "}"]):
            raise UserError("check-data ended with an error")

    return load


def template(text: str) -> Callable[[Path, Path], Any]:
    """A chat template, in the data check and in scoring."""

    def load(room: Path, canary: Path) -> None:
        tokenizer = load_tokenizer(assets.path("tiny-policy"))
        tokenizer.chat_template = text.format(canary=str(canary))
        chat = [{"role": "user", "content": "What is 1 plus 1?"}]
        rows = [{"prompt": chat, "chosen": [{"role": "assistant", "content": word}], "rejected": []} for word in "23"]
        rows = [{**row, "rejected": [{"role": "assistant", "content": "4"}]} for row in rows]
        report = validate(rows, tokenizer=tokenizer, max_length=64)
        model = RewardModel.from_backbone(assets.path("tiny-policy"))
        model.tokenizer = tokenizer
        assert report.rows == 2
        model.score([chat], [[{"role": "assistant", "content": "2"}]])

    return load


def _packed(canary: Path) -> str:
    """Tests as one benchmark publishes them: a pickle, compressed, in base 64."""
    return base64.b64encode(zlib.compress(pickle.dumps(Trap(str(canary))))).decode()


def pickled_tests(room: Path, canary: Path) -> None:
    row = {"question_content": "Add.", "public_test_cases": "[]", "private_test_cases": _packed(canary)}
    load_prompts([row])


def pickled_tests_column(room: Path, canary: Path) -> None:
    from reward_models.verifiable import UnitTests

    UnitTests()(prompts=["Add."], completions=["```python\nx = 1\n```"], tests=[_packed(canary)])


def pickled_rows(room: Path, canary: Path) -> None:
    trap(room / "pairs.jsonl", canary)
    load_preferences(room / "pairs.jsonl")


def pickled_parquet(room: Path, canary: Path) -> None:
    trap(room / "pairs.parquet", canary)
    load_preferences(room / "pairs.parquet")


def pickled_columns(room: Path, canary: Path) -> None:
    """Parquet whose schema says that a column is an extension type, pickled; Arrow once unpickled these."""
    about = {
        "ARROW:extension:name": "arrow.py_extension_type",
        "ARROW:extension:metadata": pickle.dumps(Trap(str(canary))),
    }
    fields = [pa.field(name, pa.string(), metadata=about if name == "chosen" else None) for name in PAIR]
    table = pa.table({name: [value] for name, value in PAIR.items()}, schema=pa.schema(fields))
    pyarrow.parquet.write_table(
        table.replace_schema_metadata({"pandas": pickle.dumps(Trap(str(canary)))}), room / "p.parquet"
    )
    load_preferences(room / "p.parquet")


def folder_with_a_script(room: Path, canary: Path) -> None:
    folder = room / "pairs"
    folder.mkdir()
    (folder / "pairs.py").write_text(CODE.format(canary=str(canary)), encoding="utf-8")
    (folder / "train.jsonl").write_text(json.dumps(PAIR) + "\n", encoding="utf-8")
    load_preferences(folder)


def folder_with_a_pickle(room: Path, canary: Path) -> None:
    trap(room / "pairs" / "train.pkl", canary)
    load_preferences(room / "pairs")


def folder_that_names_a_pickle(room: Path, canary: Path) -> None:
    trap(room / "pairs" / "train.pkl", canary)
    about = "---\nconfigs:\n- config_name: default\n  data_files: train.pkl\n---\n"
    (room / "pairs" / "README.md").write_text(about, encoding="utf-8")
    load_preferences(room / "pairs")


def pickled_states(room: Path, canary: Path) -> None:
    """The cache of embeddings: torn blocks are computed again."""
    model = RewardModel.from_backbone(assets.path("tiny-policy"))
    rows = model.formatter().encode_many([PAIR["prompt"]] * 2, ["2.", "3."])
    embed(model, rows, room / "states")
    for file in (room / "states").glob("*.safetensors"):
        trap(file, canary)
    embed(model, rows, room / "states")


def pickled_references(room: Path, canary: Path) -> None:
    """The cache of a reference's log-probabilities."""
    from scripts.faults.canaries import runs

    settings = {**runs.QUIET, "max_steps": 1, "save_strategy": "no", "per_device_train_batch_size": 4}
    for _ in range(2):
        config = runs.OfflineConfig(
            output_dir=str(room / "run"), precompute_reference=True, reference_cache_dir=str(room / "cache"), **settings
        )
        runs.align_offline(assets.path("tiny-policy"), runs.pairs(), config)
        found = list((room / "cache").rglob("*.safetensors"))
        assert found, "the run kept no references"
        for file in found:
            trap(file, canary)


def cases() -> Iterator[Case]:
    """Name, what loads it, whether it must be refused."""
    for tag in TAGS:
        yield f"configuration: {tag.split(' ')[0]}", configuration(tag), True
        yield f"flag: {tag.split(' ')[0]}", flag(tag), True
    for number, text in enumerate(ESCAPES, start=1):
        yield f"chat template {number}", template(text), True
    for must, loads in (
        (True, (pickled_tests, pickled_rows, pickled_parquet, folder_with_a_pickle, folder_that_names_a_pickle)),
        (False, (pickled_columns, folder_with_a_script, pickled_tests_column, pickled_states, pickled_references)),
    ):
        yield from ((load.__name__.replace("_", " "), load, must) for load in loads)


def try_all(work: Path) -> list[Outcome]:
    """Read every file."""
    found = []
    for number, (name, load, must) in enumerate(cases()):
        room = work / f"case-{number}"
        room.mkdir()
        canary = room / "canary"
        found.append(attempt(name, lambda load=load, room=room, canary=canary: load(room, canary), canary, must))  # type: ignore[misc]
    return found
