"""
The identity key as a TLS certificate, and the key of whoever is at the other end.

Shell: makes OpenSSL's objects, in memory only. The certificate is its own issuer, and nothing in it
matters but its public key: that is who the peer is (docs/design/identity.rst#handshake).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from nacl.bindings import crypto_core_ed25519_is_valid_point
from OpenSSL import SSL

__all__ = ["identity_context", "key_of"]

#: Clocks do not matter: the certificate is good for as long as certificates can be.
VALID_FROM, VALID_UNTIL = datetime(2000, 1, 1), datetime(9999, 12, 31)
#: ChaCha20 first: AES-GCM wants new keys after so many bytes, which nobody here can ask for.
CIPHERS = b"TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"


def identity_context(seed: bytes) -> SSL.Context:
    """
    TLS 1.3 and nothing older, with the key of ``seed`` (32 secret bytes), for both directions.

    Made once: it must not change after its first connection.
    """
    key = Ed25519PrivateKey.from_private_bytes(seed)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "grenache-exchange")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(VALID_FROM)
        .not_valid_after(VALID_UNTIL)
        .sign(key, None)
    )
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_tls13_ciphersuites(CIPHERS)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    # The other side's certificate is asked for, and nothing of it believed; see `key_of`.
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    return context


def key_of(connection: Any) -> str:
    """
    The key that signed the other side's half of a finished handshake, 64 hex digits.

    "" when it showed none, or one that is not ed25519, or one under which anybody can sign.
    """
    try:
        public = connection.get_peer_certificate(as_cryptography=True).public_key()
    except Exception:  # whatever a parser throws at a stranger's bytes means that there is no key
        return ""
    if not isinstance(public, Ed25519PublicKey):
        return ""
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return raw.hex() if crypto_core_ed25519_is_valid_point(raw) else ""
