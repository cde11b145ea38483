"""
Who announced themselves under which name.

Pure. Peers are compact addresses (6 or 18 bytes) under the exact bytes of the name.
Both levels are dictionaries in order of the last announcement, so what is oldest is
found at the front and expiry never scans. Served values are encoded once and kept
until the set changes or its oldest member expires.
"""

from __future__ import annotations

import random

import attrs

__all__ = ["PeerStore"]

#: The first byte of IPv4 addresses that stay on a machine.
LOOPBACK_NET = 127
#: How long a random choice is served; drawing 100 peers takes longer than all the rest.
CHOICE_FOR_S = 1.0


class _Peers:
    """The peers of one name: compact address -> time of its last announcement, oldest first."""

    __slots__ = ("announced_at", "encoded", "encoded_until", "some_are_here")

    def __init__(self) -> None:
        self.announced_at: dict[bytes, float] = {}
        self.encoded = b""
        self.encoded_until = 0.0
        self.some_are_here = False


@attrs.define
class PeerStore:
    """
    Peers by name.

    Args:
        max_age_s: Seconds a peer is served after its last announcement.
        names_max: Names kept.
        name_bytes_max: Bytes of those names together.
        peers_max: Peers over all names.
        peers_per_name_max: Peers of one name.
        peers_per_source_max: Peers announced from one IP address.
        values_max: Peers in one answer.
        rng: Chooses them when there are more.
    """

    max_age_s: float
    names_max: int
    name_bytes_max: int
    peers_max: int
    peers_per_name_max: int
    peers_per_source_max: int
    values_max: int
    rng: random.Random = attrs.field(repr=False)
    peers_held: int = attrs.field(init=False, default=0)
    _names: dict[bytes, _Peers] = attrs.field(init=False, factory=dict, repr=False)
    _name_bytes: int = attrs.field(init=False, default=0)
    _per_source: dict[bytes, int] = attrs.field(init=False, factory=dict, repr=False)

    def __len__(self) -> int:
        """Names held, expired ones included until they are met."""
        return len(self._names)

    def add(self, name: bytes, peer: bytes, now: float) -> bool:
        """
        Keep ``peer`` (its compact address) under ``name`` from ``now`` on.

        Returns:
            False when its IP address has as many peers here as one source may have.
        """
        self.expire(now)
        host = peer[:-2]
        peers = self._names.pop(name, None)
        known = peers is not None and peer in peers.announced_at
        if not known and self._per_source.get(host, 0) >= self.peers_per_source_max:
            if peers is not None:
                self._names[name] = peers
            return False
        if peers is None:
            peers = _Peers()
            self._name_bytes += len(name)
        self._names[name] = peers  # now the youngest
        if known:
            del peers.announced_at[peer]
        else:
            self.peers_held += 1
            self._per_source[host] = self._per_source.get(host, 0) + 1
            peers.encoded_until = 0.0
        peers.announced_at[peer] = now
        if len(peers.announced_at) > self.peers_per_name_max:
            self._drop_oldest(name, peers)
        while (
            len(self._names) > self.names_max
            or self.peers_held > self.peers_max
            or (self._name_bytes > self.name_bytes_max and len(self._names) > 1)
        ):
            oldest = next(iter(self._names))
            self._drop_oldest(oldest, self._names[oldest])
        return True

    def peers(self, name: bytes, now: float) -> list[bytes]:
        """All live peers of ``name``, oldest announcement first."""
        peers = self._names.get(name)
        if peers is None or self._purge(name, peers, now):
            return []
        return list(peers.announced_at)

    def encoded_values(self, name: bytes, now: float, *, abroad: bool = False) -> bytes | None:
        """
        ``values`` of BEP 5, bencoded, or None if there are none.

        At most ``values_max``, chosen at random anew every second. ``abroad`` leaves out
        loopback addresses, which mean somebody else to an asker on another machine.
        """
        peers = self._names.get(name)
        if peers is None:
            return None
        if now >= peers.encoded_until:
            if self._purge(name, peers, now):
                return None
            self._encode_values(peers, now)
        if abroad and peers.some_are_here:
            others = [peer for peer in peers.announced_at if peer[0] != LOOPBACK_NET]
            return _encode(others[-self.values_max :]) if others else None
        return peers.encoded

    def _encode_values(self, peers: _Peers, now: float) -> None:
        chosen = list(peers.announced_at)
        peers.some_are_here = any(peer[0] == LOOPBACK_NET for peer in chosen)
        until = peers.announced_at[chosen[0]] + self.max_age_s
        if len(chosen) > self.values_max:
            chosen = self.rng.sample(chosen, self.values_max)
            until = min(until, now + CHOICE_FOR_S)
        peers.encoded = _encode(chosen)
        peers.encoded_until = until

    def expire(self, now: float) -> None:
        """Forget what is too old, beginning with the names announced longest ago."""
        names = self._names
        while names:
            oldest = next(iter(names))
            if not self._purge(oldest, names[oldest], now):
                return

    def _purge(self, name: bytes, peers: _Peers, now: float) -> bool:
        """Drop expired peers of one name; True when the name went with them."""
        oldest_allowed = now - self.max_age_s
        announced_at = peers.announced_at
        while announced_at:
            if announced_at[next(iter(announced_at))] > oldest_allowed:
                return False
            self._drop_oldest(name, peers)
        return True

    def _drop_oldest(self, name: bytes, peers: _Peers) -> None:
        peer = next(iter(peers.announced_at))
        del peers.announced_at[peer]
        peers.encoded_until = 0.0
        self.peers_held -= 1
        host = peer[:-2]
        left = self._per_source[host] - 1
        if left:
            self._per_source[host] = left
        else:
            del self._per_source[host]
        if not peers.announced_at:
            del self._names[name]
            self._name_bytes -= len(name)


def _encode(peers: list[bytes]) -> bytes:
    return b"l" + b"".join([b"%d:%b" % (len(peer), peer) for peer in peers]) + b"e"
