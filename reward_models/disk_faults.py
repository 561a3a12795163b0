"""What a disk that is full or broken means to the one who waits for a result."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reward_models.errors import DataError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def disk_faults(path: Path, kept: Callable[[], str]) -> Iterator[None]:
    """Turn what the system says of a file into a message: which one, how much space is left, what is kept.

    Raises:
        DataError: in place of any ``OSError`` or ``sqlite3.Error``.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        what = "the disk is full" if _is_full(error) else f"cannot be written or read ({error})"
        raise DataError(f"{path}: {what}; {free_space(path)}. {kept()}") from error


def free_space(path: Path) -> str:
    """Say how much room there is where a file or folder lies, or is to lie."""
    folder = next(one for one in (path, *path.absolute().parents) if one.is_dir())
    try:
        return f"{shutil.disk_usage(folder).free / 2**20:,.1f} MiB are free in {folder}"
    except OSError as error:
        return f"{folder} cannot be looked at ({error.strerror})"


def _is_full(error: OSError | sqlite3.Error) -> bool:
    if isinstance(error, OSError):
        return error.errno in FULL
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
