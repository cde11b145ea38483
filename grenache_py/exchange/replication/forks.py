"""
Contradictions: entries that add nothing, and entries that prove two histories of one home.

Pure. A home that signed two entries with one (epoch, seq) showed different logs to different peers,
or lost its disk. It is frozen: its orders leave the books, and the two entries are kept and passed
on, because they convince everybody. An entry of this home's own log that it does not remember
raises an alarm (docs/design/identity.rst#old-disk).
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.replication.origin_table import OriginTable
from grenache_py.exchange.replication.received import EntryVerdict
from grenache_py.exchange.signed_log.entries import Entry
from grenache_py.exchange.signed_log.merkle import Signed, Verifier, leaf_hash

__all__ = ["Forks"]


@attrs.define
class Forks:
    """
    What contradicts what.

    Attributes:
        own_head: (epoch, seq) of this home's log.
        own_hash: the hash of an own entry by its seq, None when it is not in memory.
        proofs: for each frozen home that signed two histories, the two entries.
        alarms: why this home must stop serving; empty while it may.
    """

    home: str
    table: OriginTable
    verifier: Verifier
    own_head: Callable[[], tuple[int, int]]
    own_hash: Callable[[int], str | None]
    proofs: dict[str, tuple[Signed, Signed]] = attrs.Factory(dict)
    alarms: list[str] = attrs.Factory(list)

    def own_entry(self, entry: Entry, signed: Signed) -> None:
        """
        An own entry comes back (docs/failure-modes.rst#f1). One this home does not remember is an
        alarm (docs/design/identity.rst#old-disk).
        """
        epoch, seq = self.own_head()
        ahead = (entry.epoch, entry.seq) > (epoch, seq)
        other = self.own_hash(entry.seq) if entry.epoch == epoch else None
        if ahead or (other is not None and other != leaf_hash(signed.payload).hex()):
            self.verifier.check(signed, self.home)
            self._alarm(
                f"the network knows entry {entry.epoch}/{entry.seq} of this home, which this"
                " disk does not: it is an old copy, or another process uses the same identity"
            )

    def _alarm(self, why: str) -> None:
        if not self.alarms:
            self.alarms.append(why)

    def known(self, origin: Origin, entry: Entry, signed: Signed) -> EntryVerdict | None:
        """
        Compare an entry with the one that has its number.

        Returns:
            ``known`` when the entry adds nothing, ``frozen`` when it differs from the one held,
            None when it is new.
        """
        if origin.frozen:
            return "known"
        position, head = (entry.epoch, entry.seq), (origin.epoch, origin.seq)
        earlier: Signed | None = None
        if position <= head:
            if entry.epoch == origin.epoch:
                found = origin.range(entry.seq, entry.seq)
                earlier = found[0] if found else None
        elif entry.epoch == origin.epoch and entry.seq in origin.waiting:
            earlier = origin.waiting[entry.seq][1]
        else:
            return None
        if earlier is not None and earlier.payload != signed.payload:
            entry.check_canonical(signed.payload)
            self.verifier.check(signed, entry.home)
            self._freeze(origin, earlier, signed)
            return "frozen"
        return "known"

    def prove(self, first: Signed, second: Signed) -> str | None:
        """
        Take a neighbour's proof that a home signed two histories.

        Returns:
            the home's key when it was news.

        Raises:
            RemoteProtocolError: it proves nothing.
        """
        one, other = Entry.decode(first.payload), Entry.decode(second.payload)
        same = (one.home, one.epoch, one.seq) == (other.home, other.epoch, other.seq)
        if not same or first.payload == second.payload:
            raise RemoteProtocolError("these two entries contradict nothing")
        one.check_canonical(first.payload)
        other.check_canonical(second.payload)
        self.verifier.check(first, one.home)
        self.verifier.check(second, one.home)
        if one.home == self.home:
            self._alarm("the network holds proof that this identity signed two histories")
            return None
        origins = self.table.origins
        origin = origins.get(one.home) or self.table.new(one.home, one.epoch)
        if origin is None or origin.frozen:
            return None
        origins[one.home] = origin
        self._freeze(origin, first, second)
        return one.home

    def _freeze(self, origin: Origin, first: Signed, second: Signed) -> None:
        self.proofs[origin.home] = (first, second)
        why = f"signed two entries numbered {origin.epoch}/{origin.seq} or before"
        self.table.freeze(origin, why)
