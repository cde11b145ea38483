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
from collections.abc import Iterator
from typing import Any

import attrs

from grenache_py.exchange.condition.status import NodeStatus
from grenache_py.exchange.effects.batch import Batch, BookChanged, Outbox
from grenache_py.exchange.effects.rows import MetaRow, Snapshot
from grenache_py.exchange.fills.giving_up import GivingUp
from grenache_py.exchange.fills.maker import Maker
from grenache_py.exchange.fills.port import FillPort
from grenache_py.exchange.fills.relay import FillRelay
from grenache_py.exchange.fills.taker import Taker
from grenache_py.exchange.home.heartbeat import Heartbeat
from grenache_py.exchange.home.ledger import Ledger
from grenache_py.exchange.home.own_lease import OwnLease
from grenache_py.exchange.home.own_orders import OwnOrders
from grenache_py.exchange.market.book import Book
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.order import LiveOrder, NewOrder, Trade
from grenache_py.exchange.market.stored_steps import markets_of
from grenache_py.exchange.other_homes import OtherHomes
from grenache_py.exchange.peer_messages import PEER_MESSAGES
from grenache_py.exchange.peers.neighbour_clocks import NeighbourClocks
from grenache_py.exchange.peers.peering import Peering, PeeringConfig
from grenache_py.exchange.replication.held_logs import HeldLogs
from grenache_py.exchange.replication.live_set_index import LiveSetIndex
from grenache_py.exchange.replication.remote_orders import RemoteOrders
from grenache_py.exchange.replication.remote_rows import RemoteRows
from grenache_py.exchange.replication.replica import Replica
from grenache_py.exchange.replication.sync import Sync
from grenache_py.exchange.serving import Serving
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.merkle import Sealer, Verifier
from grenache_py.exchange.signed_log.own_log import OwnLog
from grenache_py.exchange.start import Start

__all__ = ["ExchangeNode", "NodeConfig"]

#: Crossed pairs, leases and expiries are looked for this often; events may be lost.
SWEEP_S = 1.0


@attrs.frozen
class NodeConfig:
    """
    What a peer is told about itself.

    Attributes:
        peering: network name, addresses, numbers of links.
        markets: at least one.
        live_orders_max: own live orders; more are refused.
        new_epoch: the operator's word that this disk lost something
            (docs/design/identity.rst#epochs): close all own orders and begin a new log.
        followed: the store is known to be no old one: serve at once (docs/design/standby.rst).
    """

    peering: PeeringConfig
    markets: tuple[Market, ...]
    live_orders_max: int = 200_000
    new_epoch: bool = False
    followed: bool = False


