"""
A peer's identity: one ed25519 key pair, the same after every start.

Pure. See docs/failure-modes.rst#f9. Keys come in as bytes. Simulations use a cheaper scheme of the
same shape.
"""

from __future__ import annotations

from typing import Protocol

import attrs
from nacl import bindings
from nacl.exceptions import BadSignatureError

__all__ = ["Ed25519", "Identity", "Scheme"]


class Scheme(Protocol):
    """How signatures are made and checked."""

    def sign(self, secret: bytes, message: bytes) -> bytes:
        """The signature over ``message``."""

    def verify(self, key: str, message: bytes, signature: bytes) -> bool:
        """Whether ``key`` (64 hex digits) signed ``message``."""


class Ed25519:
    """RFC 8032 through libsodium; a secret is libsodium's 64 bytes, seed and public key."""

    def sign(self, secret: bytes, message: bytes) -> bytes:
        """64 bytes."""
        return bindings.crypto_sign(message, secret)[: bindings.crypto_sign_BYTES]

    def verify(self, key: str, message: bytes, signature: bytes) -> bool:
        """Whether the signature is good; never raises, whatever the bytes."""
        try:
            bindings.crypto_sign_open(signature + message, bytes.fromhex(key))
        except (BadSignatureError, ValueError, TypeError):
            return False
        return True


@attrs.frozen
class Identity:
    """
    A key pair.

    Attributes:
        key: the public key, 64 hex digits: the peer's name in every message.
    """

    key: str
    _secret: bytes = attrs.field(repr=False)
    scheme: Scheme = attrs.field(factory=Ed25519, repr=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> Identity:
        """From 32 secret bytes."""
        public, secret = bindings.crypto_sign_seed_keypair(seed)
        return cls(public.hex(), secret)

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes it was made from: only for the key of the TLS certificate."""
        return self._secret[:32]

    def sign(self, message: bytes) -> bytes:
        """The signature of this peer over ``message``."""
        return self.scheme.sign(self._secret, message)
