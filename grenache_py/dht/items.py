"""
BEP 44's immutable and mutable values: as they are stored, put and found.

Pure. Sizes: a byte string of up to 1000 bytes, as Node grapes have it (BEP 44 counts
the encoding, and Node's own clients send up to 999 characters), or any other value of
up to 1000 encoded bytes; Node sets no limit there, but an answer has to fit a datagram.
"""

from __future__ import annotations

from hashlib import sha1

import attrs
from nacl import bindings
from nacl.exceptions import BadSignatureError

from grenache_py.errors import LocalProtocolError
from grenache_py.wire import bencode
from grenache_py.wire.bencode import Value

__all__ = [
    "KEY_BYTES",
    "SALT_BYTES_MAX",
    "SIGNATURE_BYTES",
    "VALUE_BYTES_MAX",
    "GetResult",
    "PutItem",
    "StoredItem",
    "immutable_target",
    "mutable_target",
    "seq_fits",
    "signed_bytes",
    "value_fits",
]

#: Bytes of a stored byte string, and encoded bytes of any other value.
VALUE_BYTES_MAX = 1000
#: Bytes of a salt (BEP 44).
SALT_BYTES_MAX = 64
#: Bytes of an ed25519 public key.
KEY_BYTES = 32
#: Bytes of an ed25519 signature.
SIGNATURE_BYTES = 64


@attrs.frozen
class StoredItem:
    """
    A stored value. ``v`` is bencoded; the rest is None (salt: empty) for an immutable one.
    """

    v: bytes
    k: bytes | None = None
    seq: int | None = None
    sig: bytes | None = None
    salt: bytes = b""

    def target(self) -> bytes:
        """Where it is kept: 20 bytes."""
        return immutable_target(self.v) if self.k is None else mutable_target(self.k, self.salt)

    def signature_holds(self) -> bool:
        """Whether ``sig`` is k's ed25519 signature of salt, seq and v."""
        if self.k is None or self.sig is None or self.seq is None:
            return False
        try:
            bindings.crypto_sign_open(self.sig + signed_bytes(self.v, self.seq, self.salt), self.k)
        except (BadSignatureError, ValueError):
            return False
        return True

    def found_at(self, node_id: bytes) -> GetResult:
        """What a get answers when the node ``node_id`` itself holds the item."""
        return GetResult(node_id, bencode.decode(self.v), None, self.k, self.seq, self.sig)

    def put_arguments(self, own_id: bytes, cas: int | None = None) -> tuple[bytes, bytes]:
        """The inside of ``a`` of a put from ``own_id``: what stands around the token."""
        value = b"1:v" + self.v
        if self.k is None or self.seq is None or self.sig is None:
            return b"2:id20:" + own_id, value
        swap = b"" if cas is None else b"3:casi%de" % cas
        salt = b"4:salt%d:%b" % (len(self.salt), self.salt) if self.salt else b""
        before = b"%b2:id20:%b1:k32:%b%b3:seqi%de3:sig64:%b"
        return before % (swap, own_id, self.k, salt, self.seq, self.sig), value


def immutable_target(v: bytes) -> bytes:
    """SHA-1 of the bencoded value."""
    return sha1(v, usedforsecurity=False).digest()


def mutable_target(k: bytes, salt: bytes = b"") -> bytes:
    """SHA-1 of public key and salt."""
    return sha1(k + salt, usedforsecurity=False).digest()


def signed_bytes(v: bytes, seq: int, salt: bytes = b"") -> bytes:
    """What the owner of a mutable item signs; ``v`` is bencoded."""
    salted = b"4:salt%d:%b" % (len(salt), salt) if salt else b""
    return b"%b3:seqi%de1:v%b" % (salted, seq, v)


def value_fits(encoded: bytes) -> bool:
    """Whether a bencoded value is small enough to be stored."""
    if encoded[:1] in b"ild":
        return len(encoded) <= VALUE_BYTES_MAX
    return len(encoded) - encoded.index(b":") - 1 <= VALUE_BYTES_MAX


def seq_fits(seq: int) -> bool:
    """Whether ``seq`` is a signed 64-bit integer, as other implementations keep it."""
    return -(2**63) <= seq < 2**63


@attrs.frozen
class PutItem:
    """
    A value to store; mutable when ``k`` is given, and then signed by the caller.

    Attributes:
        v: Anything bencode can say.
        k: ed25519 public key, 32 bytes.
        sig: Signature of `signed_bytes`, 64 bytes.
        seq: Version number.
        salt: At most 64 bytes; several items can share one key under different salts.
        cas: Store only over this ``seq``.
    """

    v: object
    k: bytes | None = None
    sig: bytes | None = None
    seq: int | None = None
    salt: bytes = b""
    cas: int | None = None

    def checked(self) -> StoredItem:
        """
        The item as it is stored; its signature is not looked at.

        Raises:
            LocalProtocolError: the value cannot be encoded or is too large, or a member
                has the wrong size or is missing.
        """
        encoded = bencode.encode(self.v)
        if not value_fits(encoded):
            raise LocalProtocolError(f"the value is larger than {VALUE_BYTES_MAX} bytes")
        if self.k is None:
            return StoredItem(encoded)
        if len(self.k) != KEY_BYTES:
            raise LocalProtocolError("k must be 32 bytes")
        if self.sig is None or len(self.sig) != SIGNATURE_BYTES:
            raise LocalProtocolError("sig must be 64 bytes")
        if len(self.salt) > SALT_BYTES_MAX:
            raise LocalProtocolError("salt must be at most 64 bytes")
        if self.seq is None or not seq_fits(self.seq):
            raise LocalProtocolError("seq must be a 64-bit integer")
        return StoredItem(encoded, self.k, self.seq, self.sig, self.salt)


@attrs.frozen
class GetResult:
    """
    An item that was found.

    Attributes:
        id: The node that had it (20 bytes).
        v: The value, decoded.
        token: That node's write token; None when the item was held here.
        k: Public key (32 bytes), seq and sig (64 bytes): None for an immutable item.
    """

    id: bytes
    v: Value
    token: bytes | None = None
    k: bytes | None = None
    seq: int | None = None
    sig: bytes | None = None
