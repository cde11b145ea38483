"""
Where peers may be: what to dial next, and the signed records peers pass on about themselves.

Pure. An address from the DHT is a hint that may be a ghost (docs/failure-modes.rst#f21): it is
tried, and put off for longer each time it fails, or forgotten when nobody vouches for it. An
address record is signed by the peer it names, so that any neighbour can pass it on
(docs/failure-modes.rst#f23). Nothing here ever gives up on a peer the operator named: back-off has
a ceiling, not an end (docs/failure-modes.rst#f13).
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Annotated

import attrs
import msgspec

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.signed_log.merkle import Signed, Verifier

__all__ = ["ADDRESSES_MAX", "AddressBook", "AddressRecord"]

#: Addresses known, and records kept, at most.
ADDRESSES_MAX = 4_096
#: An address that failed once waits this long; each failure doubles it, up to the maximum.
BACKOFF_MIN_S = 1.0
BACKOFF_MAX_S = 60.0
#: A dial that leads to no proven peer in this time may be made again.
DIAL_TIMEOUT_S = 30.0
#: A hint nobody vouched for is dropped after this many failures; a lookup may bring it again.
FAILURES_MAX = 6
#: A record is passed on again only when it is this much newer, or names another address.
RECORD_REFRESH_MS = 300_000
#: An address that led to this very peer is not tried for so long. It may have been somebody
#: between who led the dial back.
OWN_S = 600.0
#: Records older than this are not used: the peer would have renewed it.
RECORD_AGE_MS_MAX = 3_600_000
#: Records whose time is further ahead of this clock are not used.
_AHEAD_MS_MAX = 60_000


class AddressRecord(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """``peer`` says: at ``time`` (ms) I could be dialled at ``address`` (host:port)."""

    peer: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    address: Annotated[str, msgspec.Meta(max_length=262, pattern=r"^[^\s/]+:[0-9]{1,5}\Z")]
    time: Annotated[int, msgspec.Meta(ge=0, le=2**53)]


@attrs.define
class _Place:
    """One address. ``key`` is who answered there last, or who signed that it is theirs."""

    named: bool = False
    key: str = ""
    failures: int = 0
    next_try: float = 0.0
    dialling_until: float = 0.0


class AddressBook:
    """
    Addresses by what is known of them.

    Attributes:
        records: the newest signed record of each peer, by key.
    """

    def __init__(self, me: str, verifier: Verifier, rng: random.Random) -> None:
        self._me = me
        self._verifier = verifier
        self._rng = rng
        self._places: dict[str, _Place] = {}
        self.records: dict[str, tuple[AddressRecord, Signed]] = {}
        self._own: dict[str, float] = {}  # addresses that lead to this very peer, until when

    def name(self, addresses: Iterable[str]) -> None:
        """Addresses the operator gave: tried for ever."""
        for address in addresses:
            place = self._places.setdefault(address, _Place())
            place.named = True
            place.failures, place.next_try = 0, 0.0

    def hint(self, addresses: Iterable[str], now: float) -> None:
        """Addresses the grapes gave."""
        for address in addresses:
            if self._own.get(address, now) > now:
                continue
            if len(self._places) < ADDRESSES_MAX:
                self._places.setdefault(address, _Place())

    def learn(self, signed: Signed, now: float) -> AddressRecord | None:
        """
        Take a peer's record of itself.

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
        if known is not None and (
            record.time <= known[0].time
            or (
                record.address == known[0].address
                and record.time < known[0].time + RECORD_REFRESH_MS
            )
        ):
            return None
        now_ms = int(now * 1000)
        if not now_ms - RECORD_AGE_MS_MAX <= record.time <= now_ms + _AHEAD_MS_MAX:
            return None
        self._verifier.check(signed, record.peer)
        if known is None and len(self.records) >= ADDRESSES_MAX:
            del self.records[min(self.records, key=lambda key: self.records[key][0].time)]
        self.records[record.peer] = (record, signed)
        self.hint([record.address], now)
        place = self._places.get(record.address)
        if place is not None:
            place.key = record.peer
        return record

    def address_of(self, key: str, now: float) -> str | None:
        """Where ``key`` says it can be dialled, if that is known and not too old."""
        known = self.records.get(key)
        if known is None or known[0].time < int(now * 1000) - RECORD_AGE_MS_MAX:
            return None
        return known[0].address

    def sample(self, count: int, now: float) -> list[Signed]:
        """Some records that are still good, at random."""
        oldest = int(now * 1000) - RECORD_AGE_MS_MAX
        good = [signed for record, signed in self.records.values() if record.time >= oldest]
        return good if len(good) <= count else self._rng.sample(good, count)

    def is_named(self, address: str) -> bool:
        """Whether the operator gave ``address``."""
        place = self._places.get(address)
        return place is not None and place.named

    def dial(self, address: str, now: float) -> bool:
        """Note that ``address`` is about to be dialled; False when it is being dialled already."""
        place = self._places.setdefault(address, _Place())
        if place.dialling_until > now:
            return False
        place.dialling_until = now + DIAL_TIMEOUT_S
        return True

    def waiting(self, address: str, now: float) -> bool:
        """Whether ``address`` failed lately and is not to be tried yet."""
        place = self._places.get(address)
        return place is not None and place.next_try > now

    def failed(self, address: str, now: float) -> None:
        """A dial did not lead to a proven peer: wait twice as long as the last time."""
        place = self._places.get(address)
        if place is None:
            return
        place.dialling_until = 0.0
        place.failures += 1
        if place.failures >= FAILURES_MAX and not place.named and not place.key:
            del self._places[address]
            return
        wait = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2 ** min(place.failures - 1, 10))
        place.next_try = now + wait * (0.75 + 0.5 * self._rng.random())

    def reached(self, address: str, key: str, now: float) -> None:
        """
        A dial led to ``key``. The next one, should this link break, is not made at once.

        Where another peer signed that the address is its own, a dial has not reached it: whoever
        squats there gets neither its place nor what waits for it.
        """
        place = self._places.get(address)
        if place is None:
            return
        others = place.key not in {"", key} and self.address_of(place.key, now) == address
        if others and not place.named:
            self.failed(address, now)
        else:
            place.key, place.failures, place.dialling_until = key, 0, 0.0
            place.next_try = now + BACKOFF_MIN_S * (0.5 + self._rng.random())

    def is_own(self, address: str, now: float) -> None:
        """Dialling ``address`` led to this very peer: not again soon, if nobody named it."""
        if self.is_named(address):
            self.failed(address, now)
            return
        self._own.pop(address, None)
        self._own[address] = now + OWN_S
        if len(self._own) > ADDRESSES_MAX:
            del self._own[next(iter(self._own))]
        self._places.pop(address, None)

    def due(self, linked: set[str], now: float) -> list[str]:
        """Addresses worth dialling now, operator's first, the rest at random."""
        ready = [
            address
            for address, place in self._places.items()
            if place.next_try <= now
            and place.dialling_until <= now
            and (not place.key or place.key not in linked)
        ]
        self._rng.shuffle(ready)
        ready.sort(key=lambda address: not self._places[address].named)
        return ready
