"""
Starting a node where the last one stopped: from what the store holds to clocks, books and fills.

Pure. The order matters: the log and the clock first, because everything after may stamp entries.
"""

from __future__ import annotations

from contextlib import suppress

import attrs

from grenache_py.errors import ConfigError, RemoteProtocolError
from grenache_py.exchange.effects.rows import LogRow, MetaRow, Snapshot
from grenache_py.exchange.fills.maker import Maker
from grenache_py.exchange.fills.taker import Taker
from grenache_py.exchange.home.heartbeat import LEASE_MS
from grenache_py.exchange.home.ledger import Ledger
from grenache_py.exchange.home.own_orders import OwnOrders
from grenache_py.exchange.market.stored_steps import names_of
from grenache_py.exchange.replication.replica import Replica
from grenache_py.exchange.serving import Serving
from grenache_py.exchange.signed_log.entries import Entry, epoch_of_time
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.signed_log.merkle import (
    PAYLOAD_BYTES_MAX,
    Signed,
    Verifier,
    leaf_hash,
)
from grenache_py.exchange.signed_log.own_log import READ_AGAIN_BYTES

__all__ = ["Start"]

#: Entries that a text names, of those that cannot be read.
NAMED_MAX = 5


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
    verifier: Verifier
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
        bad = set[int]()
        if head is not None:
            bad = self._restore_log(snapshot, head, new_epoch)
        for row in snapshot.orders:
            # A stop that waits is not in the log, and its stamp must not be given out again.
            self.clock.resume(row.time_ms, row.counter)
        bad |= self.ledger.restore(snapshot)
        if bad and not new_epoch:
            self.serving.damage = _damage(sorted(bad), len(self.ledger.tied.cut))
        self.home.restore()
        self.home.switches.restore(snapshot.meta)
        self.maker.restore(snapshot)
        self.replica.restore(snapshot, now)
        self.taker.restore(snapshot, now)
        if new_epoch:
            self._begin_epoch(now)

    def _restore_log(self, snapshot: Snapshot, head: LogRow, new_epoch: bool) -> set[int]:
        """
        Take up the own log where it ended, without the entries that cannot be read
        (docs/design/log.rst#unreadable): they are taken out of ``snapshot``.

        Returns:
            their numbers.
        """
        tail, proofs = _tail_of(snapshot, head.epoch), snapshot.order_logs
        bad = {row.seq for row in (*tail, *proofs.values()) if not _readable(row)}
        snapshot.order_logs = {seq: row for seq, row in proofs.items() if seq not in bad}
        signed = [(row.seq, Signed.from_row(row)) for row in tail if row.seq not in bad]
        hash = head.hash if head.seq not in bad else self._signed_hash(head)
        self.ledger.log.restore(head.epoch, head.seq, hash or head.hash, signed)
        if head.seq not in bad:  # the stored floor is as good
            self.clock.resume(*Entry.decode(head.payload).time)
        elif hash is None and not new_epoch:
            self.replica.alarms.append(
                f"entry {head.seq}, the newest of its own log, cannot be read, nor its hash, so no"
                " other can follow it; start once with --new-epoch, which closes the open orders"
                " and begins a new log"
            )
        return bad

    def _signed_hash(self, head: LogRow) -> str | None:
        """What the next entry names: the hash of ``head`` that was signed, if it is still there."""
        for hash in (head.hash, leaf_hash(head.payload).hex()):
            with suppress(ValueError, RemoteProtocolError):
                leaf = bytes.fromhex(hash)
                self.verifier.check_leaf(leaf, Signed.from_row(head), self.ledger.home)
                return hash
        return None

    def _begin_epoch(self, now: float) -> None:
        """
        Start a log that no lost entry can contradict.

        Epochs are minutes since 2026, so that the next is above one that was forgotten.
        """
        epoch = epoch_of_time(self.clock.read_ms(now))
        self.ledger.begin_epoch(max(epoch, self.ledger.log.epoch + 1))
        self.home.cancel_all(now)
        # The epoch is durable with what it closes: what is closed without it is told to nobody.
        self.ledger.writer.beat(now, LEASE_MS)

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
    """Whether others can read an entry: it is what was signed, and not too much."""
    if leaf_hash(row.payload).hex() != row.hash:
        return False
    if len(row.payload) <= READ_AGAIN_BYTES:
        return True
    try:
        Entry.decode(row.payload)
    except RemoteProtocolError:
        return False
    return len(row.payload) <= PAYLOAD_BYTES_MAX


def _damage(entries: list[int], orders: int) -> str:
    """What is wrong, and what it costs."""
    named = ", ".join(map(str, entries[:NAMED_MAX]))
    more = f" and {len(entries) - NAMED_MAX} more" if len(entries) > NAMED_MAX else ""
    which = f"entry {named}" if len(entries) == 1 else f"entries {named}{more}"
    closed = "1 open order" if orders == 1 else f"{orders} open orders"
    return (
        f"{which} of this home's own log cannot be read: the store is damaged; {closed} that could"
        " not be shown to others any more: cancelled. All else goes on"
    )


def _tail_of(snapshot: Snapshot, epoch: int) -> list[LogRow]:
    """The newest rows of one epoch: they may reach back into the log of an earlier one."""
    return [row for row in snapshot.log_tail if row.epoch == epoch]
