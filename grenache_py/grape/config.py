"""
What an operator can set on a grape, where it may be said, and what comes out: a `GrapeConfig`.

Pure. `OPTIONS` is the one list of option names; the command line (``tap.py``) and the
TOML file are both read through it, so that they cannot disagree. Names and aliases are
those of the Node grape's command line; ages and intervals are given in milliseconds
there and kept in seconds here.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from grenache_py.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["OPTIONS", "GrapeConfig", "Option", "from_settings", "settings_from_toml"]


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


@attrs.frozen(kw_only=True)
class Option:
    """
    One setting an operator may name.

    Attributes:
        name: Its name, in the TOML file and as ``--name``.
        aliases: Other spellings, which Node's grape knows or which are shorter.
        short: One letter for the command line.
        field: The attribute of `GrapeConfig` it sets; None: accepted without effect.
        read: Makes the attribute's value from a string or a TOML value, or raises ValueError.
        takes: What stands for the value in ``--help``; empty for a flag.
        about: A line for ``--help``.
    """

    name: str
    aliases: tuple[str, ...] = ()
    short: str | None = None
    field: str | None
    read: Callable[[Any], Any]
    takes: str = "N"
    about: str


def _integer(low: int, high: int, what: str) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+", value.strip(), re.ASCII):
            value = int(value)
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"must be {what}, {low} to {high}")
        return value

    return read


def _seconds(value: Any) -> float:
    return _integer(1, 10**12, "a number of milliseconds")(value) / 1000


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text, not empty")
    return value.strip()


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _contacts(value: Any) -> tuple[str, ...]:
    """Read ``a:1,b:2`` or a list of such; blanks and empty entries are dropped."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError("must be host:port, several of them separated by commas")
    entries = [entry.strip() for part in parts for entry in part.split(",")]
    return tuple(_contact(entry) for entry in entries if entry)


def _contact(entry: str) -> str:
    host, colon, port = entry.rpartition(":")
    if not colon or not host or not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII):
        raise ValueError(f"has an entry that is not host:port: {entry!r}")
    if ":" in host or "[" in host:
        raise ValueError(f"has an IPv6 address, and the DHT speaks IPv4 only: {entry!r}")
    if not 0 < int(port) < 65536:
        raise ValueError(f"has a port that is not 1 to 65535: {entry!r}")
    return f"{host}:{int(port)}"


_port = _integer(0, 65535, "a port")
_count = _integer(1, 10**9, "a number")

OPTIONS = (
    Option(
        name="bind",
        aliases=("b",),
        short="b",
        field="host",
        read=_text,
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
        read=_integer(1, 1000, "a number"),
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
        read=_contacts,
        takes="LIST",
        about="other grapes: host:port, separated by commas",
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
        read=_integer(1, 2**30, "a number of bytes"),
        takes="BYTES",
        about="longest body of an HTTP request [default: 8192]",
    ),
    Option(
        name="node-id-file",
        field="node_id_file",
        read=_text,
        takes="FILE",
        about="keep the node id here, so that neighbours know this grape after a restart",
    ),
    Option(
        name="state",
        field="state_file",
        read=_text,
        takes="FILE",
        about="keep node id, token secret, neighbours and items here over a restart",
    ),
    Option(
        name="api",
        field="api_endpoint",
        read=_text,
        takes="ENDPOINT",
        about="where the HTTP API listens, as a Twisted endpoint (tcp:, ssl:, unix:, systemd:), "
        "in place of --api_port and of --bind",
    ),
    Option(
        name="metrics",
        field="metrics",
        read=_flag,
        takes="",
        about="serve Prometheus text at GET /metrics",
    ),
)
"""Every setting of a grape; logging and ``--config`` belong to the command line alone."""

_BY_NAME = {
    spelling.replace("-", "_"): option
    for option in OPTIONS
    for spelling in (option.name, *option.aliases)
}


def from_settings(*layers: Mapping[str, Any]) -> GrapeConfig:
    """
    Return the configuration that ``layers`` describe, where a later one wins.

    Args:
        layers: Values by option name or alias; strings as typed by hand are fine.

    Raises:
        ConfigError: a value that cannot be; the message names the option.
    """
    fields: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            option = _BY_NAME[name.replace("-", "_")]
            try:
                setting = option.read(value)
            except ValueError as error:
                raise ConfigError(f"{option.name} {error}, not {value!r}") from None
            if option.field is not None:
                fields[option.field] = setting
    return GrapeConfig(**fields)


def settings_from_toml(text: str, beside: frozenset[str] = frozenset()) -> dict[str, Any]:
    """
    Return the settings of a TOML file, for `from_settings`.

    Args:
        text: The file's content.
        beside: Further names, written with dashes, that are allowed and returned too.

    Raises:
        ConfigError: not TOML, an unknown name, or one setting under two of its names.
    """
    try:
        settings = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}") from None
    seen: dict[str, str] = {}
    for name in settings:
        option = _BY_NAME.get(name.replace("-", "_"))
        if option is None and name.replace("_", "-") not in beside:
            known = ", ".join(sorted({*(each.name for each in OPTIONS), *beside}))
            raise ConfigError(f"no setting {name!r}: there are {known}")
        meant = option.name if option is not None else name
        if meant in seen:
            raise ConfigError(f"{seen[meant]} and {name} are the same setting")
        seen[meant] = name
    return settings
