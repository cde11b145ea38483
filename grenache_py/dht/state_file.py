"""
The two files a node may keep: its state, and the key its identity is derived from.

Shell: touches these files and nothing else; every call blocks until the disk has it.
Beside the state file lies ``<name>.lock``, which stays there and means nothing unless a
running node holds it: two nodes with one state would be one to their neighbours.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import BinaryIO

from twisted.logger import Logger

from grenache_py.dht.saved_state import DHTState, StateDamaged, StateFromLater, dump, load
from grenache_py.errors import ConfigError

__all__ = [
    "KEY_BYTES",
    "load_state",
    "lock_state",
    "read_or_make_key",
    "save_state",
    "write_atomically",
]

KEY_BYTES = 32

log = Logger()


def lock_state(path: Path) -> BinaryIO:
    """
    Claim the state file for this process until what is returned is closed.

    Raises:
        ConfigError: another grape uses it, or nothing can be written beside it.
    """
    lock = path.with_name(path.name + ".lock")
    try:
        file = lock.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise
    except BlockingIOError:
        raise ConfigError(
            f"state file {path} is in use by another grape: stop that one, or use another --state"
        ) from None
    except OSError as problem:
        raise ConfigError(f"state file {path} cannot be written: {problem.strerror}") from None
    return file


def load_state(path: Path) -> DHTState | None:
    """
    Read the state file; None when there is none yet.

    A damaged file is set aside as ``<name>.damaged`` with a warning, and the node starts
    afresh: what it held is found again from the network, so refusing to start would
    only turn a damaged file into an outage.

    Raises:
        ConfigError: it cannot be read, or a newer version wrote it.
    """
    try:
        return load(path.read_bytes())
    except FileNotFoundError:
        return None
    except StateDamaged as damage:
        aside = path.with_name(path.name + ".damaged")
        try:
            path.replace(aside)
        except OSError as problem:
            raise ConfigError(
                f"state file {path}: {damage}, and it cannot be set aside: {problem.strerror}"
            ) from None
        log.warn(
            "state file {path}: {damage}; set aside as {aside}, starting afresh",
            path=str(path),
            damage=str(damage),
            aside=str(aside),
        )
        return None
    except StateFromLater as later:
        raise ConfigError(f"state file {path}: {later}") from None
    except OSError as problem:
        raise ConfigError(f"state file {path} cannot be read: {problem.strerror}") from None


def save_state(path: Path, state: DHTState) -> None:
    """
    Write the state file; after a crash there is the old one or the new one.

    Raises:
        OSError: it cannot be written.
    """
    write_atomically(path, dump(state))


def read_or_make_key(path: Path, fresh: bytes) -> bytes:
    """
    Read the key file, or make it from ``fresh`` (32 random bytes), mode 0600.

    Raises:
        ConfigError: it cannot be read or made, or does not hold a key.
    """
    try:
        try:
            text = path.read_text("ascii")
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                _create_exclusively(path, fresh)
            except FileExistsError:
                text = path.read_text("ascii")  # another grape was first
            else:
                return fresh
        key = bytes.fromhex(text)
    except OSError as problem:
        raise ConfigError(f"key file {path} cannot be used: {problem.strerror}") from None
    except ValueError:
        raise ConfigError(f"key file {path} does not hold a hexadecimal key") from None
    if len(key) != KEY_BYTES:
        raise ConfigError(f"key file {path} does not hold {KEY_BYTES} bytes in hexadecimal")
    return key


def _create_exclusively(path: Path, key: bytes) -> None:
    """Make a complete key file or none: written aside, then linked to its name."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    write_atomically(aside, key.hex().encode() + b"\n")
    try:
        os.link(aside, path)
    finally:
        aside.unlink()


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file at ``path``, mode 0600, synced to disk before it gets its name."""
    descriptor, aside = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError:
        os.unlink(aside)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
