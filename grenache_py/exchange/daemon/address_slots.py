"""
Signed address records in BEP 44 items that are found from the network's name alone.

Shell: owns two tasks. A grape announces the address that it is seen under, which is not where a
peer behind it can be reached (a container, a NAT). So a peer whose operator says where it is
(``advertise``) also puts its signed record into one of `SLOTS` mutable items, and every peer reads
them all. Everybody can work out a slot's key, so anybody can write into it: what is read is
believed when the peer that it names signed it, and what was overwritten is written again
(docs/design/gossip.rst#slots).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.signed_log.merkle import Signed, Wire
from grenache_py.link.client import Link
from grenache_py.link.errors import GrapeRefused, LinkError
from grenache_py.link.items import VALUE_BYTES_MAX, Item, mutable_hash
from grenache_py.link.keys import ItemKey

__all__ = ["SLOTS", "AddressSlots"]

#: Items of one network. Who finds one peer is told of the others by it.
SLOTS = 32
#: Between two reads: in the first round, while there is no link, and with one.
READ_FIRST_S, READ_LONELY_S, READ_LINKED_S = 0.2, 2.0, 60.0
#: How often the own record is looked at, and written anew.
WRITE_S = 300.0
#: Before another try: somebody wrote meanwhile; no grape took it; there is nothing to write yet.
CONFLICT_S, FAILED_S, NOTHING_S = 1.0, 15.0, 2.0
#: What a grape answers to a write when the item has changed since it was read.
CONFLICTS = frozenset({301, 302})


class AddressSlots:
    """
    The slots of one network, as one peer uses them.

    Attributes:
        written_at: clock seconds when the own record was last seen in a slot, or None.
        error: why the own record could not be written the last time, or "".
        read: records of others that were good, ever.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        rng: random.Random,
        network: str,
        key: str,
        take: Callable[[Signed], str],
    ) -> None:
        """
        Args:
            key: of this peer.
            take: is given each record that is read; returns the key of the peer that signed it, ""
                when nobody did or it is too old.
        """
        self.written_at: float | None = None
        self.error = ""
        self.read = 0
        self._clock = clock
        self._rng = rng
        self._key = key
        self._take = take
        seeds = [sha256(f"exchange address slot {n} of {network}".encode()) for n in range(SLOTS)]
        self._slots = [ItemKey.from_seed(seed.digest()) for seed in seeds]

    async def read_on(self, link: Link, lonely: Callable[[], bool]) -> None:
        """Read one slot after the other, until cancelled; ``lonely`` while there is no link."""
        pause, order = READ_FIRST_S, list(range(SLOTS))
        self._rng.shuffle(order)
        while True:
            for number in order:
                with suppress(LinkError):  # discovery tells of grapes that do not answer
                    self._owner(await self._get(link, number))
                await deferLater(self._clock, pause * self._rng.uniform(0.8, 1.2))
                if pause > READ_FIRST_S:
                    pause = READ_LONELY_S if lonely() else READ_LINKED_S
            pause = READ_LONELY_S

    async def write_on(self, link: Link, own: Callable[[], Wire | None]) -> None:
        """Keep the own record in a slot, until cancelled; ``own`` returns it once it is signed."""
        number, taken = int(self._key[:8], 16) % SLOTS, 0
        while True:
            record = own()
            text = "" if record is None else msgspec.json.encode(record).decode()
            if not text or len(text) > VALUE_BYTES_MAX:
                pause = NOTHING_S
            else:
                try:
                    item = await self._get(link, number)
                    owner = self._owner(item)
                    if owner not in {"", self._key} and taken < SLOTS:
                        number, taken = (number + 1) % SLOTS, taken + 1
                        continue
                    # If all slots are taken, this peer takes one over: nobody is locked out.
                    await self._put(link, number, text, item)
                    self.written_at, self.error = self._clock.seconds(), ""
                    taken, pause = 0, WRITE_S
                except LinkError as error:
                    conflict = isinstance(error, GrapeRefused) and error.status in CONFLICTS
                    pause = CONFLICT_S if conflict else FAILED_S
                    self.error = "" if conflict else str(error)
            await deferLater(self._clock, pause * self._rng.uniform(0.5, 1.5))

    async def _get(self, link: Link, number: int) -> Item | None:
        return await link.get(mutable_hash(self._slots[number].public, b""), fresh=True)

    async def _put(self, link: Link, number: int, text: str, before: Item | None) -> None:
        seq = None if before is None else before.seq
        await link.put_mutable(text, self._slots[number], (seq or 0) + 1, cas=seq)

    def _owner(self, item: Item | None) -> str:
        """Whose record stands in a slot, "" when none does that is good."""
        if item is None:
            return ""
        try:
            signed = Signed.from_wire(msgspec.json.decode(item.value))
        except (msgspec.DecodeError, RemoteProtocolError):
            return ""
        owner = self._take(signed)
        self.read += owner not in {"", self._key}
        return owner
