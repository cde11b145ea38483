"""
Signed payloads: a batch shares one signature, and each payload can be verified on its own.

Pure. Bytes are signed, not objects: a payload travels as an opaque JSON string, and its signature
is checked over the bytes that came. What is kept or passed on must be canonical all the same
(docs/design/log.rst#canonical), so that nobody can pad it.

The payloads of one batch are the leaves of a Merkle tree (RFC 6962 section 2.1: leaf and node
hashes carry different prefixes, an odd node is promoted) and the signature covers its root, so a
home signs once per commit and a neighbour verifies once per batch: ``Verifier`` remembers the roots
it has already checked.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, NamedTuple, Protocol

from msgspec import Meta, Struct, ValidationError, convert, json

from grenache_py.errors import LocalProtocolError, RemoteProtocolError
from grenache_py.exchange.signed_log.keys import Identity, Scheme

__all__ = [
    "LEAVES_MAX",
    "PAYLOAD_BYTES_MAX",
    "Draft",
    "Sealer",
    "Signed",
    "SignedRow",
    "Verifier",
    "Wire",
    "check_canonical",
]

#: Payloads under one signature. 64 leaves make a path of 6 hashes: 192 bytes save 63 signatures.
LEAVES_MAX = 64
#: Bytes of one payload. Four payloads and their envelope fit a 64 KiB line.
PAYLOAD_BYTES_MAX = 14_000
#: A path is as long as the tree is high.
PATH_BYTES_MAX = 32 * (LEAVES_MAX - 1).bit_length()
#: Verified roots in the younger of two sets; when it is full it replaces the older one.
_ROOTS_MAX = 10_000


def leaf_hash(payload: str) -> bytes:
    """32 bytes: the hash of a payload as a leaf, which is also an entry's id in the log's chain."""
    return sha256(b"\0" + payload.encode(errors="surrogatepass")).digest()


def check_canonical(what: str, value: Struct, payload: str) -> None:
    """
    Check that a payload is the one spelling of the value it was decoded to.

    Raises:
        RemoteProtocolError: it is longer, or written otherwise, than it must be.
    """
    if _encode(value) != payload.encode():
        raise RemoteProtocolError(f"bad {what}: not canonical JSON (docs/design/log.rst#canonical)")


_encode = json.Encoder().encode


def _message(network: str, root: bytes, what: bytes = b"1") -> bytes:
    return b"grenache-exchange/" + what + b"\0" + network.encode() + b"\0" + root


class Wire(Struct, omit_defaults=True, frozen=True, gc=False):
    """A signed payload as it travels: bytes are base64; one alone under its root has no path."""

    payload: str
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]
    path: Annotated[bytes, Meta(max_length=PATH_BYTES_MAX)] = b""
    leaf: tuple[
        Annotated[int, Meta(ge=0, lt=LEAVES_MAX)], Annotated[int, Meta(ge=1, le=LEAVES_MAX)]
    ] = (0, 1)


class SignedRow(NamedTuple):
    """A signed payload as it is stored: the columns that each table with signatures has."""

    payload: str
    path: bytes
    leaf: int
    size: int
    signature: bytes


class _SignedColumns(Protocol):
    """Any row that has the columns of ``SignedRow`` among its own."""

    @property
    def payload(self) -> str: ...

    @property
    def path(self) -> bytes: ...

    @property
    def leaf(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def signature(self) -> bytes: ...


class Signed(Struct, frozen=True, gc=False):
    """
    A payload and the proof of who wrote it.

    Attributes:
        payload: JSON text.
        path: sibling hashes from the leaf up, 32 bytes each.
        index, size: the leaf's position, and the number of leaves.
        signature: 64 bytes over the root.
    """

    payload: str
    path: bytes
    index: int
    size: int
    signature: bytes

    def wire(self) -> Wire:
        """The members this travels as."""
        if self.size == 1:
            return Wire(self.payload, self.signature)
        return Wire(self.payload, self.signature, self.path, (self.index, self.size))

    @property
    def wire_bytes(self) -> int:
        """How many bytes it travels as; each quote in the payload takes two."""
        return len(json.encode(self.wire()))

    @classmethod
    def from_wire(cls, value: object) -> Signed:
        """
        The reverse of ``wire``.

        Raises:
            RemoteProtocolError: a member is missing, of the wrong type or too long.
        """
        try:
            wire = convert(value, Wire)
        except ValidationError as error:
            raise RemoteProtocolError(f"bad signed payload: {error}") from None
        payload, (index, size) = wire.payload, wire.leaf
        if len(wire.path) % 32:
            raise RemoteProtocolError("bad signed payload: 'path' is no row of hashes")
        # A character has at most four bytes: only what comes near the limit is measured.
        if 4 * len(payload) > PAYLOAD_BYTES_MAX and (
            len(payload.encode(errors="replace")) > PAYLOAD_BYTES_MAX
        ):
            raise RemoteProtocolError(f"'payload' has more than {PAYLOAD_BYTES_MAX} bytes")
        if index >= size:
            raise RemoteProtocolError("'leaf' must be [index, size] with index < size")
        return cls(payload, wire.path, index, size, wire.signature)

    def row(self) -> SignedRow:
        """The columns this is stored as."""
        return SignedRow(self.payload, self.path, self.index, self.size, self.signature)

    @classmethod
    def from_row(cls, row: _SignedColumns) -> Signed:
        """The reverse of ``row``; also takes a longer row that has the same columns."""
        return cls(row.payload, row.path, row.leaf, row.size, row.signature)


class Draft(Struct, eq=False, gc=False):
    """A payload that is final but not signed yet; ``signed`` is set when its batch is sealed."""

    payload: str
    hash: bytes
    signed: Signed | None = None

    @property
    def proof(self) -> Signed:
        """The signed payload; to ask before the batch is sealed is a bug."""
        assert self.signed is not None, "used before it was sealed"
        return self.signed


class Sealer:
    """Collects the payloads of one identity and signs them, a batch at a time."""

    def __init__(self, identity: Identity, network: str) -> None:
        self._identity = identity
        self._network = network
        self._drafts: list[Draft] = []

    def add(self, payload: str) -> Draft:
        """
        Queue ``payload`` for the next ``seal``.

        Raises:
            LocalProtocolError: no other peer would take it; nothing is queued.
        """
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise LocalProtocolError(f"a payload of {len(payload)} bytes: nobody would read it")
        draft = Draft(payload, leaf_hash(payload))
        self._drafts.append(draft)
        return draft

    def sign(self, what: bytes, body: bytes) -> bytes:
        """A signature over bytes that are no payload; ``what`` they are is signed with them."""
        return self._identity.sign(_message(self._network, body, what))

    def seal(self) -> None:
        """Sign all payloads added since the last call."""
        drafts, self._drafts = self._drafts, []
        for start in range(0, len(drafts), LEAVES_MAX):
            self._seal(drafts[start : start + LEAVES_MAX])

    def _seal(self, drafts: list[Draft]) -> None:
        levels = [[draft.hash for draft in drafts]]
        while len(levels[-1]) > 1:
            nodes = levels[-1]
            above = [
                sha256(b"\1" + nodes[i] + nodes[i + 1]).digest()
                for i in range(0, len(nodes) - 1, 2)
            ]
            if len(nodes) % 2:
                above.append(nodes[-1])
            levels.append(above)
        signature = self._identity.sign(_message(self._network, levels.pop()[0]))
        # From the root down: the path of a node is its sibling, and then that of its parent.
        paths = [b""]
        for nodes in reversed(levels):
            paths = [
                (nodes[position ^ 1] if position ^ 1 < len(nodes) else b"") + paths[position >> 1]
                for position in range(len(nodes))
            ]
        size = len(drafts)
        for index, draft in enumerate(drafts):
            draft.signed = Signed(draft.payload, paths[index], index, size, signature)


class Verifier:
    """Checks signed payloads, and remembers the roots whose signature was good."""

    def __init__(self, scheme: Scheme, network: str) -> None:
        self._scheme = scheme
        self._network = network
        self._young: set[tuple[str, bytes, bytes]] = set()
        self._old: set[tuple[str, bytes, bytes]] = set()
        self.signatures_checked = 0

    def signed(self, key: str, what: bytes, body: bytes, signature: bytes) -> bool:
        """Whether ``key`` made this `Sealer.sign`."""
        self.signatures_checked += 1
        return self._scheme.verify(key, _message(self._network, body, what), signature)

    def check(self, signed: Signed, key: str) -> bytes:
        """
        Check that ``key`` signed a payload.

        Returns:
            the payload's leaf hash, 32 bytes.

        Raises:
            RemoteProtocolError: ``key`` did not sign it, or the path does not fit the leaf.
        """
        leaf = leaf_hash(signed.payload)
        self.check_leaf(leaf, signed, key)
        return leaf

    def check_leaf(self, leaf: bytes, signed: Signed, key: str) -> None:
        """
        Likewise for the payload with this hash, whatever ``signed.payload`` is.

        Raises:
            RemoteProtocolError: as ``check``.
        """
        node = leaf
        position, width, offset = signed.index, signed.size, 0
        path = signed.path
        while width > 1:
            if position ^ 1 < width:
                sibling = path[offset : offset + 32]
                offset += 32
                pair = sibling + node if position & 1 else node + sibling
                node = sha256(b"\1" + pair).digest()
            position >>= 1
            width = (width + 1) >> 1
        if offset != len(path):
            raise RemoteProtocolError("the Merkle path has the wrong length")
        # The signature is part of what is remembered: a payload that is kept and forwarded must
        # convince the next peer too.
        known = (key, node, signed.signature)
        if known in self._young or known in self._old:
            return
        self.signatures_checked += 1
        if not self._scheme.verify(key, _message(self._network, node), signed.signature):
            raise RemoteProtocolError("the signature is not that of the peer it names")
        self._young.add(known)
        if len(self._young) >= _ROOTS_MAX:
            self._old, self._young = self._young, set()
