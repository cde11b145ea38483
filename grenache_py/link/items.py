"""
BEP 44 items as a client of a grape sees them: JSON text that must match a hash.

Pure. The HTTP API turns every stored value into a string (bytes are decoded as UTF-8,
integers printed), so a value that comes back is checked as the string it is and, where
it looks like one, as the integer it may have been. Lists and dictionaries come back
flattened beyond recognition and cannot be checked.

A salt travels through one more trap: a grape first tries it as JSON text, so that the
salt ``[65]`` arrives as ``A``. :func:`salt_text` writes such salts so that they survive.
"""

from __future__ import annotations

import hashlib
import json

import attrs
import msgspec
from bencode2 import bencode

from grenache_py.errors import LocalProtocolError
from grenache_py.link.errors import BadAnswer
from grenache_py.link.keys import ItemKey, signature_is_valid

__all__ = ["SALT_BYTES_MAX", "VALUE_BYTES_MAX", "Item", "item_from_answer", "signed_put"]

#: A grape refuses 1000 UTF-16 units, its neighbours refuse more than 1000 bytes.
VALUE_BYTES_MAX = 999
SALT_BYTES_MAX = 64  # BEP 44


@attrs.frozen
class Item:
    """
    An item that has been checked against its hash and, if mutable, its signature.

    Attributes:
        value: the stored value, as text.
        hash: 40 hexadecimal digits.
        public_key: 32 bytes for a mutable item, None for an immutable one.
        seq: version of a mutable item, None for an immutable one.
        salt: the salt it was asked for with.
        node_id: hexadecimal id of the DHT node that supplied it.
    """

    value: str
    hash: str
    public_key: bytes | None = None
    seq: int | None = None
    salt: bytes = b""
    node_id: str = ""


def check_value(value: str) -> bytes:
    """Return the UTF-8 bytes of a value that every grape will store, or say why not."""
    if not isinstance(value, str):
        raise LocalProtocolError(f"a value is text, not {type(value).__name__}")
    try:
        raw = value.encode()
    except UnicodeEncodeError:
        raise LocalProtocolError("a value with half a surrogate pair cannot be stored") from None
    if len(raw) > VALUE_BYTES_MAX:
        raise LocalProtocolError(
            f"a value has at most {VALUE_BYTES_MAX} bytes of UTF-8, this one has {len(raw)}"
        )
    return raw


def check_salt(salt: str | bytes) -> bytes:
    """Return the bytes of a salt that BEP 44 allows, or say why not."""
    raw = salt.encode() if isinstance(salt, str) else bytes(salt)
    if len(raw) > SALT_BYTES_MAX:
        raise LocalProtocolError(
            f"a salt has at most {SALT_BYTES_MAX} bytes, this one has {len(raw)}"
        )
    return raw


def salt_text(salt: bytes) -> str:
    """Return the text that a grape decodes to exactly ``salt``."""
    try:
        text = salt.decode()
    except UnicodeDecodeError:
        return json.dumps(list(salt))
    # What cannot start a JSON array, object or string is taken as it is.
    return json.dumps(list(salt)) if text.lstrip()[:1] in ("[", "{", '"') else text


def immutable_hash(value: bytes | int) -> str:
    """Return the target of an immutable item: SHA-1 over its bencoding."""
    return hashlib.sha1(bencode(value), usedforsecurity=False).hexdigest()


def mutable_hash(public_key: bytes, salt: bytes) -> str:
    """Return the target of a mutable item: SHA-1 over key and salt."""
    return hashlib.sha1(public_key + salt, usedforsecurity=False).hexdigest()


def signed_buffer(salt: bytes, seq: int, value: bytes | int) -> bytes:
    """Return what the signature covers: the bencoded dict without its ``d`` and ``e``."""
    head = b"4:salt%d:%b" % (len(salt), salt) if salt else b""
    return b"%b3:seqi%de1:v%b" % (head, seq, bencode(value))


def signed_put(
    value: str, key: ItemKey, seq: int, salt: bytes, cas: int | None
) -> dict[str, str | int]:
    """Return the ``data`` of a ``put`` request for a mutable item."""
    for name, number in (("seq", seq), ("cas", cas)):
        if number is None and name == "cas":
            continue
        if type(number) is not int or not 0 <= number < 2**53:
            raise LocalProtocolError(f"{name} is a whole number from 0 to 2^53 - 1, not {number!r}")
    data: dict[str, str | int] = {
        "v": value,
        "k": key.public.hex(),
        "sig": key.sign(signed_buffer(salt, seq, check_value(value))).hex(),
        "seq": seq,
    }
    if salt:
        data["salt"] = salt_text(salt)
    if cas is not None:
        data["cas"] = cas
    return data


class _GetAnswer(msgspec.Struct):
    v: str
    id: str = ""
    k: str | None = None
    sig: str | None = None
    seq: int | None = None


def item_from_answer(body: bytes, target: str, salt: bytes) -> Item:
    """
    Check a grape's answer to ``get``.

    Args:
        body: JSON object as in docs/design/grenache-wire.rst#grape-http.
        target: the 40 lower-case digits that were asked for.
        salt: the salt that was asked for; never part of the proof of an immutable item.

    Raises:
        BadAnswer: the shape is wrong, or value, key and salt do not prove ``target``.
    """
    try:
        answer = msgspec.json.decode(body, type=_GetAnswer)
        key, signature = bytes.fromhex(answer.k or ""), bytes.fromhex(answer.sig or "")
        value = answer.v.encode()
    except (ValueError, msgspec.MsgspecError) as error:
        raise BadAnswer(f"the answer to get {target} is not an item: {error}") from None
    candidates: list[bytes | int] = [value]
    if len(answer.v) < 20 and answer.v.removeprefix("-").isdecimal() and answer.v.isascii():
        candidates.append(int(answer.v))
    if not key and not signature:
        if all(immutable_hash(one) != target for one in candidates):
            raise BadAnswer(f"the value that came back for {target} does not have that hash")
        return Item(answer.v, target, node_id=answer.id)
    if mutable_hash(key, salt) != target:
        raise BadAnswer(f"the key that came back for {target} does not have that hash")
    seq = answer.seq or 0  # BEP 44: a missing seq is signed as 0
    if not any(signature_is_valid(key, signature, signed_buffer(salt, seq, v)) for v in candidates):
        raise BadAnswer(f"the signature that came back for {target} is not valid")
    return Item(answer.v, target, key, seq, salt, answer.id)
