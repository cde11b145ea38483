"""
Jumping ahead in another home's log: its live orders and its head are taken from a neighbour.

Pure. A peer that is too far behind does not apply every entry it missed
(docs/design/sync.rst#live-sets). It adopts the live orders, each signed by its home, and then the
home's newest heartbeat as the head of the log. What was published after that heartbeat is applied
in order, as always.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.replication.forgetting import expired
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.replication.origin_state import OriginState
from grenache_py.exchange.replication.origin_table import OriginTable
from grenache_py.exchange.replication.received import Novel, Received
from grenache_py.exchange.signed_log.entries import Entry, StateBody, check_order_id
from grenache_py.exchange.signed_log.hybrid_clock import AHEAD_MS_MAX, HybridClock
from grenache_py.exchange.signed_log.merkle import Signed, Verifier

__all__ = ["Adoption"]

_NOTHING_SHOWN: Mapping[str, tuple[int, int]] = {}


@attrs.define
class Adoption:
    """
    Takes over what a neighbour holds of other homes.

    Args:
        apply_waiting: applies the early entries of an origin that follow its head, and adds them
            to what is to be forwarded.
    """

    home: str
    table: OriginTable
    clock: HybridClock
    verifier: Verifier
    apply_waiting: Callable[[Origin, Novel, float], None]

    def adopt_record(
        self,
        order_signed: Signed,
        state_signed: Signed,
        now: float,
        upto: Mapping[str, tuple[int, int]] = _NOTHING_SHOWN,
    ) -> bool:
        """
        Take one live order from a neighbour's set.

        It is refused when its newest state is not newer than our head of its origin: we have
        applied that entry, and if the order is not here, it is closed (docs/failure-modes.rst#f11).
        When the origin is unsure it may be missing here all the same. So it is taken then, unless
        it was held in a newer state, or an entry that the neighbour had not applied yet may have
        closed it.

        Args:
            upto: epoch and number of the newest entry of each log that the neighbour showed.

        Returns:
            whether anything changed.

        Raises:
            RemoteProtocolError: the pair is not one live order signed by its home.
        """
        published, newest, state = self._checked_record(order_signed, state_signed)
        order = published.order
        if published.home == self.home or order is None:
            return False
        table, records = self.table, self.table.records
        now_ms = self.clock.earlier_ms(now)
        origin = table.origins.get(published.home) or table.new(
            published.home, newest.epoch, newest.time[0], now_ms, orders=True
        )
        if origin is None or origin.frozen or _early(newest, now):
            return False
        stamp_ms = max(newest.time[0], origin.heard_ms)
        if expired(order.expires, state.open != "0", stamp_ms, now_ms):
            return False
        if newest.epoch > origin.epoch:
            table.begin_epoch(origin, newest.epoch)
        if (newest.epoch, newest.seq) <= (origin.epoch, origin.seq):
            epoch, shown = upto.get(origin.home, (0, 0))
            since = max(newest.seq, shown if epoch == newest.epoch else 0)
            missing = origin.state is OriginState.UNSURE and newest.epoch == origin.epoch
            if not (missing and origin.silent_about(order.id, since)):
                return False
        if not table.put(origin, newest.time[0], ""):
            return False
        record = origin.records.find(order.id)
        try:
            if record is None:
                if not records.dropped.may_return(origin, order.id, state.version, newest.seq):
                    return False
                if not records.has_room(origin):
                    return False
                records.insert(origin, order_signed, published, state_signed, state, newest.seq)
            elif state.version > record.version:
                records.advance(origin, record, state_signed, state, newest.seq)
            else:
                return False
        except RemoteProtocolError as error:
            # Its home signed it; who tells of it need not trade its market, and cannot notice.
            table.freeze(origin, f"entry {newest.seq}: {error}")
            return False
        table.changed[origin.home] = None
        return True

    def _checked_record(
        self, order_signed: Signed, state_signed: Signed
    ) -> tuple[Entry, Entry, StateBody]:
        """
        Check that two entries publish one order and give its newest state.

        Returns:
            the two entries, and that state.

        Raises:
            RemoteProtocolError: the pair is not one live order signed by its home.
        """
        published = Entry.decode(order_signed.payload)
        alone = state_signed is order_signed  # nothing has happened to it since
        newest = published if alone else Entry.decode(state_signed.payload)
        order = published.order
        if published.home != newest.home or order is None:
            raise RemoteProtocolError("the two entries are not of one order")
        published.check_canonical(order_signed.payload)
        if not alone:
            newest.check_canonical(state_signed.payload)
        self.verifier.check(order_signed, published.home)
        if not alone:
            self.verifier.check(state_signed, newest.home)
        check_order_id(order, published.home)
        for state in newest.states:
            if state.order_id == order.id:
                if state.open == "0" and state.reserved == "0":
                    raise RemoteProtocolError(f"order {order.id} is closed, not live")
                return published, newest, state
        raise RemoteProtocolError(f"the state entry says nothing of order {order.id}")

    def adopt_head(self, beat_signed: Signed, now: float) -> Received:
        """
        Jump to a heartbeat of an origin whose live set has been adopted.

        The heartbeat is signed by the origin, so the neighbour cannot invent it. What was
        published after it is then applied as always. The log after the heartbeat, or the next
        heartbeat, proves the set, or makes the origin unsure again.

        Returns:
            ``applied``, and what had been waiting to follow; ``known`` when the heartbeat is not
            ahead of what is held, and that was not unsure; ``early``; ``full``.

        Raises:
            RemoteProtocolError: not a heartbeat signed by its home.
        """
        entry = Entry.decode(beat_signed.payload)
        beat = entry.beat
        if beat is None:
            raise RemoteProtocolError("not a heartbeat")
        entry.check_canonical(beat_signed.payload)
        digest = self.verifier.check(beat_signed, entry.home).hex()
        if entry.home == self.home:
            return Received("own", None)
        table = self.table
        now_ms = self.clock.earlier_ms(now)
        origin = table.origins.get(entry.home) or table.new(
            entry.home, entry.epoch, entry.time[0], now_ms, orders=bool(beat.live)
        )
        if origin is None:
            return Received("known", None)
        ahead = (entry.epoch, entry.seq) > (origin.epoch, origin.seq)
        if origin.frozen or not (ahead or origin.state is OriginState.UNSURE):
            return Received("known", origin)
        if _early(entry, now):
            return Received("early", origin)
        if not table.put(origin, entry.time[0], ""):
            return Received("full", None)
        if entry.epoch > origin.epoch:
            table.begin_epoch(origin, entry.epoch)
        if ahead:
            self.clock.merge(*entry.time, now)
            origin.jump(entry, beat, digest)
            table.ring.clear(origin)
            table.ring.keep(origin, entry.seq, digest, beat_signed, beat=True)
        origin.adopted(entry, beat)
        for number in [number for number in origin.waiting if number <= entry.seq]:
            origin.wait_no_more(number)
        table.head_moved(origin)
        table.show_or_hide(origin, self.clock.read_ms(now))
        received = Received("applied", origin)
        self.apply_waiting(origin, received.novel, now)
        return received


def _early(entry: Entry, now: float) -> bool:
    """Whether an entry is stamped too far in the future to be believed yet."""
    return entry.time[0] - int(now * 1000) > AHEAD_MS_MAX
