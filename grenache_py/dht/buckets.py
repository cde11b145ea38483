"""
A contact, and the k-bucket it stands in with its replacement cache.

Pure.
"""

from __future__ import annotations

from grenache_py.dht.diversity import NETWORK_PLACES, network_of
from grenache_py.wire.krpc import ID_BYTES, Address, compact_address

__all__ = ["Bucket", "Contact"]

#: Nodes a bucket remembers that would have a place if a contact went silent.
REPLACEMENTS_MAX = 8


class Contact:
    """
    A node and what is known of it.

    Attributes:
        node_id: 20 bytes.
        number: The id as an integer, for distances.
        address: Where it answers.
        network: Whose neighbours its address has, None where that is not counted.
        compact: Id and address as in ``nodes`` (26 bytes, 38 for IPv6).
        seen_at: When it was last heard of, seconds.
        verified: It has answered a query of ours.
        failures: Queries it left unanswered since it was last heard of.
        rtt_s: Its smoothed round trip, None before the first answer.
    """

    __slots__ = (
        "address",
        "compact",
        "failures",
        "network",
        "node_id",
        "number",
        "pinged",
        "rtt_s",
        "seen_at",
        "verified",
    )

    def __init__(self, node_id: bytes, address: Address, now: float, verified: bool) -> None:
        self.node_id = node_id
        self.number = int.from_bytes(node_id, "big")
        self.address = address
        self.compact = node_id + compact_address(address)
        self.network = network_of(self.compact[ID_BYTES:-2])
        self.seen_at = now
        self.verified = verified
        self.failures = 0
        self.rtt_s: float | None = None
        self.pinged = False

    def __repr__(self) -> str:
        return f"<Contact {self.node_id.hex()[:8]} {self.address[0]}:{self.address[1]}>"


class Bucket:
    """Contacts that share the same number of leading bits with the own id."""

    __slots__ = ("contacts", "refreshed_at", "replacements")

    def __init__(self, now: float) -> None:
        self.contacts: dict[bytes, Contact] = {}
        self.replacements: dict[bytes, Contact] = {}
        self.refreshed_at = now

    def crowd(self) -> dict[bytes, list[Contact]]:
        """Contacts by network, those that came last at the end; uncounted ones are left out."""
        crowd: dict[bytes, list[Contact]] = {}
        for contact in self.contacts.values():
            if contact.network is not None:
                crowd.setdefault(contact.network, []).append(contact)
        return crowd

    def surplus(self, newcomer: Contact) -> Contact | None:
        """The contact that gives way to ``newcomer`` for its network's sake, if one does."""
        crowd = self.crowd()
        if newcomer.network is not None and len(crowd.get(newcomer.network, ())) >= NETWORK_PLACES:
            return None
        most = max(crowd.values(), key=len, default=[])
        return most[-1] if len(most) > NETWORK_PLACES else None

    def take_heir(self) -> Contact:
        """Take a replacement: the one heard of last, of a network that has room if there is."""
        crowd = self.crowd()
        for heir in reversed(list(self.replacements.values())):
            if heir.network is None or len(crowd.get(heir.network, ())) < NETWORK_PLACES:
                return self.replacements.pop(heir.node_id)
        return self.replacements.popitem()[1]

    def keep_replacement(self, contact: Contact) -> None:
        """Remember ``contact``; the oldest of the network with most replacements makes room."""
        self.replacements.pop(contact.node_id, None)
        self.replacements[contact.node_id] = contact
        if len(self.replacements) <= REPLACEMENTS_MAX:
            return
        networks = [each.network for each in self.replacements.values()]
        most = max(networks, key=lambda network: 0 if network is None else networks.count(network))
        for node_id, each in self.replacements.items():
            if each.network == most:
                del self.replacements[node_id]
                return
