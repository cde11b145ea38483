"""
Where peers may be: what to dial next, and the signed records peers pass on about themselves.

Pure. An address from the DHT is a hint that may be a ghost (docs/failure-modes.rst#f21): it is
tried, and put off for longer each time it fails, or forgotten when nobody vouches for it. An
address record is signed by the peer it names, so that any neighbour can pass it on
(docs/failure-modes.rst#f23). Whoever tells addresses fills its own share of the book and nobody
else's (docs/design/gossip.rst#shares), and what is signed or told of an address changes nothing for
whoever answers there: that is seen by dialling it. Nothing here ever gives up on a peer the
operator named: back-off has a ceiling, not an end (docs/failure-modes.rst#f13).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated

import attrs
import msgspec

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.peers.networks import LOOPBACK, NOWHERE, crowd_of, inner_network
from grenache_py.exchange.peers.shares import Shares
from grenache_py.exchange.peers.term_claims import TERM_MAX
from grenache_py.exchange.signed_log.merkle import Signed, Verifier, check_canonical

__all__ = ["ADDRESSES_MAX", "GRAPES", "AddressBook", "AddressRecord"]

#: Addresses known, and records kept, at most.
ADDRESSES_MAX = 4_096
#: An address that failed once waits this long; each failure doubles it, up to the maximum.
BACKOFF_MIN_S = 1.0
BACKOFF_MAX_S = 60.0
#: With what chance adds to it.
WAIT_S_MAX = 1.25 * BACKOFF_MAX_S
#: A dial that leads to no proven peer in this time may be made again.
DIAL_TIMEOUT_S = 30.0
#: A hint is dropped after this many failures; a lookup may bring it again.
FAILURES_MAX = 6
#: An address at which a peer has answered before is given up after an hour of failures.
REACHED_FAILURES_MAX = 64
#: Addresses at which a peer has answered before, apart from named ones.
REACHED_MAX = 1_024
#: Addresses of one network, told by whomever.
PER_NETWORK_MAX = 32
#: Addresses of one answer of what is due: dials are begun a few at a time.
DUE_MAX = 64
#: Of each share so many are looked at for one in a network that is not dialled yet.
LOOK_AT = 16
#: Who told what the grapes gave.
GRAPES = "grapes"
#: A record is passed on again only when it is this much newer ...
RECORD_REFRESH_MS = 300_000
#: ... or, when it names another address, this much: who moves all the time is not followed.
RECORD_MOVE_MS = 10_000
#: An address that led to this very peer is not tried for so long. It may have been somebody
#: between who led the dial back.
OWN_S = 600.0
#: Records older than this are not used: the peer would have renewed it.
RECORD_AGE_MS_MAX = 3_600_000
#: Records whose time is further ahead of this clock are not used.
_AHEAD_MS_MAX = 60_000


class AddressRecord(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """
    ``peer`` says: at ``time`` (ms) I could be dialled at ``address`` (host:port).

    ``term`` is that of the process that says so, 0 when its store has none. The clock of a new
    holder may be behind that of the last one: the higher term counts, then the time.
    """

    peer: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    address: Annotated[
        str, msgspec.Meta(max_length=262, pattern=r"^[0-9A-Za-z.:_%\[\]-]+:[0-9]{1,5}\Z")
    ]
    time: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    term: Annotated[int, msgspec.Meta(ge=0, le=TERM_MAX)] = 0

    def replaces(self, known: AddressRecord) -> bool:
        """Whether this is news, and enough of it to be passed on."""
        if self.term != known.term:
            return self.term > known.term
        wait_ms = RECORD_REFRESH_MS if self.address == known.address else RECORD_MOVE_MS
        return self.time > known.time and self.time >= known.time + wait_ms


@attrs.define
class _Place:
    """One address. ``key`` is who answered there last, "" when nobody has."""

    named: bool = False
    key: str = ""
    failures: int = 0
    next_try: float = 0.0
    dialling_until: float = 0.0

    # Further ahead only when the clock was put back since.

    def dialled(self, now: float) -> bool:
        """Whether a dial is under way."""
        return now < self.dialling_until <= now + DIAL_TIMEOUT_S

    def waits(self, now: float) -> bool:
        """Whether it failed lately and is not to be tried yet."""
        return now < self.next_try <= now + WAIT_S_MAX


class AddressBook:
    """
    Addresses by what is known of them.

    Args:
        local: hosts that the operator named; private addresses in their networks are believed.
        grapes: hosts of grapes that the operator named. When all of them are inside private
            networks, what they answer is too.

    Attributes:
        records: the newest signed record of each peer, by key.
    """

    def __init__(
        self,
        me: str,
        verifier: Verifier,
        rng: random.Random,
        local: Iterable[str] = (),
        grapes: Iterable[str] = (),
    ) -> None:
        self._me = me
        self._verifier = verifier
        self._rng = rng
        self._places: dict[str, _Place] = {}
        self._named: dict[str, None] = {}
        self.records: dict[str, tuple[AddressRecord, Signed]] = {}
        self._own: dict[str, float] = {}  # addresses that lead to this very peer, until when
        self._told = Shares()  # places that nobody named or reached, by who told them
        self._crowds = Shares()  # the same places, by their network
        self._reached: dict[str, None] = {}  # those somebody answered at, the latest last
        self._record_shares = Shares()
        inner = [inner_network(f"{host}:0") for host in grapes]
        self._grapes_inside = bool(inner) and None not in inner
        self._local = {*inner, *(inner_network(f"{host}:0") for host in local)} - {None, NOWHERE}

    @property
    def known(self) -> int:
        """How many addresses of other peers there are to try."""
        return len(self._places)

    def name(self, addresses: Iterable[str]) -> None:
        """Addresses the operator gave: tried for ever."""
        for address in addresses:
            place = self._places.setdefault(address, _Place())
            place.named = True
            self._named[address] = None
            place.failures, place.next_try = 0, 0.0
            self._proven(address)
            self._local |= {inner_network(address)} - {None, NOWHERE}

    def hint(self, addresses: Iterable[str], now: float) -> None:
        """Addresses the grapes gave."""
        for address in addresses:
            if self._believable(address, GRAPES):
                self._add(address, GRAPES, now)

    def _believable(self, address: str, told_at: str) -> bool:
        """Whether an address may be dialled because the neighbour at ``told_at`` tells it."""
        inner = inner_network(address)
        if told_at == GRAPES:
            inside = self._grapes_inside and inner != LOOPBACK
            return inner is None or inner in self._local or inside
        return inner is None or (inner != NOWHERE and inner == inner_network(told_at))

    def _add(self, address: str, teller: str, now: float) -> None:
        """Take an address that somebody told, in place of another when there is no room."""
        if address in self._places or inner_network(address) == NOWHERE:
            return
        if self._own.get(address, now) > now:
            return
        crowd = crowd_of(address)
        if inner_network(address) is None and self._crowds.count(crowd) >= PER_NETWORK_MAX:
            self._forget(self._crowds.oldest_of(crowd))
        elif len(self._told) >= ADDRESSES_MAX:
            self._forget(self._told.gives_way(teller))
        self._places[address] = _Place()
        self._told.add(teller, address)
        self._crowds.add(crowd, address)

    def _forget(self, address: str) -> None:
        self._proven(address)
        self._reached.pop(address, None)
        del self._places[address]

    def _proven(self, address: str) -> None:
        """An address was named or reached: it is in nobody's share any more."""
        self._told.remove(address)
        self._crowds.remove(address)

    def learn(self, signed: Signed, now: float, told_at: str = "") -> AddressRecord | None:
        """
        Take a peer's record of itself.

        Args:
            told_at: ``host:port`` of the neighbour that told it, or `GRAPES`.

        Returns:
            the record when it told something new, so that it is worth passing on.

        Raises:
            RemoteProtocolError: it is malformed or not signed by the peer it names.
        """
        try:
            record = msgspec.json.decode(signed.payload, type=AddressRecord)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise RemoteProtocolError(f"bad address record: {error}") from None
        if record.peer == self._me:
            return None
        known = self.records.get(record.peer)
        if known is not None and not record.replaces(known[0]):
            return None
        if not _in_time(record, now):
            return None
        check_canonical("address record", record, signed.payload)
        if not self._believable(record.address, told_at):
            return None
        self._verifier.check(signed, record.peer)
        teller = GRAPES if told_at == GRAPES else crowd_of(told_at)
        if known is None:
            if len(self.records) >= ADDRESSES_MAX:
                gone = self._record_shares.gives_way(teller)
                self._record_shares.remove(gone)
                del self.records[gone]
            self._record_shares.add(teller, record.peer)
        self.records[record.peer] = (record, signed)
        self._add(record.address, teller, now)
        return record

    def signer(self, signed: Signed, now: float) -> str:
        """The peer that signed a record of itself; "" when nobody did, or not lately."""
        try:
            record = msgspec.json.decode(signed.payload, type=AddressRecord)
            check_canonical("address record", record, signed.payload)
            if not _in_time(record, now):
                return ""
            self._verifier.check(signed, record.peer)
        except (msgspec.DecodeError, UnicodeError, RemoteProtocolError):
            return ""
        return record.peer

    def address_of(self, key: str, now: float) -> str | None:
        """Where ``key`` says it can be dialled, if that is known and not too old."""
        known = self.records.get(key)
        if known is None or known[0].time < int(now * 1000) - RECORD_AGE_MS_MAX:
            return None
        return known[0].address

    def sample(self, count: int, now: float, terms: bool = True) -> list[Signed]:
        """Some records that are still good, at random; ``terms``: those with a term too."""
        oldest = int(now * 1000) - RECORD_AGE_MS_MAX
        good = [
            signed
            for record, signed in self.records.values()
            if record.time >= oldest and (terms or not record.term)
        ]
        return good if len(good) <= count else self._rng.sample(good, count)

    def is_named(self, address: str) -> bool:
        """Whether the operator gave ``address``."""
        place = self._places.get(address)
        return place is not None and place.named

    def may_lie_in(self, address: str) -> frozenset[str] | None:
        """Inner networks that a public name may resolve to: the operator's; None for any."""
        return None if self.is_named(address) else frozenset(filter(None, self._local))

    def dial(self, address: str, now: float) -> bool:
        """Note that ``address`` is about to be dialled; False when it is being dialled already."""
        place = self._places.get(address)
        if place is None:
            self._add(address, "", now)
            place = self._places.get(address)
        if place is None or place.dialled(now):
            return False
        place.dialling_until = now + DIAL_TIMEOUT_S
        return True

    def waiting(self, address: str, now: float) -> bool:
        """Whether ``address`` failed lately and is not to be tried yet."""
        place = self._places.get(address)
        return place is not None and place.waits(now)

    def failed(self, address: str, now: float) -> None:
        """A dial did not lead to a proven peer: wait twice as long as the last time."""
        place = self._places.get(address)
        if place is None:
            return
        place.dialling_until = 0.0
        place.failures += 1
        if not place.named and place.failures >= (
            REACHED_FAILURES_MAX if address in self._reached else FAILURES_MAX
        ):
            self._forget(address)
            return
        wait = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2 ** min(place.failures - 1, 10))
        place.next_try = now + wait * (0.75 + 0.5 * self._rng.random())

    def reached(self, address: str, key: str, now: float) -> None:
        """
        A dial led to ``key``. The next one, should this link break, is not made at once.

        Records that name the address do not count: anybody can sign one. Who answered is what
        the channel proves, and messages wait for a key, not for an address.
        """
        place = self._places.get(address)
        if place is not None:
            place.key, place.failures, place.dialling_until = key, 0, 0.0
            place.next_try = now + BACKOFF_MIN_S * (0.5 + self._rng.random())
            self._proven(address)
            if not place.named:
                self._reached.pop(address, None)
                self._reached[address] = None
                if len(self._reached) > REACHED_MAX:
                    self._forget(next(iter(self._reached)))

    def is_own(self, address: str, now: float) -> None:
        """Dialling ``address`` led to this very peer: not again soon, if nobody named it."""
        if self.is_named(address):
            self.failed(address, now)
            return
        self._own.pop(address, None)
        self._own[address] = now + OWN_S
        if len(self._own) > ADDRESSES_MAX:
            del self._own[next(iter(self._own))]
        if address in self._places:
            self._forget(address)

    def due(self, linked: Mapping[str, str], now: float, named_only: bool = False) -> list[str]:
        """
        Addresses worth dialling now.

        The operator's come first. The others are taken in turn from those who told them (that of
        reached ones is one share), and each time from the network that is dialled least.

        Args:
            linked: where each neighbour's connection leads, by key.
            named_only: leave the others out. There may be thousands.
        """
        # A neighbour that dialled this peer is not dialled at its own host. Elsewhere it could
        # claim the address of somebody whom it does not want to be found.
        held = {
            known[0].address
            for key, at in linked.items()
            if (known := self.records.get(key)) is not None
            and known[0].address.rpartition(":")[0] == at.rpartition(":")[0]
        }
        ready: dict[str, list[str]] = {}
        busy: Counter[str] = Counter()
        for address in self._named if named_only else self._places:
            place = self._places[address]
            if place.dialled(now) or place.key in linked or address in held:
                busy[crowd_of(address)] += 1
            elif not place.waits(now):
                share = "named" if place.named else self._told.teller(address)
                ready.setdefault(share, []).append(address)
        named = ready.pop("named", [])
        self._rng.shuffle(named)
        return [*named, *self._in_turn(list(ready.values()), busy)]

    def _in_turn(self, shares: list[list[str]], busy: Counter[str]) -> list[str]:
        """At most ``DUE_MAX`` addresses: one of each share in turn, seldom networks first."""
        self._rng.shuffle(shares)
        out: list[str] = []
        for share in shares:
            self._rng.shuffle(share)
            seen: Counter[str] = Counter()
            place: dict[str, tuple[int, float]] = {}
            for address in share:
                crowd = crowd_of(address)
                seen[crowd] += 1
                place[address] = seen[crowd], self._rng.random()
            share.sort(key=place.__getitem__, reverse=True)
        while shares and len(out) < DUE_MAX:
            for share in shares:
                best = min(
                    range(1, min(len(share), LOOK_AT) + 1),
                    key=lambda back: busy[crowd_of(share[-back])],
                )
                address = share.pop(-best)
                busy[crowd_of(address)] += 1
                out.append(address)
            shares = [share for share in shares if share]
        return out


def _in_time(record: AddressRecord, now: float) -> bool:
    now_ms = int(now * 1000)
    return now_ms - RECORD_AGE_MS_MAX <= record.time <= now_ms + _AHEAD_MS_MAX
