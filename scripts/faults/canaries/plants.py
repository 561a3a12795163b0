"""Model folders, checkpoints and files that would write a canary if anything in them were run."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

CODE = 'open({canary!r}, "w").close()\n'


@dataclass(frozen=True)
class Trap:
    """Unpickled, it writes a file."""

    canary: str

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (self.canary, "w")


Plant = Callable[[Path, Path], None]
"""Takes a good folder and the canary's path, and changes the folder."""


def trap(file: Path, canary: Path, zipped: bool = False) -> None:
    """Write a pickle that writes the canary, bare or in torch's archive."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if zipped:
        torch.save({"state": Trap(str(canary))}, file)
    else:
        file.write_bytes(pickle.dumps({"state": Trap(str(canary))}))


def change(file: Path, **values: Any) -> None:
    """Set keys of a JSON file."""
    settings = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps({**settings, **values}), encoding="utf-8")


def code(folder: Path, canary: Path, name: str) -> None:
    """Write a module that writes the canary when it is imported, with every class that might be asked of it."""
    (folder / f"{name}.py").write_text(
        CODE.format(canary=str(canary)) + "class Found:\n    pass\n\ndef generate(*given, **named):\n    pass\n",
        encoding="utf-8",
    )


def pickled_weights(folder: Path, canary: Path) -> None:
    for file in folder.glob("*.safetensors"):
        file.unlink()
    trap(folder / "pytorch_model.bin", canary)


def archived_weights(folder: Path, canary: Path) -> None:
    for file in folder.glob("*.safetensors"):
        file.unlink()
    trap(folder / "pytorch_model.bin", canary, zipped=True)


def pickles_of_all_kinds(folder: Path, canary: Path) -> None:
    for file in folder.glob("*.safetensors"):
        file.unlink()
    for name in ("model.pt", "model.pth", "model.pkl", "model.ckpt", "model.pickle"):
        trap(folder / name, canary)


def pickles_beside(folder: Path, canary: Path) -> None:
    names = ("pytorch_model.bin", "model.pt", "weights.pkl", "last.ckpt", "training_args.bin", "optimizer.pt")
    for i, name in enumerate(names):
        trap(folder / name, canary, zipped=bool(i % 2))


def pickle_named_safetensors(folder: Path, canary: Path) -> None:
    for file in folder.glob("*.safetensors"):
        trap(file, canary)


def archive_named_safetensors(folder: Path, canary: Path) -> None:
    for file in folder.glob("*.safetensors"):
        trap(file, canary, zipped=True)


def _mapped(kind: str) -> dict[str, str]:
    names = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification")
    return dict.fromkeys(names, f"{kind}.Found")


def code_beside_a_known_model(folder: Path, canary: Path) -> None:
    code(folder, canary, "modeling_x")
    change(folder / "config.json", auto_map=_mapped("modeling_x"))


def code_in_place_of_a_model(folder: Path, canary: Path) -> None:
    code(folder, canary, "modeling_x")
    change(folder / "config.json", auto_map=_mapped("modeling_x"), model_type="x", architectures=["Found"])


def code_in_place_of_a_tokenizer(folder: Path, canary: Path) -> None:
    code(folder, canary, "tokenization_x")
    mapped = {"AutoTokenizer": ["tokenization_x.Found", "tokenization_x.Found"]}
    change(folder / "tokenizer_config.json", auto_map=mapped, tokenizer_class="Found")


def code_that_generates(folder: Path, canary: Path) -> None:
    (folder / "custom_generate").mkdir()
    code(folder / "custom_generate", canary, "generate")


def kernel_from_a_hub(folder: Path, canary: Path) -> None:
    change(folder / "config.json", attn_implementation="someone/kernel")


def kernel_under_an_inner_name(folder: Path, canary: Path) -> None:
    change(folder / "config.json", _attn_implementation={"": "someone/kernel:run"})


def _index(folder: Path, name: str) -> None:
    change(folder / "model.safetensors.index.json", metadata={}, weight_map={"model.embed_tokens.weight": name})
    weights = folder / "model.safetensors"
    if weights.exists():
        weights.rename(folder / "model-00001-of-00001.safetensors")


def index_to_a_folder_above(folder: Path, canary: Path) -> None:
    shutil.copyfile(folder / "model.safetensors", folder.parent / "outside.safetensors")
    _index(folder, "../outside.safetensors")


def index_to_an_absolute_path(folder: Path, canary: Path) -> None:
    shutil.copyfile(folder / "model.safetensors", folder.parent / "outside.safetensors")
    _index(folder, str(folder.parent / "outside.safetensors"))


def index_to_a_pickle(folder: Path, canary: Path) -> None:
    trap(folder / "pytorch_model-00001.bin", canary)
    _index(folder, "pytorch_model-00001.bin")


def index_that_is_no_index(folder: Path, canary: Path) -> None:
    _index(folder, "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text("[]", encoding="utf-8")


def settings_that_are_a_pickle(folder: Path, canary: Path) -> None:
    trap(folder / "config.json", canary)


def settings_nested_too_deep(folder: Path, canary: Path) -> None:
    (folder / "config.json").write_text('{"a": ' * 100_000, encoding="utf-8")


def tokenizer_that_is_a_pickle(folder: Path, canary: Path) -> None:
    trap(folder / "tokenizer.json", canary)


REFUSED: Mapping[str, Plant] = {
    plant.__name__: plant
    for plant in (
        pickled_weights,
        archived_weights,
        pickles_of_all_kinds,
        pickle_named_safetensors,
        archive_named_safetensors,
        code_in_place_of_a_model,
        kernel_from_a_hub,
        kernel_under_an_inner_name,
        index_to_a_folder_above,
        index_to_an_absolute_path,
        index_to_a_pickle,
        index_that_is_no_index,
        settings_that_are_a_pickle,
        settings_nested_too_deep,
    )
}
"""Folders that no loader of weights takes."""

HARMLESS: Mapping[str, Plant] = {
    plant.__name__: plant for plant in (pickles_beside, code_beside_a_known_model, code_that_generates)
}
"""Folders that load without a look at what was planted."""

TOKENIZERS: Mapping[str, Plant] = {
    plant.__name__: plant for plant in (code_in_place_of_a_tokenizer, tokenizer_that_is_a_pickle)
}
"""Folders whose tokenizer is refused."""


def pickled_adapter(folder: Path, canary: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    trap(folder / "adapter_model.bin", canary)


def archived_adapter(folder: Path, canary: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    trap(folder / "adapter_model.bin", canary, zipped=True)


def adapter_that_imports(folder: Path, canary: Path) -> None:
    change(folder / "adapter_config.json", megatron_config={}, megatron_core="modeling_x")


def adapter_that_reads_a_pickle(folder: Path, canary: Path) -> None:
    trap(folder.parent / "cache.pt", canary)
    change(folder / "adapter_config.json", corda_config={"cache_file": str(folder.parent / "cache.pt")})


def adapter_that_is_a_pickle(folder: Path, canary: Path) -> None:
    trap(folder / "adapter_model.safetensors", canary)


ADAPTERS: Mapping[str, Plant] = {
    plant.__name__: plant
    for plant in (
        pickled_adapter,
        archived_adapter,
        adapter_that_imports,
        adapter_that_reads_a_pickle,
        adapter_that_is_a_pickle,
    )
}
"""Adapters that are refused."""


def adapter_on_a_pickle(folder: Path, canary: Path) -> None:
    base = folder.parent / "pickled"
    base.mkdir()
    (base / "config.json").write_text((folder / "config.json").read_text(encoding="utf-8"), encoding="utf-8")
    trap(base / "pytorch_model.bin", canary)
    change(folder / "adapter_config.json", base_model_name_or_path=str(base))


BASES: Mapping[str, Plant] = {plant.__name__: plant for plant in (adapter_on_a_pickle,)}
"""Adapters whose base is refused, where the adapter names it."""
