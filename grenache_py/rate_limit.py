"""
How many datagrams, or requests, each source address may send in a second.

Pure. Two classes: *trusted* addresses have answered a query of ours, so they receive
what is sent to them and are not the forged victims of a reflection; everybody else is
a stranger and gets little. Counting is per calendar second and is forgotten after it,
so memory is bounded by ``sources_max``; when that many strangers were seen within one
second, further ones wait for the next.
"""

from __future__ import annotations

__all__ = ["RateLimit"]

_LOOPBACK = ("127.0.0.1", "::1")


class RateLimit:
    """Counts datagrams by source host."""

    def __init__(
        self, *, trusted_max: int, stranger_max: int, sources_max: int, exempt_loopback: bool
    ) -> None:
        self._trusted_max = trusted_max
        self._stranger_max = stranger_max
        self._sources_max = sources_max
        self._exempt = frozenset(_LOOPBACK if exempt_loopback else ())
        self._second = 0
        self._counts: dict[str, int] = {}
        self._trusted: dict[str, None] = {}

    def admits(self, host: str, now: float, *, answer: bool = False) -> bool:
        """
        Count one datagram from ``host``; False when it is one too many.

        An ``answer`` has the limit of the trusted: nothing is ever sent back for it, and
        it may be what shows that ``host`` is not forged.
        """
        if host in self._exempt:
            return True
        second = int(now)
        if second != self._second:
            self._second = second
            self._counts.clear()
        count = self._counts.get(host, 0) + 1
        if count == 1 and len(self._counts) >= self._sources_max and host not in self._trusted:
            return answer
        self._counts[host] = count
        return count <= self._stranger_max or (
            count <= self._trusted_max and (answer or host in self._trusted)
        )

    def reached_by(self, host: str) -> bool:
        """Whether the datagram just refused was the first over the limit of a stranger."""
        return self._counts.get(host) == self._stranger_max + 1 and host not in self._trusted

    def trust(self, host: str) -> None:
        """``host`` answered us; the one trusted longest ago makes room when there are too many."""
        if host in self._trusted:
            return
        if len(self._trusted) >= self._sources_max:
            del self._trusted[next(iter(self._trusted))]
        self._trusted[host] = None

    def __len__(self) -> int:
        """Addresses held now."""
        return len(self._counts) + len(self._trusted)