class ExchangeNode:
    """
    See the module. Raises ConfigError when ``snapshot`` does not fit the configured markets, and
    LocalProtocolError when a peer message has no method.

    Args:
        snapshot: what the store loaded; an empty one for a new home.
        rng: for nonces, jitter and choices of neighbours; never for anything that is stored.
        now: wall time in seconds, as in every method.

    Attributes:
        serving, alarms: whether this home may sign and serve; see ``Serving``.
        discovered, goodbye, connect, ban: see ``Peering`` and ``Dialling``.
        tie, untie, connection_lost, connections_lost_but: see ``TiedOrders``.
        status, summary, peers, in_doubt: see ``NodeStatus``.
        markets, books: by symbol.
        last_trades: see ``Tape.last``.
        known_markets: those, and any that orders of earlier times were in.
        ledger, home, taker, maker, replica, peering, sync: the parts; see their classes.
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
        self.known_markets = markets_of(snapshot.meta) | self.markets
        rows = RemoteRows(self.markets)
        self.books = {symbol: Book(market, rows) for symbol, market in self.markets.items()}
        self.clock = HybridClock(snapshot.meta.get("clock_floor_ms", 0))
        self.outbox = Outbox()
        self._sealer = sealer = Sealer(identity, config.peering.network)
        self.verifier = verifier = Verifier(identity.scheme, config.peering.network)
        self.live = LiveSetIndex()
        changed = self.live.changed
        log = OwnLog(self.key, sealer, self.clock)
        self.ledger = Ledger(self.key, self.markets, self.books, log, self.outbox, changed)
        self.live.settle_own = self.ledger.writer.live_set.settle
        self._others = others = OtherHomes(self.key, self.markets, self.books, self.ledger)
        self.replica = Replica(
            self.key,
            RemoteOrders(self.markets, self.books, rows, self.clock, others.heard_order, changed),
            self.clock,
            verifier,
            self.outbox,
            others.heard_trade,
            lambda: (log.epoch, log.seq),
            self._own_hash,
        )
        fill = (self.ledger, self.clock, self.outbox, sealer, verifier)
        self.taker = Taker(*fill, others.log_of)
        self.maker = Maker(*fill, others.is_frozen, self.replica.published)
        self.replica.on_entry = others.heard_entry
        self.home = OwnOrders(self.ledger, self.clock, self.taker, config.live_orders_max)
        self.peering = Peering(
            config.peering, identity, sealer, verifier, self.markets, PEER_MESSAGES, rng, now
        )
        self.serving = serving = Serving(
            self.clock,
            NeighbourClocks(self.peering.table),
            self.peering.ready,
            self.replica.alarms,
            lambda: self.peering.admission.own_clone,
            lambda: bool(self.peering.claims.rival),
        )
        self.alarms = serving.alarms
        others.attach(self.replica.origins, self.maker, self.taker, lambda: serving.silent)
        self.discovered, self.goodbye = self.peering.discovered, self.peering.goodbye
        tied, self.last_trades = self.ledger.tied, self.ledger.tape.last
        self.tie, self.untie = tied.tie, tied.untie
        self.connection_lost, self.connections_lost_but = tied.lost, tied.lost_but
        self.connect, self.ban = self.peering.dialling.connect, self.peering.ban
        self.sync = Sync(self.peering, HeldLogs(self.ledger, self.replica), self.live, rng, now)
        relay = FillRelay(self.key, self.peering, self.sync.intake.routes)
        parts = (self.home, self.maker, self.taker, self.peering, relay)
        silence = serving.must_sign, lambda: serving.silent
        self._fills = FillPort(self.key, *parts, *silence, self._cross)
        self._fills.register(self.peering.method)
        self._giving_up = GivingUp(self.taker, self.peering.reachable)
        self.peering.messages.check_complete()
        self.peering.on_ready.append(others.linked)
        self.peering.admission.on_clone = others.clone_seen
        self.peering.homes = self.replica.sets.visible.__len__
        own_lease = OwnLease(sealer, self.clock, self.ledger.writer, self.sync.signs.own)
        self.peering.on_stopping = lambda now: None if serving.silent else own_lease.leave(now)
        self._heartbeat = Heartbeat(self.ledger, own_lease, self.replica.origins, now)
        self._sweep_at = now + SWEEP_S
        held = (self.clock, self.ledger, self.maker, self.taker, self.replica)
        about = NodeStatus(*held, self.sync, self.peering, verifier, serving, now)
        self.status, self.peers, self.in_doubt = about.status, about.peers, about.in_doubt
        self.summary = about.summary
        start = Start(*held, verifier, self.home, serving, bool(config.peering.connect))
        start.restore(snapshot, config.new_epoch, now, config.followed)

    # Clients.

    def place(self, new: NewOrder, now: float) -> LiveOrder:
        """
        Accept an order; see ``OwnOrders.place``.

        Raises:
            OrderError: it was refused and nothing happened.
        """
        self.serving.must_take()
        self._follow_up(now)  # those that waited longer come first
        live = self.home.place(new, now)
        self._sweep(now)
        return live

    def cancel(self, order_id: str, now: float, account: str | None = None) -> LiveOrder:
        """
        Close what is open of an own order; see ``OwnOrders.cancel``.

        Raises:
            OrderError: unknown, or closed already.
        """
        self.serving.must_sign()
        return self.home.cancel(order_id, now, account)

    def cancel_all(
        self, now: float, market: str | None = None, account: str | None = None
    ) -> list[LiveOrder]:
        """Cancel all own orders of a market and an account (None: of all)."""
        self.serving.must_sign()
        return self.home.cancel_all(now, market, account)

    def cancel_after(self, account: str, market: str | None, ms: int, now: float) -> int | None:
        """See ``OwnOrders.cancel_after``."""
        return self.home.cancel_after(account, market, ms, now)

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
        self.serving.must_take()
        self._follow_up(now)
        live = self.home.replace(order_id, now, quantity_lots, price_ticks, account)
        self._sweep(now)
        return live

    def decide(self, fill_id: str, now: float) -> None:
        """
        Give up on a fill in doubt whose maker is gone for ever; see ``GivingUp.decide``.

        Raises:
            OrderError: no such fill is in doubt, or its maker was just asked.
        """
        self.serving.must_sign()
        self._giving_up.decide(fill_id, now)
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

    def execution_seq(self, account: str) -> int:
        """The newest number of an account's executions; 0 when there was none."""
        return self.ledger.execution_seqs.get(account, 0)

    # Links.

    def link_opened(self, link: int, outbound: bool, address: str, key: str, now: float) -> None:
        """A connection is up; ``link`` is the shell's number for it."""
        self.peering.link_opened(link, outbound, address, key, now)

    def link_message(self, link: int, message: dict[str, Any], now: float) -> tuple[int, int]:
        """One JSON-RPC object arrived; what the link has to pay (``Peering.link_message``)."""
        return self.peering.link_message(link, message, now)

    def link_closed(self, link: int, now: float) -> None:
        """A connection is gone."""
        self.peering.link_closed(link, now)

    def link_failed(self, address: str, reason: str, now: float) -> None:
        """A ``Dial`` did not connect."""
        self.peering.dialling.failed(address, now)

    def unban(self, key: str, now: float) -> None:
        """Let a peer come back."""
        self.peering.scores.unban(key)

    # What the parts ask of each other.

    def _cross(self, market: str) -> None:
        self._others.crossed[market] = None

    def _own_hash(self, seq: int) -> str | None:
        found = self.ledger.log.range(seq, seq)
        return found[0].hash.hex() if found else None

    # Time and output.

    def _settle_down(self, now: float) -> None:
        if not self.serving.silent:
            self._follow_up(now)

    def _follow_up(self, now: float) -> None:
        """What follows from what happened since the last call: expiries, crossed books, stops."""
        self.home.expire(now)
        # A machine that slept is late with its clock work, and messages come first: who let a fill
        # time out meanwhile is put on hold before anything new is asked.
        if self.taker.asking.late(now):
            self.taker.tick(now)
        self._sweep(now)

    def _sweep(self, now: float) -> None:
        """Match what crosses now, and enter the stops that new trades reached."""
        crossed = self._others.crossed
        while crossed:
            self.home.sweep(crossed.popitem()[0], now)
        if self.ledger.tape.new_trades:
            for symbol in list(self.ledger.tape.new_trades):
                self.home.fire_stops(symbol, now)

    def tick(self, now: float) -> None:
        """Do what is due. Call at ``next_deadline``; too early or too late does no harm."""
        self.serving.tick(now)
        silent = self.serving.silent
        if not silent:
            self.home.expire(now)
            self.taker.tick(now)
        self.peering.tick(now)
        if now >= self._sweep_at or self._sweep_at > now + SWEEP_S:
            self._sweep_at = now + SWEEP_S
            self.maker.collect(now)
            self.replica.tick(now)
            self._others.crossed.update(dict.fromkeys(self.books))
            if not silent:
                self.taker.probe(now)
        if self._heartbeat.due(now) and not silent:
            self._heartbeat.show(now)
        self._settle_down(now)

    def next_deadline(self) -> float:
        """When ``tick`` next has work, in seconds."""
        deadlines = [self._sweep_at, self.peering.next_deadline()]
        if not self.serving.silent:
            deadlines.append(self._heartbeat.at)
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
        if self._heartbeat.due_by_entries() and not self.serving.silent:
            self._heartbeat.beat(now)
        outbox = self.outbox
        messages, outbox.messages = outbox.messages, []
        published, outbox.published = outbox.published, []
        unsealed, outbox.unsealed = outbox.unsealed, []
        self._sealer.seal()
        self.ledger.flush()
        self.replica.flush()
        rows, outbox.rows = outbox.rows, []
        rows.extend(make() for make in unsealed)
        self.peering.publish(self.key, self.ledger.log.epoch, published)
        for key, method, params in messages:
            self._fills.send(key, method, params(), now)
        sends = self.peering.drain(now)
        if (floor := self.clock.raise_floor()) is not None:
            rows.append(MetaRow("clock_floor_ms", floor))
        events, outbox.events = outbox.events, []
        for symbol, book in self.books.items():
            if changes := book.drain_changes():
                events.append(BookChanged(symbol, book.seq, book.seq - 1, changes, book.checksum))
        reads, outbox.reads = outbox.reads, []
        return Batch(rows, sends, events, reads)
