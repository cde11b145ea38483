"""
The nodes this node knows: k-buckets by shared prefix (Kademlia, BEP 5).

Pure; it sends nothing and says what is to be pinged. Buckets are numbered by the
leading bits an id shares with the own one; the last bucket holds all ids that share
more and splits when it is full, the others do not. Each bucket keeps a replacement
cache of nodes that would have a place if a contact went silent. In a full bucket the
second contact of a network and those after it give way to nodes of other networks.

A contact is *verified* once it has answered a query of ours from its address. Nodes
that only asked us something are entered too, as Node grapes do (that is how a ring
with mutual bootstrap lists joins up), but they get pinged, are dropped at the first
silence, and make room for verified ones.

One address is one contact: when it answers under a new id, the old entry is a ghost
of a process that was restarted, and goes at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from grenache_py.dht.buckets import Bucket, Contact
from grenache_py.dht.diversity import spread
from grenache_py.dht.node_id import key_number, prefix_length
from grenache_py.wire.krpc import Address

__all__ = ["RoutingTable"]

#: Unanswered queries that a contact which has answered before is dropped at.
FAILURES_MAX = 2
#: Contacts of one network: as many as a ring that fills a /24 leaves in a table.
NETWORK_CONTACTS_MAX = 100


class RoutingTable:
    """
    The contacts, by id and by address.

    Args:
        own_id: 20 bytes; never entered.
        bucket_size: k.
        now: Seconds.
    """

    def __init__(self, own_id: bytes, bucket_size: int, now: float) -> None:
        self.own_id = own_id
        self.own_number = int.from_bytes(own_id, "big")
        self.bucket_size = bucket_size
        self.buckets = [Bucket(now)]
        self.by_id: dict[bytes, Contact] = {}
        self.by_address: dict[Address, Contact] = {}
        self._per_network: Counter[bytes] = Counter()
        self.version = 0
        """Changes whenever a node that answers enters or leaves."""
        self.nodes_version = 0
        """Changes whenever `closest` might give anything else."""

    def __len__(self) -> int:
        return len(self.by_id)

    def __iter__(self) -> Iterator[Contact]:
        return iter(self.by_id.values())

    # --- signs of life ------------------------------------------------------------------

    def heard_query(self, node_id: bytes, address: Address, now: float) -> Contact | None:
        """
        A node that is not read-only asked us something.

        Returns:
            A contact to ping: the asker when it is new, the one it might replace, or the
            one whose id or address it claims. None when that one is being pinged.
        """
        contact = self.by_id.get(node_id)
        if contact is not None:
            if contact.address == address:
                contact.seen_at = now
                return None if contact.verified or contact.pinged else contact
            return contact if not contact.pinged and now - contact.seen_at > 15.0 else None
        if node_id == self.own_id:
            return None
        known = self.by_address.get(address)
        if known is not None:  # its answer will tell which id it has
            return None if known.pinged else known
        newcomer = Contact(node_id, address, now, verified=False)
        if self._is_crowded(newcomer):
            return None
        if self._has_room(newcomer):
            self._insert(newcomer)
            return newcomer
        return self._wait_for_room(newcomer)

    def heard_answer(
        self, node_id: bytes, address: Address, rtt_s: float, now: float
    ) -> Contact | None:
        """
        A node answered a query of ours within ``rtt_s``, so both id and address are true.

        Returns:
            A contact to ping because it might have to make room, or None.
        """
        contact = self.by_id.get(node_id)
        if contact is None or contact.address != address:
            return self._enter_answerer(node_id, address, rtt_s, now)
        contact.seen_at = now
        if contact.failures:
            contact.failures = 0
            self.nodes_version += 1
        if not contact.verified:
            contact.verified = True
            self._changed(contact)
        known = contact.rtt_s
        contact.rtt_s = rtt_s if known is None else known + (rtt_s - known) * 0.25
        return None

    def _enter_answerer(
        self, node_id: bytes, address: Address, rtt_s: float, now: float
    ) -> Contact | None:
        if node_id == self.own_id:
            return None
        ghost = self.by_address.get(address)
        if ghost is not None:
            self._remove(ghost)
        moved = self.by_id.get(node_id)
        if moved is not None:
            if moved.verified and not moved.failures:
                return None if moved.pinged else moved  # two places claim one id
            self._remove(moved)
        contact = Contact(node_id, address, now, verified=True)
        if self._is_crowded(contact):
            return None
        contact.rtt_s = rtt_s
        if not self._has_room(contact):
            bucket = self._bucket(contact)
            weakest = min(
                bucket.contacts.values(), key=lambda c: (c.verified, -c.failures, c.seen_at)
            )
            if weakest.verified and not weakest.failures:
                surplus = bucket.surplus(contact)
                if surplus is None:
                    return self._wait_for_room(contact)
                weakest = surplus
            self._remove(weakest)
        self._insert(contact)
        return None

    def fell_silent(self, contact: Contact) -> bool:
        """
        A query to ``contact`` was left unanswered.

        Returns:
            True when it was dropped for it.
        """
        contact.failures += 1
        self.nodes_version += 1
        if self.by_id.get(contact.node_id) is not contact:
            return False
        if contact.verified and contact.failures < FAILURES_MAX:
            return False
        self._remove(contact)
        bucket = self._bucket(contact)
        while bucket.replacements and len(bucket.contacts) < self.bucket_size:
            heir = bucket.take_heir()
            if heir.node_id not in self.by_id and heir.address not in self.by_address:
                heir.verified = False  # it has to show that it is still there
                self._insert(heir)
        return True

    # --- questions ----------------------------------------------------------------------

    def closest(self, key: bytes, count: int, *, unverified: bool = False) -> list[Contact]:
        """
        Up to ``count`` contacts that did not fall silent, nearest to ``key`` first.

        One of each network comes before others (see `diversity`).

        Those that never answered are left out unless ``unverified``: anyone can make
        such contacts up, and each would cost whoever asks them a wait.
        """
        number = key_number(key)
        if len(self.by_id) <= count:  # a small ring: everybody
            found = [
                contact
                for contact in self.by_id.values()
                if not contact.failures and (contact.verified or unverified)
            ]
            found.sort(key=lambda contact: contact.number ^ number)
            return found
        shared = prefix_length(self.own_number ^ number)
        buckets = self.buckets
        last = len(buckets) - 1
        # Contacts in the key's own bucket share more bits with it than any other; those in
        # all deeper buckets part from it at the same bit; each shallower bucket is farther.
        groups: list[list[Bucket]] = []
        if shared <= last:
            groups.append([buckets[shared]])
        if shared < last:
            groups.append(buckets[shared + 1 :])
        groups.extend([buckets[index]] for index in range(min(shared, last + 1) - 1, -1, -1))
        found = spread(_by_distance(groups, number, unverified=unverified), count)
        found.sort(key=lambda contact: contact.number ^ number)
        return found

    def good(self) -> int:
        """Contacts that have answered and have not fallen silent since."""
        return sum(1 for contact in self if contact.verified and not contact.failures)

    # --- places -------------------------------------------------------------------------

    def _bucket(self, contact: Contact) -> Bucket:
        shared = prefix_length(self.own_number ^ contact.number)
        return self.buckets[min(shared, len(self.buckets) - 1)]

    def _is_crowded(self, newcomer: Contact) -> bool:
        """Whether its network has as many contacts here as a whole ring in it would give."""
        network = newcomer.network
        return network is not None and self._per_network.get(network, 0) >= NETWORK_CONTACTS_MAX

    def _has_room(self, contact: Contact) -> bool:
        """Whether its bucket has a place, splitting the last bucket if that makes one."""
        while True:
            bucket = self._bucket(contact)
            if len(bucket.contacts) < self.bucket_size:
                return True
            if bucket is not self.buckets[-1] or len(self.buckets) == 160:
                return False
            self._split_last()

    def _split_last(self) -> None:
        bucket = self.buckets[-1]
        depth = len(self.buckets) - 1
        deeper = Bucket(bucket.refreshed_at)
        for source, target in (
            (bucket.contacts, deeper.contacts),
            (bucket.replacements, deeper.replacements),
        ):
            for contact in list(source.values()):
                if prefix_length(self.own_number ^ contact.number) > depth:
                    target[contact.node_id] = source.pop(contact.node_id)
        self.buckets.append(deeper)

    def _wait_for_room(self, newcomer: Contact) -> Contact | None:
        """Remember ``newcomer`` and return the contact to ping, the one unheard of longest."""
        bucket = self._bucket(newcomer)
        bucket.keep_replacement(newcomer)
        eldest = min(bucket.contacts.values(), key=lambda contact: contact.seen_at)
        if eldest.pinged or newcomer.seen_at - eldest.seen_at < 10.0:
            return None
        return eldest

    def _insert(self, contact: Contact) -> None:
        self._bucket(contact).contacts[contact.node_id] = contact
        self.by_id[contact.node_id] = contact
        self.by_address[contact.address] = contact
        if contact.network is not None:
            self._per_network[contact.network] += 1
        self._changed(contact)

    def _remove(self, contact: Contact) -> None:
        del self._bucket(contact).contacts[contact.node_id]
        del self.by_id[contact.node_id]
        del self.by_address[contact.address]
        if contact.network is not None:
            self._per_network[contact.network] -= 1
            if not self._per_network[contact.network]:
                del self._per_network[contact.network]
        self._changed(contact)

    def _changed(self, contact: Contact) -> None:
        self.nodes_version += 1
        if contact.verified:
            self.version += 1


def _by_distance(groups: list[list[Bucket]], number: int, *, unverified: bool) -> Iterator[Contact]:
    """The contacts of groups of buckets, each group farther than the one before it."""
    for group in groups:
        near = [
            contact
            for bucket in group
            for contact in bucket.contacts.values()
            if not contact.failures and (contact.verified or unverified)
        ]
        near.sort(key=lambda contact: contact.number ^ number)
        yield from near
