"""
What the files say when all is over, held against what clients were told and what must hold.

The simulator's own checker is fed with the rows of all SQLite files, as if it had watched the
commits; then the files are copied into memory and the peers live on in the simulator, until its
checks of a network at rest (equal live sets, uncrossed books, nothing in doubt, every signature)
have been applied to them.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from grenache_py.exchange.audit.export import prove
from grenache_py.exchange.effects.rows import OrderRow, Row, TradeRow
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.node import NodeConfig
from grenache_py.exchange.peers.peering import PeeringConfig
from grenache_py.exchange.settings.secret_files import read_or_make_identity
from grenache_py.exchange.signed_log.keys import Ed25519
from grenache_py.exchange.signed_log.merkle import Verifier
from grenache_py.exchange.storage import snapshot
from grenache_py.exchange.storage.database import Database
from grenache_py.exchange.storage.read_only import read_only
from tests.sim.exchange.invariants import Checker, Violation
from tests.sim.exchange.network import EPOCH_S, Disk, Network, Peer
from tests.soak.traders import Promise, Promised
from tests.support.virtual_clock import Scheduler

__all__ = ["Audit"]

#: Seconds the revived peers have to link, catch up and exchange heartbeats.
REVIVED_S = 60.0


class Audit:
    """
    Reads the stores of stopped peers.

    Args:
        stores: data directories by name.
        network: the name they signed under.

    Attributes:
        wrong: sentences, one a finding.
        orders, trades, between, entries: how many were looked at; ``between`` two homes.
    """

    def __init__(self, stores: Mapping[str, Path], market: Market, network: str) -> None:
        self.wrong: list[str] = []
        self.orders = self.trades = self.between = self.entries = 0
        self._stores = stores
        self._market = market
        self._network = network
        self._checker = Checker()
        self._clock = Scheduler()
        self._peers = self._revivable()
        self._rows: dict[str, OrderRow] = {}

    def run(self, traders: Sequence[Promised]) -> None:
        """Check everything; what is wrong is in ``wrong`` afterwards."""
        for check in (self._proofs, self._commits, lambda: self._promises(traders), self._rest):
            try:
                check()
            except (Violation, StoreError) as problem:
                self.wrong.append(str(problem))

    # The files, one by one.

    def _file(self, name: str) -> Path:
        return self._stores[name] / "exchange.sqlite"

    def _proofs(self) -> None:
        """Each log is whole and signed, and played again leads to the stored book."""
        for name in self._stores:
            proof = prove(str(self._file(name)), Verifier(Ed25519(), self._network))
            self.entries += proof.entries
            self.wrong += [f"{name}: {problem}" for problem in proof.problems]

    # The files, together.

    def _commits(self) -> None:
        """
        What must hold of all that homes committed: docs/design/distributed-core.rst#invariants.
        """
        takers: list[tuple[Peer, list[TradeRow]]] = []
        makers: list[tuple[Peer, list[TradeRow]]] = []
        for peer in self._peers:
            home = peer.identity.key
            with read_only(str(self._file(peer.name))) as connection:
                orders = list(snapshot.all_orders(connection))
                log = snapshot.all_log_entries(connection)
                rows: list[Row] = [*orders, *log, *snapshot.load(connection).answers]
                trades = list(snapshot.all_trades(connection))
            self._rows |= {row.order_id: row for row in orders}
            self._checker.committed(peer, rows)
            makers.append((peer, [trade for trade in trades if trade.maker_home == home]))
            takers.append(
                (peer, [t for t in trades if t.taker_home == home and t.maker_home != home])
            )
        # A maker commits before its taker does.
        for peer, part in (*makers, *takers):
            self._checker.committed(peer, list(part))
        self.orders = len(self._rows)
        self.trades = sum(len(part) for _, part in makers)
        self.between = sum(len(part) for _, part in takers)

    def _promises(self, traders: Sequence[Promised]) -> None:
        """What was acknowledged is there, once, and as it was acknowledged."""
        # Traders draw names nobody else draws; an order that replaces another takes over its name.
        placed = Counter(row.client_order_id for row in self._rows.values())
        self.wrong += [
            f"{name} was placed {count} times"
            for name, count in placed.items()
            if name and count > 1 + sum(trader.replaces[name] for trader in traders)
        ]
        for trader in traders:
            for order_id, promise in trader.promises.items():
                self._keeps(order_id, promise)
            self.wrong += [
                f"{order_id} was acknowledged as {client_id[1]}, and is not there"
                for client_id, order_id in trader.ids.items()
                if order_id not in self._rows
            ]

    def _keeps(self, order_id: str, promise: Promise) -> None:
        row = self._rows.get(order_id)
        if row is None:
            self.wrong.append(f"order {order_id} was acknowledged and is not there")
            return
        filled = self._market.quantity_lots(promise.filled) if promise.filled != "0" else 0
        if row.filled < filled or (promise.final and (row.filled != filled or row.live)):
            self.wrong.append(f"order {order_id} was reported as {promise}, and is {row}")
        if promise.body is not None:
            side, price, quantity = promise.body
            ticks, lots = self._market.price_ticks(price), self._market.quantity_lots(quantity)
            if (row.side, row.price_ticks, row.total_lots) != (side, ticks, lots):
                self.wrong.append(f"order {order_id} was acknowledged as {promise}, and is {row}")

    # The peers, living on.

    def _revivable(self) -> list[Peer]:
        network = Network(self._clock, random.Random(1))
        names = list(self._stores)
        peers = []
        for name in names:
            connect = tuple(f"{other}:7071" for other in names if other != name)
            peer = Peer(
                name,
                network,
                NodeConfig(
                    PeeringConfig(self._network, listen=f"{name}:7071", connect=connect),
                    (self._market,),
                ),
                read_or_make_identity(str(self._stores[name])),
                _CopiedDisk(self._file(name)),
                random.Random(name),
            )
            peer.offset = time.time() - EPOCH_S
            peer.on_commit = self._checker.committed
            peer.on_release = self._checker.released
            peers.append(peer)
        return peers

    def _rest(self) -> None:
        """
        What must hold of a network at rest, all revived: docs/design/distributed-core.rst#liveness.
        """
        for peer in self._peers:
            peer.start()
        self._clock.run_until(REVIVED_S, 5_000_000)
        checker = self._checker
        checker.replicas(self._peers)
        checker.signatures(self._peers)
        for _ in range(2):
            try:
                checker.quiet(self._peers)
            except Violation:  # a heartbeat may just be on its way
                self._clock.run_until(self._clock.now + 1.7)
        checker.quiet(self._peers)
        books = {peer.name: self._hashes(peer) for peer in self._peers}
        if len(set(books.values())) > 1:
            self.wrong.append(f"state hashes of the books differ: {books}")

    @staticmethod
    def _hashes(peer: Peer) -> tuple[str, ...]:
        assert peer.node is not None
        return tuple(book.state_hash() for _, book in sorted(peer.node.books.items()))


class _CopiedDisk(Disk):
    """A disk that holds what a file held."""

    def __init__(self, file: Path) -> None:
        super().__init__(lambda: 0.001)
        self._database.close()
        self._database = _CopiedDatabase(file)
        self._database.open()


class _CopiedDatabase(Database):
    def __init__(self, file: Path) -> None:
        super().__init__(":memory:")
        self._file = file

    def connect(self) -> sqlite3.Connection:
        memory = super().connect()
        with read_only(str(self._file)) as source:
            source.backup(memory)
        memory.execute("DELETE FROM journal")  # folded, by then
        return memory
