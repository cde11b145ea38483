"""
Fills at the peer port: reading ``fill.*`` messages, and passing them to maker and taker.

Pure. What the maker answers is signed with the batch, so results are made once that is sealed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.fills.maker import Maker
from grenache_py.exchange.fills.messages import decode_fill
from grenache_py.exchange.fills.query import decode_query
from grenache_py.exchange.fills.relay import FillRelay, Reply
from grenache_py.exchange.fills.taker import Taker
from grenache_py.exchange.home.own_orders import OwnOrders
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.message_table import PeerMethod, PeerParams
from grenache_py.exchange.peers.peering import Peering
from grenache_py.exchange.signed_log.merkle import Draft, Signed

__all__ = ["FillPort", "read_query", "read_request", "read_settled"]


class _Request(NamedTuple):
    """A signed fill, and the signed entry that publishes the taker's order."""

    fill: Signed
    order: Signed


@attrs.frozen
class FillPort:
    """
    Carries out what other homes ask about fills.

    Args:
        relay: the way to homes that are not neighbours.
        must_serve: raises OrderError while this home does not serve.
        silent: tells that it must sign nothing: to settle a fill is to sign.
        crossed: called with a market whose book may be crossed after an answer.
    """

    _key: str
    _home: OwnOrders
    _maker: Maker
    _taker: Taker
    _peering: Peering
    _relay: FillRelay
    _must_serve: Callable[[], None]
    _silent: Callable[[], bool]
    _crossed: Callable[[str], None]

    def register(self, method: Callable[[str, PeerMethod], None]) -> None:
        """Answer the messages of fills, whichever way they come."""
        method("fill.request", self._requested)
        method("fill.query", self._queried)
        method("fill.settled", self._settled)
        method("fill.relay", self._relay.told)
        self._relay.arrived = {
            "fill.request": self._request_arrived,
            "fill.query": self._query_arrived,
            "fill.settled": self._settled_arrived,
            "answer": self._answer_arrived,
        }
        self._relay.silent = self._taker.on_hold
        self._peering.on_gone.append(self._relay.gone)
        self._taker.reachable = self._reachable

    def _reachable(self, home: str) -> bool:
        return self._relay.reachable(home, self._taker.clock.ms / 1000)

    def send(self, home: str, method: str, params: dict[str, Any], now: float) -> None:
        """
        Send a message to a home: over its link, through neighbours, or once it has been dialled.

        A home that is reached through neighbours is dialled as well, for the next time.
        """
        answered = None if method == "fill.settled" else self.answered
        link = self._peering.by_key.get(home)
        if link is not None:
            self._peering.request(link, method, params, answered, now)
        elif self._relay.send(home, method, params):
            self._peering.dial_peer(home, now)
        else:
            self._peering.transmit(home, method, params, answered, now)

    def _requested(
        self, link: PeerLink, asked: _Request, now: float
    ) -> Callable[[], dict[str, Any]]:
        self._must_serve()
        self._home.expire(now)  # or it would trade after the time its owner set
        return _answer(self._maker.request(asked.fill, asked.order, now))

    def _queried(self, link: PeerLink, asked: Signed, now: float) -> Callable[[], dict[str, Any]]:
        return self._queried_by(asked, now)

    def _queried_by(self, asked: Signed, now: float) -> Callable[[], dict[str, Any]]:
        self._must_serve()
        query = decode_query(asked.payload)
        if query.maker_home != self._key:
            raise RemoteProtocolError("this fill is not for this home")
        # Ids can be foretold, and the question makes a fill impossible: only its taker may ask.
        self._maker.verifier.check(asked, query.taker_home)
        return _answer(self._maker.query(query.fill, query.taker_home, query.deadline, now))

    def _request_arrived(self, params: PeerParams, now: float) -> Reply:
        asked = read_request(params)
        self._must_serve()
        self._home.expire(now)
        answer = self._maker.request(asked.fill, asked.order, now)
        return decode_fill(asked.fill.payload).taker_home, _answer(answer)

    def _query_arrived(self, params: PeerParams, now: float) -> Reply:
        asked = read_query(params)
        return decode_query(asked.payload).taker_home, self._queried_by(asked, now)

    def _settled_arrived(self, params: PeerParams, now: float) -> None:
        self._maker.settled(read_settled(params))

    def _answer_arrived(self, params: PeerParams, now: float) -> None:
        self.answered(dict(params), None, now)

    def _settled(self, link: PeerLink, settled: Signed, now: float) -> None:
        self._maker.settled(settled)

    def answered(
        self, result: dict[str, Any] | None, error: dict[str, Any] | None, now: float
    ) -> None:
        """What came back of a fill: an answer settles it, anything else leaves it in doubt."""
        if result is None or self._silent():
            return
        market = self._taker.answer(Signed.from_wire(result.get("answer")), now)
        if market is not None:
            self._crossed(market)


def read_request(params: PeerParams) -> _Request:
    """The params of ``fill.request``."""
    return _Request(Signed.from_wire(params.get("fill")), Signed.from_wire(params.get("order")))


def read_query(params: PeerParams) -> Signed:
    """The params of ``fill.query``: a signed ``FillQuery``."""
    return Signed.from_wire(params.get("query"))


def read_settled(params: PeerParams) -> Signed:
    """The params of ``fill.settled``: the taker's signed word."""
    return Signed.from_wire(params.get("settled"))


def _answer(draft: Draft) -> Callable[[], dict[str, Any]]:
    return lambda: {"answer": draft.proof.wire()}


def _id(fill: object) -> str:
    if not isinstance(fill, str) or len(fill) != 32:
        raise RemoteProtocolError("a fill's id is 32 hex digits")
    return fill
