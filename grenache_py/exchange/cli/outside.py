"""
What ``exchange doctor`` asks others: whose key answers at a peer port, and what a grape finds.

Edge: a connection at a time. The modules that HTTP and TLS between peers usually take are longer in
coming than all else that the command does.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress

import msgspec

__all__ = ["ed25519_key", "found_at", "who_answers"]

#: Seconds for a grape's whole answer; for a peer's connection, and each step of TLS.
TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 262_144
READ_BYTES = 65_536
#: A subject's public key that is an ed25519 one, up to its 32 bytes (RFC 8410).
_ED25519 = bytes.fromhex("302a300506032b6570032100")
_KEY_BYTES = 32
#: What may stand before the serial number of a certificate, and what stands behind it up to the
#: key: algorithm, issuer, validity, subject (RFC 5280).
_VERSION = 0xA0
_BEFORE_KEY = 5


def found_at(grape: str, name: str) -> list[str] | str:
    """What the grape with this URL knows under a name; why it does not say, when it does not."""
    body = msgspec.json.encode({"rid": "doctor", "data": name})
    try:
        head, _, answer = _posted(f"{grape}/lookup", body).partition(b"\r\n\r\n")
        version, _, status = head[:12].decode("latin-1").partition(" ")
        if not version.startswith("HTTP/"):
            return "it speaks no HTTP"
        if status != "200":
            return f"it answered {status}"
        found = msgspec.json.decode(answer)
    except (OSError, ValueError) as error:  # DecodeError and UnicodeError are ValueErrors
        return str(getattr(error, "strerror", None) or error)
    return [str(address) for address in found] if isinstance(found, list) else str(found)


def _posted(url: str, body: bytes) -> bytes:
    """What is answered to ``body``, head and all: HTTP/1.0 ends with the connection."""
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    host, colon, port = authority.rpartition(":")
    if not colon or "]" in port:
        host, port = authority, "443" if scheme == "https" else "80"
    until, answer = time.monotonic() + TIMEOUT_S, b""
    head = f"POST /{path} HTTP/1.0\r\nHost: {authority}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S) as plain:
        connection = plain
        if scheme == "https":
            connection = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
        connection.sendall(head.encode() + body)
        while data := connection.recv(READ_BYTES):
            answer += data
            left_s = until - time.monotonic()
            if len(answer) > ANSWER_BYTES_MAX or left_s <= 0:
                raise OSError("its answer does not end")
            connection.settimeout(left_s)
    return answer


def who_answers(address: str) -> str:
    """
    Return the key, 64 hex digits, of who answers at ``host:port``; "" when it is no ed25519 key.

    Raises:
        OSError: nobody answers there, or not in TLS as peers do; its text is a sentence.
    """
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # a key that signs the handshake is who it is
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S)
    except (OverflowError, ValueError) as error:
        raise OSError(str(error)) from None
    with connection:
        try:
            with context.wrap_socket(connection) as talk:
                return ed25519_key(talk.getpeercert(binary_form=True) or b"")
        except OSError:  # ssl.SSLError is one
            raise OSError("it does not speak TLS as peers do; is it a client port?") from None


def ed25519_key(certificate: bytes) -> str:
    """Return the public key of an X.509 certificate in DER, 64 hex digits; "" if it is another."""
    with suppress(StopIteration, IndexError):
        _, body, _ = next(_members(certificate))
        _, signed, _ = next(_members(body))
        members = list(_members(signed))
        _, _, key = members[_BEFORE_KEY + (members[0][0] == _VERSION)]
        if key.startswith(_ED25519) and len(key) == len(_ED25519) + _KEY_BYTES:
            return key[len(_ED25519) :].hex()
    return ""


def _members(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """What stands one behind the other in DER: tag, content, and both with their length."""
    while data:
        size, start = data[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(data[2:start], "big")
        yield data[0], data[start : start + size], data[: start + size]
        data = data[start + size :]
