"""Where rows come from: files, several files, a hub name, a folder, a data set in memory."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from reward_models.data.files import READERS, format_of, read_rows
from reward_models.errors import DataError

if TYPE_CHECKING:
    import datasets

Data: TypeAlias = (
    "Source | str | Path | Sequence[str | Path] | Sequence[Mapping[str, Any]] | datasets.Dataset | datasets.DatasetDict"
)


@dataclass(frozen=True)
class NumberedRow:
    """A raw row with the place that it comes from; ``value`` is a `BadRow` where a line could not be read."""

    source: str
    number: int
    value: Any


@dataclass(frozen=True)
class Source:
    """A name for reports, and a function that begins to read from the start.

    Rows of ``several`` files get the file's name as subset where they have none of their own.
    """

    name: str
    read: Callable[[], Iterator[NumberedRow]]
    several: bool = False


def open_source(
    data: Data, split: str | None = None, config: str | None = None, streaming: bool = False, name: str = "dataset"
) -> Source:
    """The rows of any kind of source (a `Source` stays as it is). Files are read lazily; nothing is held.

    ``name`` is what messages call data that have none of their own.
    """
    if isinstance(data, Source):
        return data
    if isinstance(data, (str, Path)):
        return _from_name(str(data), split, config, streaming)
    if isinstance(data, Sequence) and data and all(isinstance(item, (str, Path)) for item in data):
        parts = [_from_name(str(item), split, config, streaming) for item in data]
        return _joined(", ".join(part.name for part in parts), parts)
    if isinstance(data, Mapping):
        return _from_splits(data, name, split)
    if isinstance(data, Sequence) or hasattr(data, "column_names"):
        return _from_iterable(data, name)
    raise DataError(f"expected a file, hub name, data set or list of rows; found {type(data).__name__}")


def _from_iterable(rows: Any, name: str) -> Source:
    return Source(name, lambda: (NumberedRow(name, i, row) for i, row in enumerate(rows, start=1)))


def _from_splits(splits: Mapping[str, Any], name: str, split: str | None) -> Source:
    wanted = split or ("train" if "train" in splits else next(iter(splits), "train"))
    if wanted not in splits:
        raise DataError(f"{name}: there is no split {wanted!r}; splits are {', '.join(splits)}")
    return _from_iterable(splits[wanted], f"{name}[{wanted}]")


def _from_name(name: str, split: str | None, config: str | None, streaming: bool) -> Source:
    if not name.strip():
        raise DataError("the name of the data is empty; give a file, a folder or a hub name")
    path = Path(name).expanduser()
    if path.is_file():
        return _from_file(path, split)
    if any(character in name for character in "*?["):
        return _from_pattern(name, split)
    known = path.suffix in (*READERS, ".gz")
    if known and path.is_dir():
        raise DataError(f"{name}: this is a folder, and a file was expected; name one of the files in it")
    if known or (not path.exists() and (path.is_absolute() or name.startswith(("./", "../", "~")))):
        raise DataError(f"{name}: no such file{_nearest_file(path)}")
    return _from_hub(name, path, split, config, streaming)


def _from_file(path: Path, split: str | None) -> Source:
    format_of(path)
    if split not in (None, "train"):
        raise DataError(f"{path}: a file has no split {split!r}; leave `split` out or name the file of that split")
    return Source(str(path), lambda: (NumberedRow(str(path), *numbered) for numbered in read_rows(path)))


def _from_pattern(pattern: str, split: str | None) -> Source:
    paths = sorted(glob.glob(str(Path(pattern).expanduser())))
    if not paths:
        raise DataError(f"{pattern}: no file matches")
    return _joined(pattern, [_from_file(Path(path), split) for path in paths])


def _joined(name: str, parts: Sequence[Source]) -> Source:
    return Source(name, lambda: (row for part in parts for row in part.read()), several=len(parts) > 1)


def _nearest_file(path: Path) -> str:
    siblings = [sibling.name for sibling in path.parent.iterdir()] if path.parent.is_dir() else []
    close = get_close_matches(path.name, siblings, n=1)
    return f". Did you mean '{path.with_name(close[0])}'?" if close else ""


def _from_hub(name: str, path: Path, split: str | None, config: str | None, streaming: bool) -> Source:
    """A hub name, or a folder in the hub's layout or saved by `Dataset.save_to_disk`."""
    import datasets

    try:
        if (path / "state.json").exists() or (path / "dataset_dict.json").exists():
            loaded = datasets.load_from_disk(str(path))
        else:
            loaded = datasets.load_dataset(name, config, split=split, streaming=streaming)
    except Exception as error:  # the hub client raises dozens of types; each means that this name gave no data
        raise DataError(f"{name}: neither a file nor a data set that could be loaded ({error})") from error
    return _from_splits(loaded, name, split) if isinstance(loaded, Mapping) else _from_iterable(loaded, name)
