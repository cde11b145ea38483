"""
What a node keeps between runs, as bytes and back.

Pure. One bencoded dictionary behind a line that names the format and the SHA-256 of
what follows, so that a file cut short or changed is noticed. Peers are not kept: they
live two minutes and are announced again by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import attrs

from grenache_py.dht.items import StoredItem
from grenache_py.errors import GrenacheError, RemoteProtocolError
from grenache_py.wire import bencode
from grenache_py.wire.bencode import Value
from grenache_py.wire.krpc import ID_BYTES, Address, compact_address, expand_address

__all__ = ["DHTState", "StateDamaged", "StateFromLater", "dump", "load"]

_MAGIC = b"grenache-py dht state "
_VERSION = 1


class StateDamaged(GrenacheError):
    """The bytes are not a state this program wrote. The message says what is wrong."""


class StateFromLater(GrenacheError):
    """A newer version wrote it."""


@attrs.frozen
class DHTState:
    """
    A node's memory.

    Attributes:
        node_id: 20 bytes.
        token_key: Secret behind the write tokens, 32 bytes.
        contacts: Addresses of nodes that answered, best first.
        items: BEP 44 values, the one used longest ago first.
    """

    node_id: bytes
    token_key: bytes = attrs.field(repr=False)
    contacts: Sequence[Address] = ()
    items: Sequence[StoredItem] = ()


def dump(state: DHTState) -> bytes:
    """The bytes to write."""
    body = bencode.encode(
        {
            b"contacts": [compact_address(address) for address in state.contacts],
            b"items": [_item_members(item) for item in state.items],
            b"node_id": state.node_id,
            b"token_key": state.token_key,
        }
    )
    return b"%b%d %b\n%b" % (_MAGIC, _VERSION, sha256(body).hexdigest().encode(), body)


def load(data: bytes) -> DHTState:
    """
    Read what `dump` wrote.

    Raises:
        StateDamaged: it was not, or it was changed since.
        StateFromLater: a version after this one wrote it.
    """
    line, newline, body = data.partition(b"\n")
    if not newline or not line.startswith(_MAGIC):
        raise StateDamaged("it is not a grenache-py DHT state file")
    version, _, checksum = line[len(_MAGIC) :].partition(b" ")
    if not version.isdigit() or int(version) < 1:
        raise StateDamaged("its first line is damaged")
    if int(version) > _VERSION:
        raise StateFromLater(f"it has format {int(version)}; this program knows {_VERSION}")
    if sha256(body).hexdigest().encode() != checksum:
        raise StateDamaged("its checksum does not match its content")
    try:
        return _state(bencode.decode(body))
    except (RemoteProtocolError, KeyError, TypeError, ValueError) as problem:
        raise StateDamaged(f"its content makes no sense: {problem!r}") from None


def _state(members: Value) -> DHTState:
    if not isinstance(members, dict):
        raise TypeError("not a dictionary")
    node_id, token_key = members[b"node_id"], members[b"token_key"]
    contacts, items = members[b"contacts"], members[b"items"]
    if not isinstance(node_id, bytes) or len(node_id) != ID_BYTES:
        raise ValueError("node_id")
    if not isinstance(token_key, bytes) or not 16 <= len(token_key) <= 64:
        raise ValueError("token_key")
    if not isinstance(contacts, list) or not isinstance(items, list):
        raise TypeError("contacts and items are lists")
    return DHTState(
        node_id,
        token_key,
        [expand_address(compact) for compact in contacts if isinstance(compact, bytes)],
        [_item(members) for members in items],
    )


def _item_members(item: StoredItem) -> dict[bytes, object]:
    members: dict[bytes, object] = {b"v": item.v}
    if item.k is not None:
        members |= {b"k": item.k, b"seq": item.seq, b"sig": item.sig, b"salt": item.salt}
    return members


def _item(members: Value) -> StoredItem:
    if not isinstance(members, dict):
        raise TypeError("item")
    v = members[b"v"]
    if not isinstance(v, bytes):
        raise TypeError("item v")
    if b"k" not in members:
        return StoredItem(v)
    k, seq, sig, salt = members[b"k"], members[b"seq"], members[b"sig"], members[b"salt"]
    if not (
        isinstance(k, bytes)
        and isinstance(seq, int)
        and isinstance(sig, bytes)
        and isinstance(salt, bytes)
    ):
        raise TypeError("item")
    return StoredItem(v, k, seq, sig, salt)
