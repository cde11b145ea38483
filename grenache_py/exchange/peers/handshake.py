"""
What two peers say of themselves, before they say anything else: one hello each way.

Pure. See docs/design/identity.rst#handshake. Who is at the other end is known already: the shell
read the key from the certificate whose signature TLS verified. Whoever dialled begins::

    dialler   -> peer.hello  {boot, network, protocol, listen, markets, term, ...}
    listener  <- result      {the same members of its own, and ``seen``}

The whole has ``DEADLINE_S``. ``boot`` is drawn at every start: two live links with one key and
different boot ids are two machines with one identity, unless the ``term`` of one is higher.
"""

from __future__ import annotations

from typing import Annotated, Any

import attrs
import msgspec

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.errors import INVALID_PARAMS, INVALID_REQUEST

__all__ = [
    "DEADLINE_S",
    "PROTOCOL",
    "PULSES_PROTOCOL",
    "TERMS_PROTOCOL",
    "Handshake",
    "HandshakeError",
    "PeerHello",
]

#: A handshake that takes longer is given up.
DEADLINE_S = 5.0
#: Oldest and newest version of the peer protocol spoken here. Version 1 had no TLS, and orders of
#: version 2 did not name tick and lot.
PROTOCOL = (3, 5)
#: From this version on address records may have a term.
TERMS_PROTOCOL = 4
#: From this one on there are ``lease.*`` messages.
PULSES_PROTOCOL = 5
#: Markets that one hello may name.
MARKETS_MAX = 256

_Token = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
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
        term: the signed claim of a home whose database has a term (``term_claims.py``).
    """

    boot: _Token
    network: _Text
    protocol: tuple[_Version, _Version]
    listen: Annotated[str, msgspec.Meta(max_length=262)] = ""
    markets: Annotated[dict[_Text, tuple[_Text, _Text]], msgspec.Meta(max_length=MARKETS_MAX)] = {}
    software: _Text = ""
    seen: Annotated[str, msgspec.Meta(max_length=262)] = ""
    term: dict[str, Any] = {}

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
    One link's handshake: feed it the messages, send what it gives back, until ``peer`` is there.

    Attributes:
        mine: the hello of this side.
        peer: the hello of the other side, once it came: the link may be used.
        deadline: when to give up, in seconds.
    """

    mine: PeerHello
    outbound: bool
    deadline: float
    peer: PeerHello | None = None

    @property
    def protocol(self) -> int | None:
        """The newest version of the protocol that both sides speak; None before the hello."""
        return None if self.peer is None else min(self.peer.protocol[1], self.mine.protocol[1])

    def begin(self) -> list[dict[str, Any]]:
        """What to send as soon as the link is open."""
        if not self.outbound:
            return []
        params = msgspec.to_builtins(self.mine)
        return [{"jsonrpc": "2.0", "id": "hello", "method": "peer.hello", "params": params}]

    def receive(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        """
        Take one message; give the answers.

        Raises:
            HandshakeError: this side will not go on; tell the other side and close.
        """
        if self.outbound:
            self._answered(message)
            return []
        if message.get("method") != "peer.hello" or self.peer is not None:
            raise HandshakeError(
                "this is the port for other peers, whose first message is peer.hello; clients"
                " have one of their own"
            )
        self._meet(PeerHello.parse(message.get("params")))
        result = msgspec.to_builtins(self.mine)
        return [{"jsonrpc": "2.0", "id": message.get("id"), "result": result}]

    def _answered(self, message: dict[str, Any]) -> None:
        if "error" in message:
            error = message["error"]
            said = error.get("message") if isinstance(error, dict) else error
            raise HandshakeError(f"refused by the other side: {str(said)[:200]}")
        if message.get("id") != "hello" or "result" not in message or self.peer is not None:
            raise HandshakeError("this is not an answer to peer.hello")
        self._meet(PeerHello.parse(message["result"]))

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
        for symbol, units in peer.markets.items():
            ours = self.mine.markets.get(symbol, units)
            if ours != units:
                raise HandshakeError(
                    f"market {symbol} has tick {ours[0]} and lot {ours[1]} here, "
                    f"tick {units[0]} and lot {units[1]} there"
                )
        self.peer = peer
