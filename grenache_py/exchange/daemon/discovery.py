"""
Finds other peers through grapes, and announces this one there, until it is stopped.

Shell: owns one `Link`. An answer is a hint and nothing more: the node dials it and has the key
proven (docs/failure-modes.rst#f21). Asking never ends, whatever fails: grapes come back, and so do
peers that started later (docs/failure-modes.rst#f13). Whether its own announcement leads anybody to
this peer is tried, not assumed (``self_lookup.py``).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import Logger

from grenache_py.deferreds import Background
from grenache_py.exchange.daemon.address_slots import AddressSlots
from grenache_py.exchange.daemon.self_lookup import SelfLookup
from grenache_py.exchange.signed_log.merkle import Wire
from grenache_py.link.client import Announcement, Link
from grenache_py.link.errors import GrapeRefused, LinkError

__all__ = ["Discovery"]

#: Between two lookups: soon after the start, then ever less often.
LOOKUP_S_MIN, LOOKUP_S_MAX = 1.0, 15.0


class Discovery:
    """
    One service name at some grapes.

    Attributes:
        lookups: how many were answered.
        found: addresses in the newest answer.
        seen_at: clock seconds when an answer last had this peer's own port in it, or None.
        self_lookup: who answers at those addresses.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        rng: random.Random,
        name: str,
        discovered: Callable[[list[str]], None],
        key: str,
        slots: AddressSlots,
        lonely: Callable[[], bool],
    ) -> None:
        """
        Args:
            discovered: given the addresses of each answer.
            key: of this peer.
            slots: read, and written when there is a record to write.
            lonely: whether there is no link.
        """
        self._slots, self._lonely = slots, lonely
        self.self_lookup = SelfLookup(reactor, rng, key)
        self.lookups = 0
        self.found: list[str] = []
        self.seen_at: float | None = None
        self._reactor = reactor
        self._rng = rng
        self._name = name
        self._discovered = discovered
        self._link: Link | None = None
        self._announcement: Announcement | None = None
        self._port: int | None = None
        self._advertise = ""
        self._error = ""
        self._background = Background(self.log)  # of the newest start

    def start(
        self,
        grapes: Sequence[str],
        port: int | None,
        own_record: Callable[[], Wire | None],
        advertise: str,
    ) -> None:
        """
        Announce this peer and look for others, also again after a stop.

        Args:
            grapes: their URLs.
            port: what is announced; None: nothing.
            own_record: returns this peer's signed address record, once there is one.
            advertise: where the operator says that others reach it, ``host:port``; the record,
                which says so too, is then published. "" for where it is seen.
        """
        self._advertise = advertise
        self._port = port
        self._background = Background(self.log)
        self._link = Link(grapes, self._reactor, rng=self._rng, cache_ttl_s=0)
        if port is not None:
            self._announcement = self._link.start_announcing(self._name, port)
            self._background.spawn("look for itself", self.self_lookup.run(self._own))
        self._background.spawn("look for peers", self._look(self._link))
        reading = self._slots.read_on(self._link, self._lonely)
        self._background.spawn("read address records", reading)
        if advertise:
            writing = self._slots.write_on(self._link, own_record)
            self._background.spawn("publish the address record", writing)

    def _own(self) -> list[str]:
        """Where those are led who look for this peer: by its record, or by the newest answer."""
        record = [self._advertise] if self._slots.written_at is not None else []
        return record + [address for address in self.found if address.endswith(f":{self._port}")]

    def _seen(self) -> bool:
        return any(address.endswith(f":{self._port}") for address in self.found)

    async def _look(self, link: Link) -> None:
        pause = LOOKUP_S_MIN
        while True:
            try:
                self.found = await link.lookup(self._name, fresh=True)
            except LinkError as error:
                if str(error) != self._error:
                    self._error = str(error)
                    self.log.warn("cannot look for peers: {error}", error=self._error)
            else:
                if self._error:
                    self.log.info("looking for peers works again")
                self._error = ""
                self.lookups += 1
                if self._seen():
                    self.seen_at = self._reactor.seconds()
                self._discovered(self.found)
            await deferLater(self._reactor, pause * self._rng.uniform(0.8, 1.2))
            pause = min(LOOKUP_S_MAX, pause * 1.5)

    def status(self) -> dict[str, Any]:
        """How the grapes do."""
        announced = self._announcement
        error = announced.last_error if announced is not None else None
        now = self._reactor.seconds()

        def ago(moment: float | None) -> float | None:
            return None if moment is None else round(now - moment, 1)

        return {
            "urls": [] if self._link is None else self._link.grapes,
            "name": self._name,
            "port": self._port,
            "announced_s_ago": ago(announced.last_success if announced else None),
            "announce_error": None if error is None else str(error),
            "lonely": isinstance(error, GrapeRefused) and error.lonely,
            "seen_s_ago": ago(self.seen_at),
            "lookups": self.lookups,
            "lookup_error": self._error or None,
            "found": self.found[:100],
            "met": self.self_lookup.met,
            "record_s_ago": ago(self._slots.written_at),
            "record_error": self._slots.error or None,
            "records_read": self._slots.read,
        }

    async def stop(self) -> None:
        """Announce and ask no more."""
        link, self._link, self._announcement = self._link, None, None
        await self._background.stop()
        if link is not None:
            await link.close()
