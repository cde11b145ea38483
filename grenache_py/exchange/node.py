"""
One peer of the exchange without its sockets, its disk and its clock.

Pure. Composes the home (own orders), the maker's and the taker's side of fills, the replica
(other homes' orders), and the links to other peers. Everything that comes in is a method call
with the time; everything that goes out is a ``Batch``: rows to commit, then what may leave.

The service takes a batch whenever no commit is running, so all that arrived while the last one
ran is committed together and, because sealing signs a batch once, signed together.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

from grenache_py.errors import ConfigError, RemoteProtocolError
from grenache_py.exchange.effects.batch import Batch, BookChanged, Outbox
from grenache_py.exchange.effects.rows import MetaRow, Snapshot
from grenache_py.exchange.errors import BUSY, OrderError
from grenache_py.exchange.fills.maker import Maker
from grenache_py.exchange.fills.messages import FILLS_TOLD_MAX, fill_id
from grenache_py.exchange.fills.taker import Taker
from grenache_py.exchange.home.ledger import Ledger
from grenache_py.exchange.home.own_orders import OwnOrders
from grenache_py.exchange.market.book import Book
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.order import LiveOrder, NewOrder, Trade
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.peering import Peering, PeeringConfig
from grenache_py.exchange.peers.requests import PeerParams
from grenache_py.exchange.replication.held_logs import HeldLogs
from grenache_py.exchange.replication.remote_orders import RemoteOrders
from grenache_py.exchange.replication.replica import Replica
from grenache_py.exchange.replication.sync import Sync
from grenache_py.exchange.replication.sync_responder import LiveIndex
from grenache_py.exchange.signed_log.entries import Entry, OriginLog, TradeBody, trade_from_body
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.merkle import Sealer, Signed, Verifier

__all__ = ["ExchangeNode", "NodeConfig"]

#: A heartbeat at least this often (more seldom in very large networks, see ``_beat_s``) ...
BEAT_S = 5.0
#: ... and after so many entries without one: neighbours keep 1,024 and start from a heartbeat.
BEAT_ENTRIES = 500
#: How long others may match this home's orders after its last heartbeat.
LEASE_MS = 20_000
#: Crossed pairs, leases and expiries are looked for this often; events may be lost.
SWEEP_S = 1.0
#: A restarted home first listens this long to what others hold of its log: should its disk be
#: an old copy, it must not sign a second history.
LISTEN_S = 3.0


@attrs.frozen
class NodeConfig:
    """
    What a peer is told about itself.

    Attributes:
        peering: network name, addresses, numbers of links.
        markets: at least one.
        live_orders_max: own live orders; more are refused.
        new_epoch: the operator's word that this disk lost something (distributed.md 2.9): close
            all own orders and begin a new log, which replaces the old one everywhere.
    """

    peering: PeeringConfig
    markets: tuple[Market, ...]
    live_orders_max: int = 200_000
    new_epoch: bool = False


class ExchangeNode:
    """
    See the module. Raises ConfigError when ``snapshot`` does not fit the configured markets.

    Args:
        snapshot: what the store loaded; an empty one for a new home.
        rng: for nonces, jitter and choices of neighbours; never for anything that is stored.
        now: wall time in seconds, as in every method.
    """

    def __init__(
        self,
        config: NodeConfig,
        identity: Identity,
        snapshot: Snapshot,
        rng: random.Random,
        now: float,
    ) -> None:
        self.config = config
        self.key = identity.key
        self.markets = {market.symbol: market for market in config.markets}
        self.books = {symbol: Book(market) for symbol, market in self.markets.items()}
        self.started = now
        self.clock = HybridClock(snapshot.meta.get("clock_floor_ms", 0))
        self.outbox = Outbox()
        network = config.peering.network
        sealer, verifier = Sealer(identity, network), Verifier(identity.scheme, network)
        self._sealer = sealer
        self.verifier = verifier
        self.live = LiveIndex()
        log = OriginLog(self.key, sealer, self.clock)
        self.ledger = Ledger(
            self.key, self.markets, self.books, log, self.outbox, self.live.changed
        )
        self.replica = Replica(
            self.key,
            RemoteOrders(
                self.markets, self.books, self.clock, self._heard_order, self.live.changed
            ),
            self.clock,
            verifier,
            self.outbox,
            self._heard_trade,
            lambda: (log.epoch, log.seq),
            self._own_hash,
        )
        self.taker = Taker(self.ledger, self.clock, self.outbox, sealer, verifier, self._epoch_of)
        self.maker = Maker(
            self.ledger,
            self.clock,
            self.outbox,
            sealer,
            verifier,
            self._is_frozen,
            self.replica.records.find,
        )
        self.home = OwnOrders(self.ledger, self.clock, self.taker, config.live_orders_max)
        self.peering = Peering(config.peering, identity, sealer, verifier, self.markets, rng, now)
        self.sync = Sync(self.peering, HeldLogs(self.ledger, self.replica), self.live, rng, now)
        self.peering.method("fill.request", self._fill_requested)
        self.peering.method("fill.query", self._fill_queried)
        self.peering.method("fill.settled", self._fill_settled)
        self.peering.on_ready.append(self._linked)
        self.peering.on_clone = self._clone_seen
        self.peering.homes = self._visible_homes
        self._crossed: dict[str, None] = {}  # markets to sweep: a set in a fixed order
        self._clones: set[str] = set()
        self._beat_at = now
        self._beat_seq = 0
        self._sweep_at = now + SWEEP_S
        self._restore(snapshot, now)

    # Start.

    def _restore(self, snapshot: Snapshot, now: float) -> None:
        self._check_markets(snapshot)
        head = snapshot.head
        if head is not None:
            tail = [
                (row.seq, Signed(row.payload, row.path, row.leaf, row.size, row.signature))
                for row in snapshot.log_tail
            ]
            self.ledger.log.restore(head.epoch, head.seq, head.hash, tail)
            self.clock.resume(*Entry.decode(head.payload).time)
        for row in snapshot.orders:
            # A stop that waits is not in the log, and its stamp must not be given out again.
            self.clock.resume(row.time_ms, row.counter)
        self.ledger.restore(snapshot)
        self.home.restore()
        self.maker.restore(snapshot)
        self.replica.restore(snapshot, now)
        self.taker.restore(snapshot, now)
        if self.config.new_epoch:
            self._begin_epoch(now)
        elif head is not None:
            self._beat_at = now + LISTEN_S

    def _begin_epoch(self, now: float) -> None:
        """
        Start a log that no lost entry can contradict.

        Epochs are minutes since 2026, so that the next is above one that was forgotten.
        """
        minutes = (self.clock.read_ms(now) - 1_767_225_600_000) // 60_000
        self.ledger.begin_epoch(max(minutes, self.ledger.log.epoch + 1))
        self.home.cancel_all(now)

    def _check_markets(self, snapshot: Snapshot) -> None:
        """Ticks and lots are stored as counts: they must still mean what they meant."""
        for market in self.markets.values():
            for name, value in (
                ("tick_units", market.tick.units),
                ("tick_decimals", market.tick.decimals),
                ("lot_units", market.lot.units),
                ("lot_decimals", market.lot.decimals),
            ):
                meta = f"{name}:{market.symbol}"
                stored = snapshot.meta.get(meta)
                if stored is None:
                    self.outbox.rows.append(MetaRow(meta, value))
                elif stored != value:
                    raise ConfigError(
                        f"market {market.symbol} was traded here with another tick or lot;"
                        " restore the old ones, or use a new data directory"
                    )
        for row in snapshot.orders:
            if row.live and row.market not in self.markets:
                raise ConfigError(
                    f"there are open orders in market {row.market} here, which is not"
                    f" configured; start with --market {row.market}:... and cancel them first"
                )

    # Clients.

    def place(self, new: NewOrder, now: float) -> LiveOrder:
        """
        Accept an order; see ``OwnOrders.place``.

        Raises:
            OrderError: it was refused and nothing happened.
        """
        self._serve()
        self._settle_down(now)  # those that waited longer come first
        live = self.home.place(new, now)
        self._settle_down(now)
        return live

    def cancel(self, order_id: str, now: float, account: str | None = None) -> LiveOrder:
        """
        Close what is open of an own order; see ``OwnOrders.cancel``.

        Raises:
            OrderError: unknown, or closed already.
        """
        self._serve()
        return self.home.cancel(order_id, now, account)

    def cancel_all(
        self, now: float, market: str | None = None, account: str | None = None
    ) -> list[LiveOrder]:
        """Cancel all own orders of a market and an account (None: of all)."""
        self._serve()
        return self.home.cancel_all(now, market, account)

    def replace(
        self,
        order_id: str,
        now: float,
        quantity_lots: int | None = None,
        price_ticks: int | None = None,
        account: str | None = None,
    ) -> LiveOrder:
        """
        Change an order; see ``OwnOrders.replace``. Returns the order that stands afterwards.

        Raises:
            OrderError: unknown, closed, or the new values make no sense; nothing changed.
        """
        self._serve()
        self._settle_down(now)
        live = self.home.replace(order_id, now, quantity_lots, price_ticks, account)
        self._settle_down(now)
        return live

    def decide(self, fill_id: str, now: float) -> None:
        """
        Give up on a fill in doubt whose maker is gone for ever; see ``Taker.decide``.

        Raises:
            OrderError: no such fill is in doubt.
        """
        self.taker.decide(fill_id, now)
        self._settle_down(now)

    def order(self, order_id: str) -> LiveOrder | None:
        """An own order, live or recently closed; older ones only the store knows."""
        own = self.ledger.find(order_id)
        return own.live if own is not None else None

    def by_client_id(self, account: str, client_order_id: str) -> LiveOrder | None:
        """Likewise, by the id its client gave it."""
        order_id = self.ledger.by_client_id.get((account, client_order_id))
        return self.order(order_id) if order_id is not None else None

    def open_orders(
        self, market: str | None = None, account: str | None = None
    ) -> Iterator[LiveOrder]:
        """Own live orders of a market and an account (None: of all), oldest first."""
        for own in self.ledger.own.values():
            live = own.live
            if (market is None or live.order.market == market) and (
                account is None or live.account == account
            ):
                yield live

    def trades_of(self, order_id: str) -> list[Trade]:
        """The newest trades of an own order in memory, newest last."""
        own = self.ledger.find(order_id)
        return list(own.trades) if own is not None else []

    def tape(self, market: str) -> list[Trade]:
        """The newest trades of a market, newest last."""
        return list(self.ledger.tape.trades.get(market, ()))

    def order_seq(self, account: str) -> int:
        """The newest number of an account's order updates; 0 when there was none."""
        return self.ledger.event_seqs.get(account, 0)

    def alarms(self) -> list[str]:
        """Why this home must not serve (distributed.md 2.9); empty when all is well."""
        alarms = list(self.replica.alarms)
        if self.peering.own_clone:
            alarms.append("another process proves this peer's key: two daemons, one identity")
        return alarms

    def _serve(self) -> None:
        if self.replica.alarms or self.peering.own_clone:
            raise OrderError(BUSY, f"this peer does not serve: {self.alarms()[0]}")

    # Links.

    def link_opened(self, link: int, outbound: bool, address: str, now: float) -> None:
        """A connection is up; ``link`` is the shell's number for it."""
        self.peering.link_opened(link, outbound, address, now)

    def link_message(self, link: int, message: dict[str, Any], now: float) -> None:
        """One JSON-RPC object arrived."""
        self.peering.link_message(link, message, now)

    def link_closed(self, link: int, now: float) -> None:
        """A connection is gone."""
        self.peering.link_closed(link, now)

    def link_failed(self, address: str, reason: str, now: float) -> None:
        """A ``Dial`` did not connect."""
        self.peering.link_failed(address, reason, now)

    def discovered(self, addresses: Iterable[str], now: float) -> None:
        """The grapes named these ``host:port``: hints, to be dialled and proven."""
        self.peering.discovered(addresses, now)

    def connect(self, address: str, now: float) -> None:
        """Dial ``address``, now and whenever it is not linked."""
        self.peering.connect(address, now)

    def ban(self, key: str, seconds: float, now: float) -> None:
        """Close the link to a peer and refuse it for a while."""
        self.peering.ban(key, seconds, now)

    def unban(self, key: str, now: float) -> None:
        """Let a peer come back."""
        self.peering.unban(key, now)

    def goodbye(self, now: float) -> None:
        """Tell all links that this peer stops."""
        self.peering.goodbye(now)

    # What links bring.

    def _fill_requested(
        self, link: PeerLink, params: PeerParams, now: float
    ) -> Callable[[], dict[str, Any]]:
        self._serve()
        self.home.expire(now)  # or it would trade after the time its owner set
        fill = Signed.from_wire(params.get("fill"))
        answer = self.maker.request(fill, Signed.from_wire(params.get("order")), now)
        return lambda: {"answer": answer.proof.wire()}

    def _fill_queried(
        self, link: PeerLink, params: PeerParams, now: float
    ) -> Callable[[], dict[str, Any]]:
        self._serve()
        deadline = params.get("deadline")
        if type(deadline) is not int or deadline < 0:
            raise RemoteProtocolError("'deadline' must be a time in ms")
        fill = _id(params.get("fill"))
        # Ids can be foretold, and the question makes a fill impossible: only its taker may ask.
        order, seq = str(params.get("order")), params.get("fill_seq")
        if type(seq) is not int or fill != fill_id(order, self.key, link.key, seq):
            raise RemoteProtocolError("'fill' must be the id of a fill of yours, of 'order'")
        answer = self.maker.query(fill, link.key, deadline, now)
        return lambda: {"answer": answer.proof.wire()}

    def _fill_settled(self, link: PeerLink, params: PeerParams, now: float) -> None:
        fills = params.get("fills")
        if not isinstance(fills, list) or len(fills) > FILLS_TOLD_MAX:
            raise RemoteProtocolError(f"'fills' must be a list of at most {FILLS_TOLD_MAX} ids")
        for fill in fills:
            self.maker.settled(_id(fill), link.key)

    def _fill_answered(
        self, result: dict[str, Any] | None, error: dict[str, Any] | None, now: float
    ) -> None:
        """What came back of a fill: an answer settles it, anything else leaves it in doubt."""
        if result is None:
            return
        market = self.taker.answer(Signed.from_wire(result.get("answer")), now)
        if market is not None:
            self._crossed[market] = None

    def _linked(self, link: PeerLink, now: float) -> None:
        self.taker.linked(link.key, now)

    def _visible_homes(self) -> int:
        return sum(origin.visible for origin in self.replica.origins.values())

    def _clone_seen(self, key: str, now: float) -> None:
        self._clones.add(key)

    def _heard_trade(self, body: TradeBody, home: str, now: float) -> None:
        """An applied entry of ``home`` tells of a trade."""
        if body.taker_home == self.key and home == body.maker_home:
            market = self.taker.trade_seen(body, now)
            if market is not None:
                self._crossed[market] = None
        elif home == body.maker_home and body.market in self.markets:
            try:
                trade = trade_from_body(body, self.markets[body.market])
            except OrderError:
                return  # its market has another tick or lot than ours
            self.ledger.tape.record(trade)
        if body.maker_home == self.key and home == body.taker_home:
            self.maker.trade_settled(body.id, home)

    def _heard_order(self, live: LiveOrder) -> None:
        self.taker.maker_changed(live.order_id)
        book = self.books[live.order.market]
        bid, ask = book.best_bid(), book.best_ask()
        if bid is not None and ask is not None and bid >= ask:
            self._crossed[live.order.market] = None

    def _epoch_of(self, home: str) -> int | None:
        origin = self.replica.origins.get(home)
        if origin is None or home in self._clones:
            return None
        return origin.epoch

    def _is_frozen(self, home: str) -> bool:
        origin = self.replica.origins.get(home)
        return home in self._clones or (origin is not None and bool(origin.frozen))

    def _own_hash(self, seq: int) -> str | None:
        found = self.ledger.log.range(seq, seq)
        return found[0].hash.hex() if found else None

    # Time and output.

    def _settle_down(self, now: float) -> None:
        """What follows from what happened since the last call: expiries, crossed books, stops."""
        self.home.expire(now)
        while self._crossed:
            self.home.sweep(self._crossed.popitem()[0], now)
        if self.ledger.tape.new_prices:
            for symbol in list(self.ledger.tape.new_prices):
                self.home.fire_stops(symbol, now)

    def _ask_whether_back(self, home: str, now: float) -> None:
        """A home on hold gets fills again when it answers a ping (2.8)."""

        def answered(result: dict[str, Any] | None, error: object, then: float) -> None:
            if result is not None:
                self.taker.on_hold.discard(home)

        self.peering.transmit(home, "peer.ping", {}, answered, now)

    def _beat_s(self) -> float:
        """Heartbeats of all homes together stay below 50 a second."""
        return max(BEAT_S, len(self.replica.origins) / 50)

    def tick(self, now: float) -> None:
        """Do what is due. Call at ``next_deadline``; too early or too late does no harm."""
        self.home.expire(now)
        self.taker.tick(now)
        self.peering.tick(now)
        if now >= self._sweep_at or self._sweep_at > now + SWEEP_S:
            self._sweep_at = now + SWEEP_S
            self.maker.collect(now)
            self.replica.tick(now)
            self._crossed.update(dict.fromkeys(self.books))
            for home in sorted(self.taker.on_hold):
                self._ask_whether_back(home, now)
        beat_s = self._beat_s()
        if (now >= self._beat_at or self._beat_at > now + beat_s) and not self.alarms():
            self._beat(now)
        self._settle_down(now)

    def _beat(self, now: float) -> None:
        self._beat_at = now + self._beat_s()
        self.ledger.writer.beat(now, max(LEASE_MS, int(4000 * self._beat_s())))
        self._beat_seq = self.ledger.log.seq

    def next_deadline(self) -> float:
        """When ``tick`` next has work, in seconds."""
        beat_at = self._beat_at if not self.alarms() else self._sweep_at
        deadlines = [beat_at, self._sweep_at, self.peering.next_deadline()]
        deadlines += filter(None, (self.taker.next_deadline(), self.home.next_expiry()))
        return min(deadlines)

    def take_batch(self, now: float) -> Batch:
        """
        All that was decided since the last batch, signed.

        The caller commits ``rows`` in one transaction and lets nothing else leave before that
        has returned. When it fails, this node must be thrown away and built again from the
        store: what it knows may not be what the disk knows.
        """
        self._settle_down(now)
        self.taker.tell_settled()
        self.ledger.writer.close()
        if self.ledger.log.seq - self._beat_seq >= BEAT_ENTRIES:
            self._beat(now)
        outbox = self.outbox
        messages, outbox.messages = outbox.messages, []
        published, outbox.published = outbox.published, []
        unsealed, outbox.unsealed = outbox.unsealed, []
        self._sealer.seal()
        self.ledger.flush()
        self.replica.flush()
        rows, outbox.rows = outbox.rows, []
        rows.extend(make() for make in unsealed)
        epoch = self.ledger.log.epoch
        self.peering.publish(
            (draft, self.key, (epoch, seq, draft.hash.hex())) for seq, draft in published
        )
        for key, method, params in messages:
            answered = None if method == "fill.settled" else self._fill_answered
            self.peering.transmit(key, method, params(), answered, now)
        sends = self.peering.drain(now)
        floor = self.clock.raise_floor()
        if floor is not None:
            rows.append(MetaRow("clock_floor_ms", floor))
        events, outbox.events = outbox.events, []
        for symbol, book in self.books.items():
            changes = book.drain_changes()
            if changes:
                events.append(BookChanged(symbol, book.seq, book.seq - 1, changes, book.checksum))
        return Batch(rows, sends, events)

    # What people ask.

    def status(self, now: float) -> dict[str, Any]:
        """How this peer is doing, in plain JSON values."""
        replica = self.replica
        live = sum(len(origin.records) for origin in replica.origins.values())
        now_ms = int(now * 1000)
        return {
            "peer": self.key,
            "network": self.config.peering.network,
            "uptime_s": int(now - self.started),
            "synced": self.sync.synced,
            "serving": not self.alarms(),
            "alarms": self.alarms(),
            "links": len(self.peering.by_key),
            "origins": {
                home: {
                    "epoch": origin.epoch,
                    "seq": origin.seq,
                    "live": len(origin.records),
                    "visible": origin.visible,
                    "complete": origin.complete,
                    "frozen": origin.frozen,
                    "age_ms": max(0, now_ms - origin.time[0]),
                }
                for home, origin in replica.origins.items()
            },
            "log": {
                "epoch": self.ledger.log.epoch,
                "seq": self.ledger.log.seq,
                "hash": self.ledger.log.hash,
            },
            "orders": {"own": len(self.ledger.own), "remote": live},
            "fills": {
                "in_doubt": len(self.taker.intents),
                "on_hold": sorted(self.taker.on_hold),
                "requested": self.taker.requested,
                "settled": self.taker.settled,
                "asked_again": self.taker.asked_again,
                "unknown_answers": self.taker.unknown_answers,
                "answered": self.maker.filled,
                "refused": self.maker.refused,
                "repeated": self.maker.repeated,
                "poisoned": self.maker.poisoned,
                "unsettled_answers": self.maker.unsettled,
            },
            "gossip": {
                "applied": replica.applied,
                "signatures_checked": self.verifier.signatures_checked,
                "published": self.peering.gossip.published,
                "lines": self.peering.gossip.lines,
            },
            "clock_ahead_ms": max(0, self.clock.ms - now_ms),
        }

    def peers(self, now: float) -> list[dict[str, Any]]:
        """The links, in plain JSON values; ``peer`` is None until a key is proven."""
        behind = self.sync.behind()
        return [
            {
                "peer": link.key or None,
                "address": link.address,
                "listen": link.listen or None,
                "direction": "outbound" if link.outbound else "inbound",
                "ready": link.ready,
                "latency_ms": None if link.latency_s is None else round(link.latency_s * 1000, 2),
                "score": round(self.peering.scores.of(link.key, now), 1) if link.key else None,
                "synced": link.ready and link.key not in behind,
                "connected_s": int(now - link.opened),
                "heard_s_ago": round(max(0.0, now - link.heard), 1) if link.heard else None,
            }
            for link in self.peering.links.values()
        ]

    def in_doubt(self) -> list[dict[str, Any]]:
        """Fills without a settled answer."""
        return [
            {
                "fill": intent.fill.id,
                "order": intent.fill.order,
                "maker_home": intent.fill.maker_home,
                "market": intent.fill.market,
                "quantity": self.markets[intent.fill.market].format_quantity(intent.open_lots),
                "deadline": intent.fill.deadline,
            }
            for intent in self.taker.intents.values()
        ]


def _id(fill: object) -> str:
    if not isinstance(fill, str) or len(fill) != 32:
        raise RemoteProtocolError("a fill's id is 32 hex digits")
    return fill
