"""
What a failing disk means, in sentences a person can act on.

Shell. Looks at the path it is asked about, to tell a disk that may not be written from one
that is not there.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from grenache_py.exchange.errors import StoreError, StoreFault

__all__ = ["translated"]

# What SQLite says, by its primary result code (Python 3.10 does not hand the code out).
_FAULTS: tuple[tuple[str, StoreFault, str], ...] = (
    ("database or disk is full", "full", "no space is left for {path}: free some; nothing is lost"),
    (
        "attempt to write a readonly",
        "readonly",
        "{path} may not be written: check its owner and whether the disk is mounted read-only",
    ),
    (
        "unable to open database file",
        "io",
        "{path} cannot be opened: check that its directory exists and may be written",
    ),
    (
        "disk I/O error",
        "io",
        "the disk under {path} failed ({error}): check the system log and the disk",
    ),
    (
        "database disk image is malformed",
        "corrupt",
        "{path} is damaged: keep it, and see 'A damaged file' in docs/store-schema.rst",
    ),
    ("file is not a database", "corrupt", "{path} is not an SQLite database, or it is damaged"),
    ("is locked", "locked", "{path} is locked by another program: close that one first"),
    ("constraint failed", "bug", "{path} refused a batch: {error}; please report this"),
)


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn what SQLite or the disk says about ``path`` into a StoreError that says what to do."""
    try:
        yield
    except (sqlite3.Error, OverflowError, UnicodeError) as error:
        raise _store_error(path, error) from error
    except OSError as error:
        if error.errno == errno.ENOENT:
            text = "unable to open database file"
        elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            text = "attempt to write a readonly database"
        elif error.errno in (errno.ENOSPC, errno.EDQUOT):
            text = "database or disk is full"
        else:
            text = f"disk I/O error: {error.strerror}"
        raise _store_error(path, sqlite3.OperationalError(text)) from error


def _store_error(path: str, error: Exception) -> StoreError:
    text = str(error)
    if "unable to open" in text and os.path.exists(path) and not os.access(path, os.W_OK):
        text = "attempt to write a readonly database"  # on such a disk not even the log opens
    for sign, fault, sentence in _FAULTS:
        if sign in text:
            return StoreError(fault, sentence.format(path=path, error=text))
    return StoreError("bug", f"{path}: {text}; please report this")
