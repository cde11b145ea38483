"""
All logs that this peer can give to others: its own, and those it copies.

Pure. Reads only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from grenache_py.exchange.home.ledger import Ledger
from grenache_py.exchange.replication.replica import Replica
from grenache_py.exchange.signed_log.entries import GENESIS, Entry
from grenache_py.exchange.signed_log.head import Head
from grenache_py.exchange.signed_log.merkle import Signed

__all__ = ["HeldLogs"]

#: Live orders of a home among which the newest state is looked for.
LOOKED_AT_MAX = 1_024
#: Epoch and seq of the head of a log of which nothing is held.
NOTHING_HELD = (1, 0)
#: A log without an entry for so long rests.
RESTS_S = 15.0


@attrs.frozen
class HeldLogs:
    """
    The own log and the replica.

    Own entries are given only once they are sealed: a neighbour is offered nothing before the batch
    that makes it durable.
    """

    ledger: Ledger
    replica: Replica

    def heads(self, homes: Iterable[str]) -> dict[str, Head]:
        """The heads of some logs, as far as their leases hold: of the others nobody has news."""
        visible, own = self.replica.sets.visible, self.ledger.home
        heads = ((home, self.head(home)) for home in homes if home in visible or home == own)
        return {home: head for home, head in heads if head.seq}

    def holds(self, home: str) -> bool:
        """Whether something of another home's log is held."""
        return home in self.replica.origins

    def living(self) -> list[str]:
        """The homes whose lease holds, and this one."""
        return [*self.replica.sets.visible, self.ledger.home]

    def moved(self) -> Mapping[str, None]:
        """The homes whose head moved since `take_moved`; this one is never among them."""
        return self.replica.moved

    def take_moved(self) -> list[str]:
        """Likewise, to tell of them."""
        moved = list(self.replica.moved)
        self.replica.moved.clear()
        return moved

    def head(self, home: str) -> Head:
        """One origin's head, whether its lease holds or not; seq 0 while nothing of it is held."""
        origin = self.replica.origins.get(home)
        if origin is not None:
            return origin.head
        if home == self.ledger.home:
            log = self.ledger.log
            for seq, draft in reversed(log.tail):
                if draft.signed is not None:
                    return Head(log.epoch, seq, draft.hash.hex())
        return Head(*NOTHING_HELD, GENESIS)

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
            drafts = (draft for _, draft in self.ledger.log.tail)
            entries = [draft.signed for draft in drafts if draft.signed is not None]
        else:
            origin = self.replica.origins.get(home)
            entries = [signed for _, _, signed in origin.tail] if origin is not None else []
        found: list[Signed] = []
        for signed in reversed(entries):
            found.append(signed)
            # Only heartbeats have this member. To look for it is cheaper than to decode all.
            if '"beat":' in signed.payload and Entry.decode(signed.payload).beat is not None:
                return found[::-1]
        return None

    def late_order(self, home: str) -> str | None:
        """The live order of another home with the newest state of those that are looked at."""
        origin = self.replica.origins.get(home)
        if origin is None or not origin.records:
            return None
        held = origin.records
        rows = (held.table.row(number) for number in held.numbers[-LOOKED_AT_MAX:])
        return max(rows, key=lambda row: row.state_seq).id.hex()

    def own_record(self, order_id: str) -> tuple[Signed, Signed] | None:
        """A live own order's (order entry, newest state entry)."""
        own = self.ledger.own.get(order_id)
        if own is None:
            return None
        order, state = own.order_entry, own.state_entry
        if order is None or state is None or order.signed is None or state.signed is None:
            return None
        return order.signed, state.signed

    def copied(self, order_id: str) -> bool:
        """Whether this is a live order of another home, whose entries are in the store."""
        return self.replica.records.find(order_id) is not None

    def unsure(self) -> Mapping[str, None]:
        """Origins whose live set here is known to differ from what they signed."""
        return self.replica.sets.unsure

    def frozen(self, home: str) -> bool:
        """Whether nothing of a log is believed any more, so that no more of it is fetched."""
        origin = self.replica.origins.get(home)
        return origin is not None and bool(origin.frozen)

    def doubtful(self, now: float) -> list[str]:
        """
        Homes of whose logs something may be missing here, or one that rests.

        Of each log the last entries may be missed, and no later one shows it soon.
        """
        if self.replica.sets.incomplete:
            return list(self.replica.sets.incomplete)
        homes = list(self.replica.origins)[int(now) % max(1, len(self.replica.origins)) :][:1]
        since_ms = 1000 * (now - RESTS_S)
        return [home for home in homes if self.replica.origins[home].time[0] < since_ms]

    def complete(self) -> bool:
        """Whether every live origin's newest heartbeat agrees with what is held of it."""
        return not self.replica.sets.incomplete
