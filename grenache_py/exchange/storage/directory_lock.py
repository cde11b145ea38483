"""
The lock on a data directory: one process at a time.

Shell. Touches one file; it holds the process id of the owner, for whoever is refused.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

from grenache_py.exchange.errors import StoreError

__all__ = ["DirectoryLock", "holder"]

LOCK_NAME = "exchange.lock"


def holder(directory: str) -> str | None:
    """
    Who has the lock of a directory: a process id, "" when that is not known; None: nobody.

    Raises:
        OSError: the lock cannot be looked at.
    """
    try:
        descriptor = os.open(os.path.join(directory, LOCK_NAME), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, 32).decode("ascii", "replace").strip()
    finally:
        os.close(descriptor)
    return None


class DirectoryLock:
    """
    One daemon on one data directory.

    The kernel drops the lock when the process ends, however it ends; the file that carries it
    stays and means nothing.
    """

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, LOCK_NAME)
        self._file: int | None = None

    def acquire(self) -> None:
        """
        Take the lock, making the directory if there is none.

        Raises:
            StoreError: another process has it, or the directory cannot be used.
        """
        if self._file is not None:
            return
        directory = os.path.dirname(self._path)
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
                os.close(descriptor)
                raise StoreError(
                    "locked",
                    f"data directory {directory} is in use by another exchange"
                    f"{f' (process {holder})' if holder else ''}: stop that one, or use another "
                    "--data",
                ) from None
        except OSError as error:
            raise StoreError(
                "io", f"data directory {directory} cannot be used: {error.strerror}"
            ) from error
        with suppress(OSError):  # a full disk; the lock holds without the note
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._file = descriptor

    def release(self) -> None:
        """Give the lock back. Idempotent."""
        descriptor, self._file = self._file, None
        if descriptor is not None:
            os.close(descriptor)
