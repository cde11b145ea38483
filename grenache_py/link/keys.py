"""
The ed25519 keys that sign mutable items, in both forms found in the field.

Pure. A *seed* is the 32 random bytes that RFC 8032 calls the private key and PyNaCl
takes. An *expanded* key is the 64 bytes the seed hashes to (clamped scalar, then
prefix): the BEP 44 test vectors and the key files of grenache-cli hold those, no seed
can be had from them, and most libraries cannot sign with them. This one can.
"""

from __future__ import annotations

import hashlib

import attrs
from nacl import bindings
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from grenache_py.errors import LocalProtocolError

__all__ = ["ItemKey", "signature_is_valid"]


def signature_is_valid(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether ``signature`` (64 bytes) is that of ``message`` under ``public_key`` (32)."""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    try:
        VerifyKey(public_key).verify(message, signature)
    except BadSignatureError:
        return False
    return True


@attrs.frozen
class ItemKey:
    """
    One key pair; make it with :meth:`from_seed`, :meth:`from_expanded` or :meth:`from_text`.

    Attributes:
        expanded: 64 bytes, clamped scalar and prefix. Secret.
        public: 32 bytes.
    """

    expanded: bytes = attrs.field(repr=False)
    public: bytes

    @classmethod
    def from_seed(cls, seed: bytes) -> ItemKey:
        """Expand a 32-byte seed, the form PyNaCl's ``SigningKey`` encodes to."""
        if len(seed) != 32:
            raise LocalProtocolError(f"an ed25519 seed has 32 bytes, not {len(seed)}")
        digest = bytearray(hashlib.sha512(seed).digest())
        digest[0] &= 248
        digest[31] = digest[31] & 63 | 64
        return cls.from_expanded(bytes(digest))

    @classmethod
    def from_expanded(cls, expanded: bytes) -> ItemKey:
        """Take the 64 bytes that grenache-cli and the BEP 44 vectors call the private key."""
        if len(expanded) != 64:
            raise LocalProtocolError(f"an expanded ed25519 key has 64 bytes, not {len(expanded)}")
        if expanded[0] & 7 or expanded[31] & 192 != 64:
            raise LocalProtocolError("not an expanded ed25519 key: its first half is not clamped")
        scalar = bindings.crypto_core_ed25519_scalar_reduce(expanded[:32] + bytes(32))
        return cls(expanded, bindings.crypto_scalarmult_ed25519_base_noclamp(scalar))

    @classmethod
    def from_text(cls, text: str) -> ItemKey:
        """
        Read the hexadecimal digits of a key file.

        Args:
            text: 128 digits are an expanded key (grenache-cli's files), 64 are a seed.

        Raises:
            LocalProtocolError: anything else.
        """
        digits = text.strip()
        try:
            raw = bytes.fromhex(digits)
        except ValueError:
            raise LocalProtocolError("a key file holds hexadecimal digits only") from None
        if len(digits) == 64:
            return cls.from_seed(raw)
        if len(digits) == 128:
            return cls.from_expanded(raw)
        raise LocalProtocolError(
            f"a key file holds 128 digits (expanded key) or 64 (seed), not {len(digits)}"
        )

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature, the same one RFC 8032 makes from the seed."""
        reduce = bindings.crypto_core_ed25519_scalar_reduce
        nonce = reduce(hashlib.sha512(self.expanded[32:] + message).digest())
        point = bindings.crypto_scalarmult_ed25519_base_noclamp(nonce)
        challenge = reduce(hashlib.sha512(point + self.public + message).digest())
        scalar = reduce(self.expanded[:32] + bytes(32))
        product = bindings.crypto_core_ed25519_scalar_mul(challenge, scalar)
        return point + bindings.crypto_core_ed25519_scalar_add(nonce, product)
