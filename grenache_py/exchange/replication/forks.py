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
from grenache_py.exchange.peers.shares import Shares
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.replication.origin_table import OriginTable
from grenache_py.exchange.replication.received import EntryVerdict
from grenache_py.exchange.signed_log.entries import Entry
from grenache_py.exchange.signed_log.merkle import Signed, Verifier, leaf_hash

__all__ = ["Forks"]

#: Proofs that are held, and passed on to new neighbours: how many, and bytes of their payloads.
PROOFS_MAX = 256
PROOF_BYTES_MAX = 1 << 21


def _bytes_of(proof: tuple[Signed, Signed]) -> int:
    return len(proof[0].payload) + len(proof[1].payload)


@attrs.define
class Forks:
    """
    What contradicts what.

    Attributes:
        own_head: (epoch, seq) of this home's log.
        own_hash: the hash of an own entry by its seq, None when it is not in memory.
        proofs: for each frozen home that signed two histories, the two entries.
        shares: who told the proofs.
        proof_bytes: of their payloads.
        alarms: why this home must stop serving; empty while it may.
    """

    home: str
    table: OriginTable
    verifier: Verifier
    own_head: Callable[[], tuple[int, int]]
    own_hash: Callable[[int], str | None]
    proofs: dict[str, tuple[Signed, Signed]] = attrs.Factory(dict)
    alarms: list[str] = attrs.Factory(list)
    shares: Shares = attrs.Factory(Shares)
    proof_bytes: int = 0

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
                " disk does not: it is an old copy, or another process uses the same identity."
                " Stop this one and start the newest copy of its data directory. If there is none,"
                " start once with --new-epoch, which gives up the open orders"
            )

    def other_self(self, epoch: int) -> None:
        """A statement of this home came that this process did not make, and nobody before it."""
        if epoch < self.own_head()[0]:
            return  # the operator has said that this disk lost something
        self._alarm(
            "the network knows a sign of life of this home that this process did not give: this is"
            " an old copy of its disk, or another process uses the same identity. Stop one of them;"
            " keep the newest copy of the data directory"
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

    def prove(self, first: Signed, second: Signed, teller: str = "") -> str | None:
        """
        Take a neighbour's proof that a home signed two histories.

        Args:
            teller: whom it is counted for.

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
        origin = self.table.origins.get(one.home) or Origin(one.home, one.epoch)
        stamp_ms = max(one.time[0], other.time[0])
        if origin.frozen or not self.table.put(origin, stamp_ms, teller):
            return None
        self._freeze(origin, first, second, teller)
        return one.home

    def forget(self, home: str) -> None:
        """A home is not held any more."""
        self.shares.remove(home)
        proof = self.proofs.pop(home, None)
        if proof is not None:
            self.proof_bytes -= _bytes_of(proof)

    def _freeze(self, origin: Origin, first: Signed, second: Signed, teller: str = "") -> None:
        self.proofs[origin.home] = (first, second)
        self.proof_bytes += _bytes_of((first, second))
        self.shares.add(teller, origin.home)
        while len(self.proofs) > PROOFS_MAX or self.proof_bytes > PROOF_BYTES_MAX:
            home = self.shares.gives_way(teller)
            self.forget(home)
            old = self.table.origins.get(home)
            if old is not None and not old.records and old is not origin:
                self.table.forget(old)
        why = f"signed two entries numbered {origin.epoch}/{origin.seq} or before"
        self.table.freeze(origin, why)
