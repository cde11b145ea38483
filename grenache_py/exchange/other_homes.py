"""
What is known of other homes, and what their orders and trades mean for own orders and fills.

Pure. The replica calls ``heard_order`` and ``heard_trade`` for what an entry changed; the two
sides of fills ask whether a home may be traded with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from grenache_py.exchange.errors import OrderError
from grenache_py.exchange.fills.maker import Maker
from grenache_py.exchange.fills.taker import Taker
from grenache_py.exchange.home.ledger import Ledger
from grenache_py.exchange.market.book import Book
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.signed_log.entries import TradeBody, trade_from_body
from grenache_py.exchange.signed_log.hybrid_clock import AHEAD_MS_MAX
from grenache_py.exchange.signed_log.merkle import Signed

__all__ = ["OtherHomes"]


class OtherHomes:
    """
    The other homes, as this home deals with them.

    Attributes:
        crossed: markets whose book may be crossed and is to be swept: a set in a fixed order.
        origins: what the replica holds of each; set with ``attach``, like ``maker``, ``taker`` and
            ``silent``, which tells that this home must sign nothing now.
    """

    origins: Mapping[str, Origin]
    maker: Maker
    taker: Taker
    silent: Callable[[], bool]

    def __init__(
        self,
        key: str,
        markets: Mapping[str, Market],
        books: Mapping[str, Book],
        ledger: Ledger,
    ) -> None:
        self.crossed: dict[str, None] = {}
        self._key = key
        self._markets = markets
        self._books = books
        self._ledger = ledger
        self._clones: set[str] = set()

    def attach(
        self,
        origins: Mapping[str, Origin],
        maker: Maker,
        taker: Taker,
        silent: Callable[[], bool],
    ) -> None:
        """Set what could not be made before this object; call it once, before anything else."""
        self.origins, self.maker, self.taker = origins, maker, taker
        self.silent = silent

    def heard_order(self, order_id: str, market: str) -> None:
        """An order of another home is new or changed."""
        self.taker.maker_changed(order_id)
        book = self._books[market]
        bid, ask = book.best_bid(), book.best_ask()
        if bid is not None and ask is not None and bid >= ask:
            self.crossed[market] = None

    def heard_trade(self, body: TradeBody, home: str, signed: Signed, now: float) -> None:
        """An applied entry of ``home``, ``signed``, tells of a trade."""
        if body.taker_home == self._key and home == body.maker_home:
            if self.silent():
                self.taker.not_by_log(body.id)
                return  # to settle it is to sign; it is asked about afterwards
            market = self.taker.trade_seen(body, signed, now)
            if market is not None:
                self.crossed[market] = None
        elif home == body.maker_home and body.market in self._markets:
            try:
                trade = trade_from_body(body, self._markets[body.market])
            except OrderError:
                return  # its market has another tick or lot than ours
            if trade.time_ms <= self._ledger.log.time_ms(now) + AHEAD_MS_MAX:
                self._ledger.tape.record(trade)
        if body.maker_home == self._key and home == body.taker_home:
            self.maker.trade_settled(body.id, home)

    def linked(self, link: PeerLink, now: float) -> None:
        """A link became ready: fills that wait for its home's answer are asked about again."""
        if not self.silent():  # afterwards all of them are asked about
            self.taker.linked(link.key, now)

    def clone_seen(self, key: str, now: float) -> None:
        """Two machines prove ``key``: no more fills with that home."""
        self._clones.add(key)

    def heard_entry(self, home: str, time_ms: int, now: float) -> None:
        """An entry of ``home`` was applied, and all that it tells was taken in."""
        market = None if self.silent() else self.taker.log_reached(home, time_ms, now)
        if market is not None:
            self.crossed[market] = None

    def log_of(self, home: str) -> tuple[int, int] | None:
        """
        Epoch and jumps of a home's log; None when it must not be asked for fills.
        """
        origin = self.origins.get(home)
        if origin is None or home in self._clones:
            return None
        return origin.epoch, origin.jumps

    def is_frozen(self, home: str) -> bool:
        """Whether nothing that a home says is believed any more."""
        origin = self.origins.get(home)
        return home in self._clones or (origin is not None and bool(origin.frozen))
