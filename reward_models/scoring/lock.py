"""One process at a time for one file: a lock that ends with its owner, however that ends."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

from reward_models.disk_faults import disk_faults
from reward_models.errors import DataError

logger = logging.getLogger(__name__)

# A process that was killed has children that notice; they need a moment to let go.
PATIENCE = 2.0
UNTOUCHED = "Nothing was changed; mend this and run the same command again."
WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


def lock_of(path: Path) -> Path:
    """Where the lock of a file lies."""
    return path.with_name(path.name + ".lock")


@contextmanager
def hold(path: Path, patience: float | None = None) -> Iterator[None]:
    """Keep others from ``path`` until the end of the block, or of the process.

    The lock is the kernel's, on the file `lock_of`: a file that a killed process left behind locks nothing.

    Raises:
        DataError: another process has it, and still does after ``patience`` seconds; or no file can be made there.
    """
    lock, until = lock_of(path), monotonic() + (PATIENCE if patience is None else patience)
    while True:
        with disk_faults(lock, lambda: UNTOUCHED):
            found = _try(lock)
        if found is not None:
            break
        if monotonic() > until:
            raise DataError(
                f"{path}: another process ({_owner(lock)}) is at work on it; wait for its end, or name another output"
            )
        sleep(0.05)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(found)


def refuse_if_held(path: Path) -> None:
    """Say early that another process is at work.

    Raises:
        DataError: it is.
    """
    if lock_of(path).exists():
        with hold(path):
            pass


def _try(lock: Path) -> int | None:
    import fcntl

    file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            os.close(file)
            raise
        logger.warning("%s: this file system has no locks; let one process at a time write here", lock)
    # Whoever had it before may have removed the file between our opening and locking it.
    if not _is_at(lock, file):
        os.close(file)
        return None
    # A full disk has no room for the owner's name; what is locked is locked all the same.
    with suppress(OSError):
        os.ftruncate(file, 0)
        os.write(file, f"process {os.getpid()} on {os.uname().nodename}".encode())
    return file


def _is_at(lock: Path, file: int) -> bool:
    try:
        return lock.stat().st_ino == os.fstat(file).st_ino
    except FileNotFoundError:
        return False


def _owner(lock: Path) -> str:
    try:
        return lock.read_text(encoding="utf-8") or "unknown"
    except OSError:
        return "unknown"
