"""
Starting a node where the last one stopped: from what the store holds to clocks, books and fills.

Pure. The order matters: the log and the clock first, because everything after may stamp entries.
"""

from __future__ import annotations

import attrs

from grenache_py.errors import ConfigError, RemoteProtocolError
from grenache_py.exchange.effects.rows import LogRow, MetaRow, Snapshot
from grenache_py.exchange.fills.maker import Maker
from grenache_py.exchange.fills.taker import Taker
from grenache_py.exchange.home.ledger import Ledger
from grenache_py.exchange.home.own_orders import OwnOrders
from grenache_py.exchange.market.stored_steps import names_of
from grenache_py.exchange.replication.replica import Replica
from grenache_py.exchange.serving import Serving
from grenache_py.exchange.signed_log.entries import Entry, epoch_of_time
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.signed_log.merkle import PAYLOAD_BYTES_MAX, Signed
from grenache_py.exchange.signed_log.own_log import READ_AGAIN_BYTES

__all__ = ["Start"]


@attrs.frozen
class Start:
    """
    The parts of a node that are restored.

    Attributes:
        others_known: the operator named addresses of other peers.
    """

    clock: HybridClock
    ledger: Ledger
    maker: Maker
    taker: Taker
    replica: Replica
    home: OwnOrders
    serving: Serving
    others_known: bool

    def restore(
        self, snapshot: Snapshot, new_epoch: bool, now: float, followed: bool = False
    ) -> None:
        """
        Take up what ``snapshot`` holds.

        Args:
            new_epoch: close all own orders and begin a new log (docs/design/identity.rst#old-disk).
            followed: the store is known to be the newest there is; do not listen first.

        Raises:
            ConfigError: it does not fit the configured markets.
        """
        self._check_markets(snapshot)
        head = snapshot.head
        restarted = head is not None and not new_epoch and not followed
        self.serving.begin(restarted, self.others_known or bool(snapshot.origins), now)
        if head is not None:
            tail = [
                (row.seq, Signed(row.payload, row.path, row.leaf, row.size, row.signature))
                for row in _tail_of(snapshot, head.epoch)
            ]
            self.ledger.log.restore(head.epoch, head.seq, head.hash, tail)
            if _readable(head):  # the stored floor is as good
                self.clock.resume(*Entry.decode(head.payload).time)
            if not new_epoch:
                self._check_entries(snapshot)
        for row in snapshot.orders:
            # A stop that waits is not in the log, and its stamp must not be given out again.
            self.clock.resume(row.time_ms, row.counter)
        self.ledger.restore(snapshot)
        self.home.restore()
        self.home.switches.restore(snapshot.meta)
        self.maker.restore(snapshot)
        self.replica.restore(snapshot, now)
        self.taker.restore(snapshot, now)
        if new_epoch:
            self._begin_epoch(now)

    def _check_entries(self, snapshot: Snapshot) -> None:
        """
        Raise an alarm at an entry that nobody can read (docs/design/log.rst#unreadable).

        The newest entries are read, and of those that prove live orders the unusual ones.
        """
        proofs = snapshot.order_logs.values()
        rows = [*snapshot.log_tail, *(r for r in proofs if len(r.payload) > READ_AGAIN_BYTES)]
        bad = min((row.seq for row in rows if not _readable(row)), default=None)
        if bad is not None:
            self.replica.alarms.append(
                f"entry {bad} of its own log cannot be read, so no other peer can follow it; start"
                " once with --new-epoch, which closes the open orders and begins a new log"
            )

    def _begin_epoch(self, now: float) -> None:
        """
        Start a log that no lost entry can contradict.

        Epochs are minutes since 2026, so that the next is above one that was forgotten.
        """
        epoch = epoch_of_time(self.clock.read_ms(now))
        self.ledger.begin_epoch(max(epoch, self.ledger.log.epoch + 1))
        self.home.cancel_all(now)

    def _check_markets(self, snapshot: Snapshot) -> None:
        """Ticks and lots are stored as counts: they must still mean what they meant."""
        markets = self.ledger.markets
        for market in markets.values():
            for meta, value in names_of(market).items():
                stored = snapshot.meta.get(meta)
                if stored is None:
                    self.ledger.outbox.rows.append(MetaRow(meta, value))
                elif stored != value:
                    raise ConfigError(
                        f"market {market.symbol} was traded here with another tick or lot;"
                        " restore the old ones, or use a new data directory"
                    )
        for row in snapshot.orders:
            if row.live and row.market not in markets:
                raise ConfigError(
                    f"there are open orders in market {row.market} here, which is not"
                    f" configured; start with --market {row.market}:... and cancel them first"
                )


def _readable(row: LogRow) -> bool:
    """Whether others can read an entry."""
    try:
        Entry.decode(row.payload)
    except RemoteProtocolError:
        return False
    return len(row.payload) <= PAYLOAD_BYTES_MAX


def _tail_of(snapshot: Snapshot, epoch: int) -> list[LogRow]:
    """The newest rows of one epoch: they may reach back into the log of an earlier one."""
    return [row for row in snapshot.log_tail if row.epoch == epoch]
