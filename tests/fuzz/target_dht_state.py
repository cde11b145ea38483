"""The state file's reader: StateDamaged or StateFromLater, or a state that dumps and loads."""

from __future__ import annotations

from hashlib import sha256

from grenache_py.dht.items import StoredItem
from grenache_py.dht.saved_state import DHTState, StateDamaged, StateFromLater, dump, load

SEEDS = [
    dump(DHTState(b"i" * 20, b"k" * 32)),
    dump(
        DHTState(
            b"i" * 20,
            b"k" * 32,
            [("10.0.0.1", 1), ("::1", 2)],
            [StoredItem(b"1:x"), StoredItem(b"1:y", b"p" * 32, 7, b"s" * 64, b"salt")],
        )
    ),
]


def one(data: bytes) -> None:
    """Read it as it is, and with the checksum put right so that the content is reached."""
    line, _, body = data.partition(b"\n")
    right = line[:24] + sha256(body).hexdigest().encode() + b"\n" + body
    for candidate in (data, right):
        try:
            state = load(candidate)
        except (StateDamaged, StateFromLater):
            continue
        assert load(dump(state)) == state
