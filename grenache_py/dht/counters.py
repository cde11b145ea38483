"""How often things happened in a node, and the node at a glance. Pure."""

from __future__ import annotations

import attrs

__all__ = ["Counters", "DHTStatus"]


@attrs.define
class Counters:
    """How often things happened since the node was made."""

    datagrams_received: int = 0
    datagrams_malformed: int = 0
    datagrams_over_limit: int = 0
    queries_answered: int = 0
    queries_refused: int = 0
    queries_sent: int = 0
    queries_repeated: int = 0
    queries_lost: int = 0
    answers_unmatched: int = 0
    lookups: int = 0
    lookups_shared: int = 0
    announces: int = 0
    puts: int = 0
    gets: int = 0


@attrs.frozen
class DHTStatus:
    """A node at a glance. Sizes are numbers of entries."""

    node_id: bytes
    contacts_good: int
    contacts_total: int
    bootstrapped: bool
    queries_pending: int
    operations: int
    names: int
    peers: int
    items: int
    announce_tables: int
    sources: int
    silent_addresses: int
    round_trip_s: float | None
    counters: Counters
