"""
The settings of a grape: their names and values, and the `GrapeConfig` that they make.

Pure. Names and aliases in `TABLE` are those of the Node grape's command line; ages and
intervals are given in milliseconds there and kept in seconds here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

import attrs

from grenache_py.options import (
    Option,
    OptionTable,
    each,
    flag,
    host_and_port,
    host_name,
    listed,
    text,
    whole_number,
)

__all__ = ["TABLE", "GrapeConfig", "from_settings"]


@attrs.frozen(kw_only=True)
class GrapeConfig:
    """
    One grape.

    Attributes:
        host: Address the HTTP API listens on, and, when it is a usable IPv4 address, the
            one that services announced here are known under; every interface when None.
        dht_port: UDP port, always on every interface; 0 takes a free one.
        api_port: TCP port of the HTTP API; 0 takes a free one, None opens no HTTP port.
        api_endpoint: Twisted endpoint string to listen on in place of ``host`` and ``api_port``.
        bootstrap: ``host:port`` of other grapes, host an IPv4 address or a name.
        dht_concurrency: Queries one lookup may have in flight.
        dht_max_tables: Names whose announce targets are remembered.
        dht_max_values: BEP 44 items kept.
        dht_peer_max_age_s: How long an announced peer is served after its last announce.
        dht_node_liveness_s: Age after which a silent neighbour is pinged.
        node_id_file: Where the node id is kept; the state file, if any, keeps it too.
        state_file: Where node id, token secret, neighbours and items are kept.
        metrics: Whether ``GET /metrics`` is served.
        payload_bytes_max: Longest request body; a longer one is answered with 413.
        header_bytes_max: Longest request head; a longer one is answered with 431.
        connections_max: HTTP connections at a time; one more is answered with 503.
        requests_a_second_max: From one address, not counting those of this machine; one more is
            answered with 429. 0: any number.
        api_names: Beside addresses and private names, those of the HTTP API, lower case.
        pipelined_max: Requests read ahead on one connection before reading pauses.
        request_timeout_s: Time from the first byte of a request to its last; then 408.
        answer_timeout_s: Time the DHT has for an answer; then 504. It never needs it.
        idle_timeout_s: Time a connection may lie idle, or leave an answer unread.
    """

    host: str | None = None
    dht_port: int = 20001
    api_port: int | None = 30001
    api_endpoint: str | None = None
    bootstrap: tuple[str, ...] = ()
    dht_concurrency: int = 24
    dht_max_tables: int = 5000
    dht_max_values: int = 5000
    dht_peer_max_age_s: float = 120.0
    dht_node_liveness_s: float = 300.0
    node_id_file: str | None = None
    state_file: str | None = None
    metrics: bool = False
    payload_bytes_max: int = 8192
    header_bytes_max: int = 16 * 1024
    connections_max: int = 4000
    requests_a_second_max: int = 2000
    api_names: frozenset[str] = frozenset()
    pipelined_max: int = 16
    request_timeout_s: float = 10.0
    answer_timeout_s: float = 10.0
    idle_timeout_s: float = 6.0

    @property
    def announce_host(self) -> str | None:
        """The address this grape's own services are known under; None: only others know it."""
        if self.host is None:
            return None
        address = ipaddress.ip_address(self.host)
        return None if address.version != 4 or address.is_unspecified else self.host


def _seconds(value: Any) -> float:
    return _milliseconds(value) / 1000


def _contact(entry: str) -> str:
    contact = host_and_port(entry)
    host = contact.rpartition(":")[0]
    if ":" in host or "[" in host:
        raise ValueError("must be IPv4 addresses or names: the DHT speaks IPv4 only")
    return contact


def _names(value: Any) -> frozenset[str]:
    return frozenset(each(host_name)(value))


_milliseconds = whole_number(1, 10**12, "a number of milliseconds")
_port = whole_number(0, 65535, "a port")
_count = whole_number(1, 10**9, "a number")

