"""
How two peers prove their keys to each other, before they say anything else.

Pure. See docs/design/identity.rst#handshake. The DHT gives addresses only; a peer is its ed25519
key. Whoever dialled begins::

    dialler   -> peer.hello  {key, nonce, boot, network, protocol, listen, markets, ...}
    listener  <- result      {the same members of its own, and ``seen``}
    dialler   -> peer.prove  {signature}
    listener  <- result      {signature}

Both signatures cover both hellos (nonces, keys, boot ids, network, addresses) and the signer's
role, so neither an old handshake nor one with somebody else can be replayed. The whole has
``DEADLINE_S``. ``boot`` is drawn at every start: two live links that prove one key with
different boot ids are two machines with one identity.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Annotated, Any

import attrs
import msgspec

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.errors import INVALID_PARAMS, INVALID_REQUEST
from grenache_py.exchange.signed_log.keys import Identity

__all__ = ["DEADLINE_S", "PROTOCOL", "Handshake", "HandshakeError", "PeerHello"]

#: A handshake that takes longer is given up.
DEADLINE_S = 5.0
#: Oldest and newest version of the peer protocol spoken here.
PROTOCOL = (1, 1)
#: Markets that one hello may name.
MARKETS_MAX = 256

_Key = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Token = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
_Address = Annotated[str, msgspec.Meta(max_length=262, pattern=r"^(?:[^\s/]+:[0-9]{1,5})?\Z")]
_Text = Annotated[str, msgspec.Meta(max_length=64)]
_Version = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class HandshakeError(RemoteProtocolError):
    """
    The other side cannot be talked to; the message says why.

    Attributes:
        code: the JSON-RPC code the other side is told.
    """

    def __init__(self, message: str, code: int = INVALID_REQUEST) -> None:
        super().__init__(message)
        self.code = code


class PeerHello(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    What a peer says of itself. Members it does not know are ignored: newer peers may add some.

    Attributes:
        listen: ``host:port`` it can be dialled at, "" when it cannot; an empty host
            (``:7071``) means "the address you see me come from".
        markets: tick and lot by symbol.
        seen: ``host:port`` the listener sees the dialler come from; only in the listener's.
    """

    key: _Key
    nonce: _Token
    boot: _Token
    network: _Text
    protocol: tuple[_Version, _Version]
    listen: Annotated[str, msgspec.Meta(max_length=262)] = ""
    markets: Annotated[dict[_Text, tuple[_Text, _Text]], msgspec.Meta(max_length=MARKETS_MAX)] = {}
    software: _Text = ""
    seen: Annotated[str, msgspec.Meta(max_length=262)] = ""

    @classmethod
    def parse(cls, params: object) -> PeerHello:
        """
        Raises:
            HandshakeError: a member is missing or of the wrong type; the message names it.
        """
        try:
            return msgspec.convert(params, cls)
        except msgspec.ValidationError as error:
            raise HandshakeError(f"bad hello: {error}", INVALID_PARAMS) from None


@attrs.define
class Handshake:
    """
    One link's handshake: feed it the messages, send what it gives back, until ``proven``.

    Attributes:
        mine: the hello of this side.
        peer: the hello of the other side, once it came.
        proven: the other side proved its key; the link may be used.
        deadline: when to give up, in seconds.
    """

    _identity: Identity
    mine: PeerHello
    outbound: bool
    deadline: float
    peer: PeerHello | None = None
    proven: bool = False

    def begin(self) -> list[dict[str, Any]]:
        """What to send as soon as the link is open."""
        if not self.outbound:
            return []
        return [_request("hello", "peer.hello", msgspec.to_builtins(self.mine))]

    def receive(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        """
        Take one message; give the answers.

        Raises:
            HandshakeError: this side will not go on; tell the other side and close.
        """
        if self.outbound:
            return self._answered(message)
        method, params, request = message.get("method"), message.get("params"), message.get("id")
        if method == "peer.hello" and self.peer is None:
            self._meet(PeerHello.parse(params))
            return [_result(request, msgspec.to_builtins(self.mine))]
        if method == "peer.prove" and self.peer is not None:
            self._check(params)
            self.proven = True
            return [_result(request, {"signature": self._sign()})]
        raise HandshakeError(
            "this is the port for other peers, whose first two messages are peer.hello and"
            " peer.prove; clients have one of their own"
        )

    def _answered(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        if "error" in message:
            error = message["error"]
            said = error.get("message") if isinstance(error, dict) else error
            raise HandshakeError(f"refused by the other side: {str(said)[:200]}")
        if message.get("id") == "hello" and "result" in message and self.peer is None:
            self._meet(PeerHello.parse(message["result"]))
            return [_request("prove", "peer.prove", {"signature": self._sign()})]
        if message.get("id") == "prove" and "result" in message and self.peer is not None:
            self._check(message["result"])
            self.proven = True
            return []
        raise HandshakeError("this is not an answer to peer.hello or peer.prove")

    def _meet(self, peer: PeerHello) -> None:
        if peer.network != self.mine.network:
            raise HandshakeError(
                f"this is network {self.mine.network!r}, the other side is on {peer.network!r}"
            )
        low = max(peer.protocol[0], self.mine.protocol[0])
        if low > min(peer.protocol[1], self.mine.protocol[1]):
            raise HandshakeError(
                f"no common protocol version: {list(self.mine.protocol)} here, "
                f"{list(peer.protocol)} there"
            )
        if peer.nonce == self.mine.nonce:
            raise HandshakeError("the nonce is a copy of ours")
        for symbol, units in peer.markets.items():
            ours = self.mine.markets.get(symbol, units)
            if ours != units:
                raise HandshakeError(
                    f"market {symbol} has tick {ours[0]} and lot {ours[1]} here, "
                    f"tick {units[0]} and lot {units[1]} there"
                )
        self.peer = peer

    def _transcript(self, signer_is_dialler: bool) -> bytes:
        assert self.peer is not None
        dialler, listener = (self.mine, self.peer) if self.outbound else (self.peer, self.mine)
        said = [
            "dialler" if signer_is_dialler else "listener",
            self.mine.network,
            *([h.key, h.nonce, h.boot, list(h.protocol), h.listen] for h in (dialler, listener)),
        ]
        return b"grenache-exchange-hello/1\0" + sha256(msgspec.json.encode(said)).digest()

    def _sign(self) -> str:
        return b64encode(self._identity.sign(self._transcript(self.outbound))).decode()

    def _check(self, params: object) -> None:
        assert self.peer is not None
        signature = params.get("signature") if isinstance(params, dict) else None
        if not isinstance(signature, str):
            raise HandshakeError("'signature' must be a base64 string", INVALID_PARAMS)
        try:
            raw = b64decode(signature, validate=True)
        except ValueError:
            raise HandshakeError("'signature' must be a base64 string", INVALID_PARAMS) from None
        if not self._identity.scheme.verify(
            self.peer.key, self._transcript(not self.outbound), raw
        ):
            raise HandshakeError(f"{self.peer.key} did not prove its key")


def _request(number: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def _result(number: object, result: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "result": result}
