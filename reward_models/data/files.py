r"""Read rows from JSONL, JSON and Parquet files, each also gzipped. JSONL is split on ``\n`` only.

``str.splitlines`` would also cut at U+2028 and the like, which are legal inside a JSON string.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from reward_models.data.faults import BadRow, RowFault, bad_row
from reward_models.errors import DataError

Numbered = tuple[int, Any]
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
DEEPEST = 100
UNREADABLE = (OSError, ValueError, TypeError, KeyError, OverflowError, MemoryError)
"""What a damaged Parquet file raises beside Arrow's own errors, such as text that is no UTF-8."""
STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""Texts, one that breaks off with the line too: else every quote in it would be looked at as a beginning."""
BRACKETS = re.compile(rb"[\[\]{}]")


def format_of(path: Path) -> str:
    """The format that the file's name states."""
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix.lower() not in READERS:
        raise DataError(f"{path}: unknown format {suffix!r}; known are {', '.join(READERS)}, each also with .gz")
    return suffix.lower()


def read_rows(path: Path) -> Iterator[Numbered]:
    """Row numbers (from 1; the line of a JSONL file) with rows, or with a `BadRow` where there is none to read."""
    reader = READERS[format_of(path)]
    try:
        with _open(path) as file:
            yield from reader(path, file)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: the gzip file is damaged or cut off ({error})") from error


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return path.open("rb")


def read_jsonl(path: Path, file: IO[bytes]) -> Iterator[Numbered]:
    """One row a line; blank lines are passed over."""
    for number, line in enumerate(file, start=1):  # a binary file yields lines split on b"\n" only
        if number == 1:
            line = line.removeprefix(BYTE_ORDER_MARK)
            _check_beginning(path, line)
        if line.strip():
            yield number, _parsed(path, number, line.rstrip(b"\r\n"))


def _check_beginning(path: Path, line: bytes) -> None:
    if line.startswith(UTF16):
        raise DataError(f"{path}: the file is UTF-16; write it again as UTF-8")
    begin = line.strip()
    if begin == b"[" or re.match(rb"\[\s*\{", begin):
        raise DataError(f"{path}: the file is one JSON list; name it .json, or write an object a line without brackets")


def check_depth(line: bytes) -> None:
    """Refuse JSON that is nested deeper than what works on it can follow, before it is parsed."""
    depth = 0
    if line.count(b"[") + line.count(b"{") <= DEEPEST:
        return
    for sign in BRACKETS.finditer(STRINGS.sub(b"", line)):
        depth += 1 if sign[0] in b"[{" else -1
        if depth > DEEPEST:
            raise RowFault("unparseable_json", "line", f"nested too deeply: more than {DEEPEST} levels")


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a JSON text, in which every key stands once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise RowFault("duplicate_keys", twice, "the key stands twice")
    return found


def _parsed(path: Path, number: int, line: bytes) -> Any:
    try:
        text = line.decode("utf-8")
        check_depth(line)
        return json.loads(text, object_pairs_hook=unique_keys)
    except RowFault as found:
        return bad_row(str(path), number, line.decode("utf-8"), found)
    except UnicodeDecodeError as error:
        fault = RowFault("invalid_unicode", "line", f"byte {error.start} is no UTF-8")
        return bad_row(str(path), number, line.decode("utf-8", "backslashreplace"), fault)
    except (ValueError, RecursionError) as error:
        fault = RowFault("unparseable_json", "line", _problem(error))
        return bad_row(str(path), number, line.decode("utf-8"), fault)


def _problem(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def read_json(path: Path, file: IO[bytes]) -> Iterator[Numbered]:
    """A list of rows, an object of equally long columns, or an object with one list of rows; held in memory."""
    content = file.read().removeprefix(BYTE_ORDER_MARK)
    if content.startswith(UTF16):
        raise DataError(f"{path}: the file is UTF-16; write it again as UTF-8")
    try:
        check_depth(content)
        document = json.loads(content.decode("utf-8"), object_pairs_hook=unique_keys)
    except RowFault as fault:
        raise DataError(f"{path}: {fault.field}: {fault.detail} ({fault.reason})") from fault
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is no UTF-8; write the file again as UTF-8") from error
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and content.lstrip()[:1] == b"{":
            yield from read_jsonl(path, io.BytesIO(content))
            return
        raise DataError(f"{path}: no JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: no JSON: {_problem(error)}") from error
    yield from enumerate(_rows_of_document(path, document), start=1)


def _rows_of_document(path: Path, document: Any) -> list[Any]:
    if isinstance(document, list):
        return document
    if isinstance(document, dict) and document:
        lists = {key: value for key, value in document.items() if isinstance(value, list)}
        if len(lists) == 1:
            (rows,) = lists.values()
            if rows and all(isinstance(row, dict) for row in rows) and not _is_row(document):
                return rows
        if len(lists) == len(document) > 1 and len({len(column) for column in lists.values()}) == 1:
            return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
        return [document]
    raise DataError(f"{path}: expected a list of objects at the top")


def _is_row(document: Mapping[str, Any]) -> bool:
    return any(name in document for name in ("prompt", "question", "instruction", "chosen"))


def read_parquet(path: Path, file: IO[bytes]) -> Iterator[Numbered]:
    """Read in batches, so that memory holds one batch."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(io.BytesIO(file.read()) if path.suffix == ".gz" else file)
        batches = (batch.to_pylist() for batch in table.iter_batches(batch_size=1000))
        yield from enumerate((row for batch in batches for row in batch), start=1)
    except (pyarrow.ArrowException, *UNREADABLE) as error:
        if isinstance(error, (gzip.BadGzipFile, FileNotFoundError)):
            raise
        raise DataError(f"{path}: no Parquet file that can be read ({error})") from error


READERS: Mapping[str, Callable[[Path, IO[bytes]], Iterator[Numbered]]] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".parquet": read_parquet,
}

__all__ = ["READERS", "BadRow", "format_of", "read_json", "read_jsonl", "read_parquet", "read_rows"]
