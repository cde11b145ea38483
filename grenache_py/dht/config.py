"""The numbers a DHT node runs by: one frozen value, every limit named with its reason. Pure."""

from __future__ import annotations

import attrs

__all__ = ["DHTConfig"]


@attrs.frozen(kw_only=True)
class DHTConfig:
    """Limits and ages of one node. Times are seconds."""

    host: str | None = None
    """IPv4 literal under which own announcements are kept here too (the grape's ``-b``)."""

    bucket_size: int = 20
    """Contacts in a bucket, and nodes an announcement goes to: k of the Node grape."""

    concurrency: int = 16
    """Queries one traversal has in flight (``--dht_concurrency``); 16 is what Node grapes do."""

    peer_max_age_s: float = 120.0
    """A peer is served this long after its last announcement (``--dht_peer_maxAge``)."""

    node_liveness_s: float = 300.0
    """A contact unheard of for this long is pinged (``--dht_nodeLiveness``)."""

    tables_max: int = 5000
    """Names whose announce targets are remembered (``--dht_maxTables``)."""

    table_max_age_s: float = 240.0
    """Age at which those targets are looked for again; Node's tokens live 300 s or more."""

    items_max: int = 5000
    """BEP 44 values kept (``--dht_maxValues``); at 1.3 kB each, 7 MB."""

    names_max: int = 20_000
    """Names with peers; the one announced longest ago goes first."""

    name_bytes_max: int = 4 * 2**20
    """Bytes of all those names together, since one name may fill a datagram."""

    peers_max: int = 50_000
    """Peers over all names."""

    peers_per_name_max: int = 1000
    """Peers of one name; the oldest goes first."""

    peers_per_source_max: int = 25_000
    """Peers announced from one IP address, so that one source cannot push out the others."""

    values_max: int = 100
    """Peers in one answer, a random choice: 800 bytes, and all a lookup may answer."""

    operations_max: int = 2048
    """Operations under way; one more is refused at once."""

    trusted_rate_max: int = 50_000
    """Datagrams a second from an address that has answered a query of ours: it is not spoofed."""

    stranger_rate_max: int = 500
    """The same from any other address, which bounds what a spoofed one can be sent."""

    rate_exempt_loopback: bool = True
    """127.0.0.1 and ::1 are not limited: whole test rings share them."""

    sources_max: int = 4096
    """Addresses counted, and addresses trusted, at a time."""

    operation_deadline_s: float = 1.8
    """Every operation has answered by then: Link clients give up at 2.5 s."""

    bucket_refresh_s: float = 900.0
    """An id in each bucket is looked up this often (BEP 5)."""

    bootstrap_retry_min_s: float = 0.5
    bootstrap_retry_max_s: float = 60.0
    """Bounds of the back-off between bootstrap attempts."""
