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
from grenache_py.exchange.fills.messages import FILLS_TOLD_MAX, fill_id
from grenache_py.exchange.fills.taker import Taker
from grenache_py.exchange.home.own_orders import OwnOrders
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.message_table import PeerMethod, PeerParams
from grenache_py.exchange.signed_log.hybrid_clock import TIME_MS_MAX
from grenache_py.exchange.signed_log.merkle import Draft, Signed

__all__ = ["FillPort", "read_query", "read_request", "read_settled"]


class _Request(NamedTuple):
    """A signed fill, and the signed entry that publishes the taker's order."""

    fill: Signed
    order: Signed


class _Query(NamedTuple):
    """A question about one fill."""

    fill: str
    order: str
    fill_seq: int
    deadline_ms: int


@attrs.frozen
class FillPort:
    """
    Carries out what other homes ask about fills.

    Args:
        must_serve: raises OrderError while this home does not serve.
        silent: tells that it must sign nothing: to settle a fill is to sign.
        crossed: called with a market whose book may be crossed after an answer.
    """

    _key: str
    _home: OwnOrders
    _maker: Maker
    _taker: Taker
    _must_serve: Callable[[], None]
    _silent: Callable[[], bool]
    _crossed: Callable[[str], None]

    def register(self, method: Callable[[str, PeerMethod], None]) -> None:
        """Answer the three messages of fills."""
        method("fill.request", self._requested)
        method("fill.query", self._queried)
        method("fill.settled", self._settled)

    def _requested(
        self, link: PeerLink, asked: _Request, now: float
    ) -> Callable[[], dict[str, Any]]:
        self._must_serve()
        self._home.expire(now)  # or it would trade after the time its owner set
        return _answer(self._maker.request(asked.fill, asked.order, now))

    def _queried(self, link: PeerLink, asked: _Query, now: float) -> Callable[[], dict[str, Any]]:
        self._must_serve()
        # Ids can be foretold, and the question makes a fill impossible: only its taker may ask.
        if asked.fill != fill_id(asked.order, self._key, link.key, asked.fill_seq):
            raise RemoteProtocolError("'fill' must be the id of a fill of yours, of 'order'")
        return _answer(self._maker.query(asked.fill, link.key, asked.deadline_ms, now))

    def _settled(self, link: PeerLink, fills: list[str], now: float) -> None:
        for fill in fills:
            self._maker.settled(fill, link.key)

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


def read_query(params: PeerParams) -> _Query:
    """The params of ``fill.query``."""
    deadline = params.get("deadline")
    if type(deadline) is not int or not 0 <= deadline <= TIME_MS_MAX:
        raise RemoteProtocolError("'deadline' must be a time in ms")
    fill = _id(params.get("fill"))
    order, seq = str(params.get("order")), params.get("fill_seq")
    if type(seq) is not int or not 0 <= seq <= 2**53:
        raise RemoteProtocolError("'fill' must be the id of a fill of yours, of 'order'")
    return _Query(fill, order, seq, deadline)


def read_settled(params: PeerParams) -> list[str]:
    """The params of ``fill.settled``: ids of fills."""
    fills = params.get("fills")
    if not isinstance(fills, list) or len(fills) > FILLS_TOLD_MAX:
        raise RemoteProtocolError(f"'fills' must be a list of at most {FILLS_TOLD_MAX} ids")
    return [_id(fill) for fill in fills]


def _answer(draft: Draft) -> Callable[[], dict[str, Any]]:
    return lambda: {"answer": draft.proof.wire()}


def _id(fill: object) -> str:
    if not isinstance(fill, str) or len(fill) != 32:
        raise RemoteProtocolError("a fill's id is 32 hex digits")
    return fill
