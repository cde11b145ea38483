"""
The journal of a store: each batch is one record, written and synced at once.

Shell. Touches one file; knows no thread, no database and no clock.

A batch is durable when its record is. Its rows come into the tables later (``folding.py``), many
batches in one transaction, and that transaction says how far it came: a ``Mark``. What a start
finds behind the mark is folded before anything else (``Database.open``).

The file is a ring. A record begins where the one before it ends, or behind the header: when no
record is kept that is not folded, or when the file is long and there is room in front of the oldest
that is kept. Numbers count up, so whoever looks for the next record knows it in both places.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from struct import Struct
from typing import Any, NamedTuple, get_args
from zlib import crc32

from msgspec import msgpack

from grenache_py.exchange.effects.rows import Row
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage.copies import new_file
from grenache_py.exchange.storage.sqlite_errors import translated

__all__ = ["ROOM_BYTES", "Journal", "Mark", "newest", "pack", "path_beside", "unfolded", "unpack"]

FILE_HEADER = Struct("<4sIQ")  # magic, format, id
MAGIC, FORMAT = b"grPj", 1
RECORD_HEADER = Struct("<QII")  # number, bytes, checksum
BEGINNING = FILE_HEADER.size
#: The file is made longer by zeros: to overwrite costs a disk less than to append.
GROWS_BYTES = 1024 * 1024
#: Where the ring is closed, if there is room at its beginning.
RING_BYTES = 64 * 1024 * 1024
#: No more than this is kept when a batch is added: so one of this size finds room.
ROOM_BYTES = RING_BYTES // 4

_KINDS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Row)}
_encode = msgpack.Encoder().encode
_sync = getattr(os, "fdatasync", os.fsync)


class Mark(NamedTuple):
    """A place in a journal: behind the batch ``number``. A row of the table ``journal``."""

    id: int
    number: int
    offset: int


def path_beside(path: str) -> str:
    """Where the journal of the SQLite file ``path`` is."""
    return f"{os.path.splitext(path)[0]}.journal"


def pack(rows: Sequence[Row]) -> bytes:
    """A batch as the data of a record."""
    groups: dict[str, list[Any]] = {}
    for row in rows:
        groups.setdefault(type(row).__name__, []).append(row)
    try:
        return _encode(groups)
    except OverflowError:  # ticks times lots beyond 64 bits
        return _encode({name: [[*map(_fitting, row)] for row in groups[name]] for name in groups})


def _fitting(value: Any) -> Any:
    if type(value) is not int or value < 2**63:
        return value
    return msgpack.Ext(0, value.to_bytes(value.bit_length() // 8 + 1, "big"))


_decode = msgpack.Decoder(ext_hook=lambda code, data: int.from_bytes(data, "big")).decode


def unpack(data: bytes) -> list[Row]:
    """The rows of a batch, grouped by type."""
    return [_KINDS[name]._make(row) for name, rows in _decode(data).items() for row in rows]


class Journal:
    """
    One journal that is being written.

    After ``append`` has failed it is closed: what the disk holds of that batch a start will tell.

    Attributes:
        folded: up to where the tables have it; set by whoever folds, on any thread.
    """

    def __init__(self, path: str) -> None:
        """
        Begin an empty journal in place of the file ``path``.

        Raises:
            StoreError: it cannot be written.
        """
        self.path = path
        with translated(path):
            with suppress(FileNotFoundError):
                os.remove(path)
            id = secrets.randbits(63)
            with new_file(path) as part, open(part, "wb") as file:
                file.write(FILE_HEADER.pack(MAGIC, FORMAT, id))
            self._file: int | None = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._size = BEGINNING
        self._newest = self.folded = Mark(id, 0, BEGINNING)

    def append(self, rows: Sequence[Row]) -> tuple[Mark, int]:
        """
        Write a batch; on return it is on the disk.

        Returns the place behind it, and its bytes.

        Raises:
            StoreError: nothing is known about these rows: none of them is there, or all are.
        """
        if self._file is None:
            raise StoreError("closed", f"{self.path} is not open")
        try:
            with translated(self.path):
                data = pack(rows)
                number = self._newest.number + 1
                size = RECORD_HEADER.size + len(data)
                offset = self._place(size)
                end = offset + size
                header = RECORD_HEADER.pack(number, len(data), crc32(data, number & 0xFFFFFFFF))
                zeros = b""
                if end > self._size:
                    self._size = (end // GROWS_BYTES + 1) * GROWS_BYTES
                    zeros = bytes(self._size - end)
                _write(self._file, b"".join((header, data, zeros)), offset)
                _sync(self._file)
        except BaseException:
            self.close()
            raise
        self._newest = Mark(self._newest.id, number, end)
        return self._newest, size

    def _place(self, size: int) -> int:
        """Where a record of ``size`` bytes goes, so that it lies over none that is kept."""
        head, kept = self._newest.offset, self.folded
        if kept.number == self._newest.number:
            self.folded = kept._replace(offset=BEGINNING)  # nobody folds: all of it is
            return BEGINNING
        if head > kept.offset:
            round = head + size > RING_BYTES and BEGINNING + size < kept.offset
            return BEGINNING if round else head
        if head + size < kept.offset:
            return head
        raise StoreError("full", f"{self.path} has no room for {size} bytes")

    def close(self) -> None:
        """Close the file, which stays. Idempotent."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def _write(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written


def unfolded(path: str, mark: Mark) -> Iterator[tuple[bytes, Mark]]:
    """
    The batches behind ``mark``, packed, each with the place behind it.

    Raises:
        StoreError: there is no such journal at ``path``.
    """
    if not os.path.exists(path):
        raise StoreError(
            "refused",
            f"{path} is missing: the store beside it was not closed, and its newest orders are in"
            " there; put it back, or begin anew with --new-epoch",
        )
    with translated(path), open(path, "rb") as file:
        found = file.read(FILE_HEADER.size)
        if found != FILE_HEADER.pack(MAGIC, FORMAT, mark.id):
            raise StoreError("refused", f"{path} is not the journal of the store beside it")
        while True:
            for offset in (mark.offset, BEGINNING):
                data = _record(file, offset, mark.number + 1)
                if data is not None:
                    break
            else:
                return
            mark = Mark(mark.id, mark.number + 1, offset + RECORD_HEADER.size + len(data))
            yield data, mark


def _record(file: Any, offset: int, number: int) -> bytes | None:
    """The data of record ``number`` at ``offset``; None when it is not there, or not whole."""
    file.seek(offset)
    header = file.read(RECORD_HEADER.size)
    if len(header) < RECORD_HEADER.size:
        return None
    found, size, checksum = RECORD_HEADER.unpack(header)
    if found != number:
        return None
    data: bytes = file.read(size)
    whole = len(data) == size and crc32(data, number & 0xFFFFFFFF) == checksum
    return data if whole else None


def newest(path: str, mark: Mark) -> int:
    """The number of the newest batch. Raises StoreError."""
    number = mark.number
    for _, place in unfolded(path, mark):
        number = place.number
    return number
