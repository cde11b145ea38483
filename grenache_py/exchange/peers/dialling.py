"""
Whom to dial: addresses the operator named always, others until there are links enough.

Pure. ``address_book.py`` knows the addresses and when each may be tried again.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from grenache_py.exchange.peers.address_book import AddressBook
from grenache_py.exchange.peers.link_table import LinkTable
from grenache_py.exchange.peers.outgoing import Outgoing

__all__ = ["Dialling"]

#: Dials begun at once to addresses that the operator did not name.
AT_ONCE_MAX = 4


@attrs.define
class Dialling:
    """
    Begins dials.

    Attributes:
        dials: begun, counted.
        stopped: this peer is about to stop; no more dials.
    """

    _table: LinkTable
    _addresses: AddressBook
    _outgoing: Outgoing
    _target: int
    dials: int = 0
    stopped: bool = False

    def connect(self, address: str, now: float) -> None:
        """Dial an address that the operator named, now and whenever it is not linked."""
        self._addresses.name([address])
        self.dial_due(now)

    def discovered(self, addresses: Iterable[str], now: float) -> None:
        """The grapes named these as peers of this network."""
        self._addresses.hint(addresses, now)
        self.dial_due(now)

    def failed(self, address: str, now: float) -> None:
        """A dial did not connect."""
        self._addresses.failed(address, now)

    def dial_due(self, now: float) -> None:
        """Dial what is due: named addresses, and others while there are too few outbound links."""
        if self.stopped:
            return
        links = self._table.links.values()
        outbound = sum(link.outbound for link in links if not link.closing)
        dialled = 0
        # An address that another peer's record names may lead to a link all the same.
        open_links = {link.address for link in links if link.outbound and not link.closing}
        linked = {key: link.address for key, link in self._table.by_key.items()}
        for address in self._addresses.due(linked, now, outbound >= self._target):
            if address in open_links:
                continue
            named = self._addresses.is_named(address)
            if not named and (outbound + dialled >= self._target or dialled >= AT_ONCE_MAX):
                break
            if self.dial(address, now):
                dialled += 1

    def dial(self, address: str, now: float) -> bool:
        """Begin a dial; False when there is one to this address already, or when stopped."""
        if self.stopped or not self._addresses.dial(address, now):
            return False
        self.dials += 1
        self._outgoing.dial(address, self._addresses.may_lie_in(address))
        return True
