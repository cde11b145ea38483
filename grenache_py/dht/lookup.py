"""
One iterative lookup: whom to ask next, and when enough has been heard.

Pure, and without queries of its own: the caller asks the candidates it is given and
reports what becomes of them. Candidates are kept by distance. Of those that have not
failed and are not overdue, the nearest ``width`` count; the lookup is settled when all
of these have answered. A candidate that is overdue no longer counts, so the next one
takes its place at once, and a dead node costs one short wait instead of Node's 2.5 s.
The nearest candidate of each network counts before others of it do (see `diversity`).

A search for values starts with a width of 8 and goes on to 20, where Node grapes and
announcements go, only while nothing was found. Whatever stores goes to 20 at once.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator

from grenache_py.dht.buckets import Contact
from grenache_py.dht.diversity import NETWORK_PLACES, network_of, spread
from grenache_py.dht.node_id import key_number
from grenache_py.wire.krpc import ID_BYTES, NODE_BYTES, Address, expand_address

__all__ = ["Candidate", "Lookup"]

FRESH, ASKED, OVERDUE, SLOW, ANSWERED, FAILED = range(6)
_COUNTED = (ASKED, ANSWERED)

#: Nodes that a search for values asks first; all of a ring of nine.
SEARCH_WIDTH = 8
#: Answers after which nobody waits for the slow ones.
CREDIBLE_ANSWERS = 4
#: Candidates of one lookup; of networks that are not known yet, twice as many.
CANDIDATES_MAX = 512
#: Nodes read from one answer.
NODES_READ_MAX = 100
#: Nodes of one network asked before nearer ones of it have to wait for other networks.
NETWORK_ASKED_MAX = 4


class Candidate:
    """A node that may be asked. ``node_id`` is None for a bootstrap address."""

    __slots__ = ("address", "contact", "distance", "hops", "network", "node_id", "state", "token")

    def __init__(
        self,
        node_id: bytes | None,
        address: Address,
        distance: int,
        hops: int,
        contact: Contact | None = None,
        network: bytes | None = None,
    ) -> None:
        self.node_id = node_id
        self.address = address
        self.distance = distance
        self.hops = hops
        self.network = network
        self.contact = contact
        self.state = FRESH
        self.token: bytes | None = None

    def __lt__(self, other: Candidate) -> bool:
        return self.distance < other.distance


class Lookup:
    """
    The state of one lookup.

    Args:
        key: What is looked for, any length.
        own_id: Never a candidate, unless a bootstrap address answers with it.
        width: How many nearest nodes must have answered.
        width_max: The same while nothing was found.
        concurrency: Candidates asked and not yet overdue, at most.

    Attributes:
        found: Set by the caller when a value has turned up.
        asked: Queries sent; hops: the longest chain of referrals among the answers.
    """

    __slots__ = (
        "_asked",
        "_by_address",
        "_candidates",
        "_in_flight",
        "_number",
        "_overdue",
        "_own_id",
        "_per_network",
        "_seen",
        "_slow",
        "_width",
        "_width_max",
        "answers",
        "asked",
        "concurrency",
        "found",
        "hops",
        "key",
        "routers",
    )

    def __init__(
        self, key: bytes, own_id: bytes, *, width: int, width_max: int, concurrency: int
    ) -> None:
        self.key = key
        self._number = key_number(key)
        self._own_id = own_id
        self._width = width
        self._width_max = width_max
        self.concurrency = concurrency
        self._candidates: list[Candidate] = []
        self._seen: set[bytes] = set()
        self._by_address: dict[Address, Candidate] = {}
        self._per_network: dict[bytes, int] = {}
        self._asked: dict[bytes, int] = {}
        self._in_flight = 0
        self._overdue = 0
        self._slow = 0
        self.found = False
        self.answers = 0
        self.asked = 0
        self.hops = 0
        self.routers: list[Candidate] = []

    # --- candidates ---------------------------------------------------------------------

    def begin(self, contacts: Iterable[Contact]) -> None:
        """Start from contacts of the routing table, nearest first."""
        number = self._number
        for contact in contacts:
            self._seen.add(contact.compact)
            candidate = Candidate(
                contact.node_id,
                contact.address,
                contact.number ^ number,
                1,
                contact,
                contact.network,
            )
            if contact.network is not None:
                self._count(contact.network)
            self._by_address[contact.address] = candidate
            self._candidates.append(candidate)

    def begin_at(self, addresses: Iterable[Address]) -> None:
        """Start from addresses whose ids are not known."""
        for address in addresses:
            if address not in self._by_address:
                candidate = Candidate(None, address, -1, 0)
                self._by_address[address] = candidate
                self.routers.append(candidate)

    def learn(self, nodes: bytes, hops: int, avoid: dict[Address, float]) -> None:
        """
        Take up the nodes of an answer, in their compact form.

        Reads up to 100 entries; an incomplete last entry, port 0 and addresses nobody
        can have (0.x, 224.x and above) are passed over. Once 512 are known, only the first
        of a network is taken up, until there are 1024.
        """
        seen = self._seen
        for start in range(0, min(len(nodes), NODES_READ_MAX * NODE_BYTES), NODE_BYTES):
            compact = nodes[start : start + NODE_BYTES]
            if compact in seen or len(compact) < NODE_BYTES:
                continue
            network = network_of(compact[ID_BYTES : ID_BYTES + 4])
            if len(seen) >= CANDIDATES_MAX and (
                network is None
                or self._per_network.get(network, 0) >= NETWORK_PLACES
                or len(seen) >= 2 * CANDIDATES_MAX
            ):
                continue
            seen.add(compact)
            node_id = compact[:ID_BYTES]
            if node_id == self._own_id or not 0 < compact[20] < 224:
                continue
            address = expand_address(compact[ID_BYTES:])
            if address[1] == 0 or address in avoid or address in self._by_address:
                continue
            distance = int.from_bytes(node_id, "big") ^ self._number
            candidate = Candidate(node_id, address, distance, hops, None, network)
            if network is not None:
                self._count(network)
            self._by_address[address] = candidate
            insort(self._candidates, candidate)

    # --- what to do ---------------------------------------------------------------------

    def to_ask(self) -> list[Candidate]:
        """The candidates to ask now; they count as asked."""
        chosen: list[Candidate] = []
        for candidate in self.routers:
            if candidate.state == FRESH and self._in_flight < self.concurrency:
                chosen.append(self._ask(candidate))
        places = self._width
        # Where all have a place, or no network counts, the order says nothing more.
        in_order = self._per_network and len(self._candidates) > places
        for candidate in self._in_order() if in_order else self._candidates:
            state = candidate.state
            if state == FRESH:
                if self._in_flight >= self.concurrency:
                    return chosen
                chosen.append(self._ask(candidate))
            elif state not in _COUNTED:
                continue
            places -= 1
            if not places:
                break
        if not self._in_flight and not self.found and self._width < self._width_max:
            self._width = self._width_max
            chosen += self.to_ask()
        return chosen

    def _count(self, network: bytes) -> None:
        self._per_network[network] = self._per_network.get(network, 0) + 1

    def _in_order(self) -> Iterator[Candidate]:
        """
        The candidates, nearest first, the second of a network and more after all others.

        When several of a network were asked, a nearer one does not come first any more:
        referrals that draw nearer without end would keep the lookup going.
        """
        surplus: list[Candidate] = []
        counts: dict[bytes, int] = {}
        for candidate in self._candidates:
            network = candidate.network
            if network is not None:
                places = counts.get(network, 0)
                asked = self._asked.get(network, 0) if candidate.state == FRESH else 0
                if places >= NETWORK_PLACES or asked >= NETWORK_ASKED_MAX:
                    surplus.append(candidate)
                    continue
                counts[network] = places + 1
            yield candidate
        yield from surplus

    def widen(self) -> None:
        """Have all ``width_max`` nearest nodes speak, even now that something was found."""
        self._width = self._width_max

    def settled(self) -> bool:
        """
        Whether nothing more is worth waiting for; ask after `to_ask` gave nothing.

        With a value in hand, overdue answers are not waited for; otherwise those that
        were asked a second time are, and slow ones too until four nodes have spoken.
        """
        if self._in_flight:
            return False
        if self.found:
            return True
        if self._overdue:
            return False
        return not self._slow or self.answers >= CREDIBLE_ANSWERS

    # --- what became of it --------------------------------------------------------------

    def answered(self, candidate: Candidate, node_id: bytes | None, token: bytes | None) -> None:
        """
        ``candidate`` answered as ``node_id`` (None: it did not say a usable one).

        The own id counts only at a bootstrap address: that is how a node alone whose
        bootstrap list names itself learns an address of its own, as Node grapes do.
        """
        self._settle(candidate)
        self.answers += 1
        self.hops = max(self.hops, candidate.hops)
        if node_id is None or (node_id == self._own_id and candidate.node_id is not None):
            candidate.state = FAILED  # heard, but it is nobody's neighbour
            return
        candidate.state = ANSWERED
        candidate.token = token
        if node_id != candidate.node_id:
            if candidate.node_id is not None:
                self._candidates.remove(candidate)
            candidate.node_id = node_id
            candidate.distance = int.from_bytes(node_id, "big") ^ self._number
            insort(self._candidates, candidate)

    def overdue(self, candidate: Candidate) -> None:
        """``candidate`` was asked a second time."""
        if candidate.state == ASKED:
            self._in_flight -= 1
            self._overdue += 1
            candidate.state = OVERDUE

    def slow(self, candidate: Candidate) -> None:
        """The second question went unanswered too, or there was none."""
        self._settle(candidate)
        self._slow += 1
        candidate.state = SLOW

    def failed(self, candidate: Candidate) -> None:
        """``candidate`` refused, or will never answer."""
        self._settle(candidate)
        candidate.state = FAILED

    def responders(self, count: int) -> list[Candidate]:
        """The nearest ``count`` nodes that answered, with an id; one of a network before others."""
        return spread((each for each in self._candidates if each.state == ANSWERED), count)

    def _ask(self, candidate: Candidate) -> Candidate:
        candidate.state = ASKED
        if candidate.network is not None:
            self._asked[candidate.network] = self._asked.get(candidate.network, 0) + 1
        self._in_flight += 1
        self.asked += 1
        return candidate

    def _settle(self, candidate: Candidate) -> None:
        state = candidate.state
        if state == ASKED:
            self._in_flight -= 1
        elif state == OVERDUE:
            self._overdue -= 1
        elif state == SLOW:
            self._slow -= 1
