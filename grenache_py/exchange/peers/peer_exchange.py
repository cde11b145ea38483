"""
Telling each other where peers can be dialled.

Pure. See docs/failure-modes.rst#f23. Each peer signs a record of its own address, anew every ten
minutes; neighbours keep records and pass on those that are news, so that a home can be reached for
a fill by peers it has no link with.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.peers.address_book import AddressBook, AddressRecord
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.message_table import PeerParams
from grenache_py.exchange.peers.outgoing import Outgoing
from grenache_py.exchange.peers.scores import network_prefix
from grenache_py.exchange.signed_log.merkle import Draft, Sealer, Signed, Wire
from grenache_py.wire.jsonrpc import notification_line

__all__ = ["PeerExchange", "read_records"]

#: Records sent to a new neighbour, and in one message.
RECORDS_PER_MESSAGE_MAX = 60
#: Networks remembered in which somebody told where this peer is seen to come from.
SEEN_MAX = 64
#: Own address record is signed anew this often.
RENEW_S = 600.0


class PeerExchange:
    """
    This peer's own address record, and what it tells of others'.

    Args:
        listen: ``host:port`` this peer can be dialled at; ``:port`` when the host is to be what
            others see; "" when it cannot.
        term: this peer's own; 0 when its store has none.
        outgoing: takes the lines.
    """

    def __init__(
        self,
        me: str,
        listen: str,
        book: AddressBook,
        sealer: Sealer,
        outgoing: Outgoing,
        term: int = 0,
    ) -> None:
        self._me = me
        self._listen = listen
        self._term = term
        self._book = book
        self._sealer = sealer
        self._outgoing = outgoing
        self._host = ""  # what others see us come from
        self._seen: dict[str, str] = {}  # the host they see, by their network
        self._record: Draft | None = None
        self._record_until = 0.0

    def seen_from(self, link: PeerLink, address: str) -> None:
        """
        A peer that was dialled sees this one come from ``address``.

        It is believed when two of them agree, in different networks; one alone could move this
        peer to an address of its own.
        """
        host = address.rpartition(":")[0]
        if not host or self._host:
            return
        seen = self._seen
        seen.pop(network := _network(link.address), None)
        seen[network] = host
        if len(seen) > SEEN_MAX:
            del seen[next(iter(seen))]
        if sum(each == host for each in seen.values()) >= 2:
            self._host = host
            seen.clear()

    def own_address(self) -> str:
        """Where others can dial this peer, as far as it knows; "" when they cannot."""
        host, _, port = self._listen.rpartition(":")
        host = host or self._host
        return f"{host}:{port}" if host and port else ""

    def own_record(self) -> Wire | None:
        """This peer's own record; None before there is one that is signed."""
        record = self._record
        return None if record is None or record.signed is None else record.signed.wire()

    def tell(self, links: Iterable[PeerLink], now: float, newcomer: PeerLink | None = None) -> None:
        """
        Sign our address anew when it is time, and tell it.

        Args:
            links: all who hear of a renewed record.
            newcomer: who hears of it in any case.
        """
        address = self.own_address()
        if not address:
            return
        if self._record is None or not now < self._record_until <= now + RENEW_S:
            record = AddressRecord(self._me, address, int(now * 1000), self._term)
            self._record = self._sealer.add(msgspec.json.encode(record).decode())
            self._record_until = now + RENEW_S
        else:
            links = [] if newcomer is None else [newcomer]
        for link in links:
            if link.reads_terms or not self._term:
                self._outgoing.send_later(link, self._line)

    def _line(self) -> bytes:
        assert self._record is not None
        return notification_line("peer.addresses", {"records": [self._record.proof.wire()]})

    def tell_sample(self, link: PeerLink, now: float) -> None:
        """Tell a neighbour some good records."""
        some = self._book.sample(RECORDS_PER_MESSAGE_MAX, now, link.reads_terms)
        self._tell(link, [signed.wire() for signed in some])

    def heard(
        self, records: Iterable[Signed], now: float, told_at: str, others: list[PeerLink]
    ) -> None:
        """
        Take the records of a ``peer.addresses``, and pass on those that are news.

        Args:
            told_at: ``host:port`` of the neighbour that told them.
            others: who hears of them.

        Raises:
            RemoteProtocolError: one is malformed, or not signed by its peer.
        """
        learned = [(self._book.learn(signed, now, told_at), signed) for signed in records]
        fresh = [(record.term, signed.wire()) for record, signed in learned if record is not None]
        for link in others:
            reads_terms = link.reads_terms
            self._tell(link, [wire for term, wire in fresh if reads_terms or not term])

    def _tell(self, link: PeerLink, records: list[Wire]) -> None:
        self._outgoing.notify_list(link, "peer.addresses", "records", records)


def _network(address: str) -> str:
    """Two private addresses are two networks: nobody rents them by the thousand."""
    return network_prefix(address) or address


def read_records(params: PeerParams) -> list[Signed]:
    """The params of ``peer.addresses``."""
    records = params.get("records")
    if not isinstance(records, list) or len(records) > RECORDS_PER_MESSAGE_MAX:
        raise RemoteProtocolError(
            f"'records' must be a list of at most {RECORDS_PER_MESSAGE_MAX} signed records"
        )
    return [Signed.from_wire(record) for record in records]
