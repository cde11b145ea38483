"""
All logs this peer can speak for, its own and those it copies, behind one face for ``sync.py``.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from grenache_py.exchange.home.ledger import Ledger
from grenache_py.exchange.replication.origin import Head
from grenache_py.exchange.replication.replica import Replica
from grenache_py.exchange.signed_log.entries import GENESIS, Entry
from grenache_py.exchange.signed_log.merkle import Draft, Signed

__all__ = ["HeldLogs"]


@attrs.frozen
class HeldLogs:
    """
    Own log and replicas.

    Own entries are only shown once they are sealed, so nothing is offered to a neighbour
    before the batch that makes it durable.
    """

    ledger: Ledger
    replica: Replica

    def _sealed(self) -> list[tuple[int, Draft]]:
        return [(seq, draft) for seq, draft in self.ledger.log.tail if draft.signed is not None]

    def heads(self) -> Mapping[str, Head]:
        """(epoch, seq, hash) by origin, of those that live: of a dead home nobody has news."""
        heads = {
            home: (origin.epoch, origin.seq, origin.hash)
            for home, origin in self.replica.origins.items()
            if origin.seq and origin.visible
        }
        own = self.head(self.ledger.home)
        if own[1]:
            heads[self.ledger.home] = own
        return heads

    def head(self, home: str) -> Head:
        """One origin's head, dead or alive; seq 0 while nothing of it is held."""
        origin = self.replica.origins.get(home)
        if origin is not None:
            return origin.epoch, origin.seq, origin.hash
        if home == self.ledger.home:
            log = self.ledger.log
            for seq, draft in reversed(log.tail):
                if draft.signed is not None:
                    return log.epoch, seq, draft.hash.hex()
        return 1, 0, GENESIS

    def entries(self, home: str, epoch: int, first: int, last: int) -> list[Signed] | None:
        """Entries of an origin, or None when some are no longer in memory."""
        if home == self.ledger.home:
            drafts = self.ledger.log.range(first, last) if epoch == self.ledger.log.epoch else None
            if drafts is None:
                return None
            return [draft.signed for draft in drafts if draft.signed is not None]
        origin = self.replica.origins.get(home)
        return origin.range(first, last) if origin is not None and origin.epoch == epoch else None

    def since_beat(self, home: str) -> list[Signed] | None:
        """The newest heartbeat held of an origin and all after it, or None."""
        if home == self.ledger.home:
            entries = [draft.proof for _, draft in self._sealed()]
        else:
            origin = self.replica.origins.get(home)
            entries = [signed for _, _, signed in origin.tail] if origin is not None else []
        found: list[Signed] = []
        for signed in reversed(entries):
            found.append(signed)
            # The member is the last of a payload, and only heartbeats have it.
            if '"beat":' in signed.payload and Entry.decode(signed.payload).beat is not None:
                return found[::-1]
        return None

    def record(self, order_id: str) -> tuple[Signed, Signed] | None:
        """A live order's (order entry, newest state entry), own or remote."""
        own = self.ledger.own.get(order_id)
        if own is not None:
            order, state = own.order_entry, own.state_entry
            if order is None or state is None or order.signed is None or state.signed is None:
                return None
            return order.signed, state.signed
        record = self.replica.records.find(order_id)
        return None if record is None else (record.order, record.state)

    def unsure(self) -> set[str]:
        """Origins still believed whose live set here is known to differ from what they signed."""
        return {
            home
            for home, origin in self.replica.origins.items()
            if origin.suspect and not origin.frozen
        }

    def complete(self) -> bool:
        """Whether every live origin's newest heartbeat agrees with what is held of it."""
        return all(origin.complete for origin in self.replica.origins.values() if origin.visible)