_OPTIONS = (
    Option(
        name="bind",
        aliases=("b",),
        short="b",
        field="host",
        read=text,
        takes="HOST",
        about="address of the HTTP API, and the one own services are known under; UDP is "
        "open on every interface always [default: every interface]",
    ),
    Option(
        name="dht_port",
        aliases=("dp",),
        field="dht_port",
        read=_port,
        takes="PORT",
        about="UDP port of the DHT, 0 takes a free one [default: 20001]",
    ),
    Option(
        name="dht_concurrency",
        aliases=("dc",),
        field="dht_concurrency",
        read=whole_number(1, 1000, "a number"),
        about="queries one lookup may have in flight [default: 24]",
    ),
    Option(
        name="dht_maxTables",
        field="dht_max_tables",
        read=_count,
        about="names whose announce targets are remembered [default: 5000]",
    ),
    Option(
        name="dht_maxValues",
        field="dht_max_values",
        read=_count,
        about="stored items kept [default: 5000]",
    ),
    Option(
        name="bootstrap",
        aliases=("bn",),
        field="bootstrap",
        read=listed(_contact),
        takes="LIST",
        many=True,
        about="other grapes: host:port, separated by commas; may be repeated",
    ),
    Option(
        name="api_port",
        aliases=("aph",),
        field="api_port",
        read=_port,
        takes="PORT",
        about="TCP port of the HTTP API, 0 takes a free one [default: 30001]",
    ),
    Option(
        name="dht_peer_maxAge",
        aliases=("dpa",),
        field="dht_peer_max_age_s",
        read=_seconds,
        takes="MS",
        about="how long a peer is served after its last announce [default: 120000]",
    ),
    Option(
        name="cache_maxAge",
        field=None,
        read=_seconds,
        takes="MS",
        about="accepted as Node's grape accepts it, and without effect like there",
    ),
    Option(
        name="dht_nodeLiveness",
        aliases=("dnl",),
        field="dht_node_liveness_s",
        read=_seconds,
        takes="MS",
        about="age after which a silent neighbour is pinged [default: 300000]",
    ),
    Option(
        name="check_maxPayloadSize",
        field="payload_bytes_max",
        read=whole_number(1, 2**30, "a number of bytes"),
        takes="BYTES",
        about="longest body of an HTTP request [default: 8192]",
    ),
    Option(
        name="api_maxRate",
        field="requests_a_second_max",
        read=whole_number(0, 10**9, "a number"),
        about="requests a second from one address, this machine's excepted; 0 for any number "
        "[default: 2000]",
    ),
    Option(
        name="allow-host",
        field="api_names",
        read=_names,
        takes="NAME",
        many=True,
        about="a name by which browsers and others may call the HTTP port, again for each; "
        "addresses, names without a dot and private ones are allowed always",
    ),
    Option(
        name="node-id-file",
        field="node_id_file",
        read=text,
        takes="FILE",
        about="keep the node id here, so that neighbours know this grape after a restart",
    ),
    Option(
        name="state",
        field="state_file",
        read=text,
        takes="FILE",
        about="keep node id, token secret, neighbours and items here over a restart",
    ),
    Option(
        name="api",
        field="api_endpoint",
        read=text,
        takes="ENDPOINT",
        about="where the HTTP API listens, as a Twisted endpoint (tcp:, ssl:, unix:, systemd:), "
        "in place of --api_port and of --bind",
    ),
    Option(
        name="metrics",
        field="metrics",
        read=flag,
        takes="",
        about="serve Prometheus text at GET /metrics",
    ),
)

TABLE = OptionTable(_OPTIONS)


def from_settings(*layers: Mapping[str, Any]) -> GrapeConfig:
    """
    Return the configuration that ``layers`` describe, where a later one wins.

    Args:
        layers: Values by option name or alias; strings as typed by hand are fine.

    Raises:
        ConfigError: a wrong value; the message names the option.
    """
    return GrapeConfig(**TABLE.fields(*layers))
