"""
What an operator can set on an exchange, where it may be said, and what comes out of it.

Pure. `OPTIONS` is the one list of option names; the command line (``tap.py``) and the TOML
file are both read through it, so that they cannot disagree.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from grenache_py.errors import ConfigError
from grenache_py.exchange.market import Market
from grenache_py.exchange.rates import NO_LIMIT, Rate

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["OPTIONS", "ExchangeConfig", "Option", "from_settings", "settings_from_toml", "toml"]


@attrs.frozen(kw_only=True)
class ExchangeConfig:
    """
    One peer of the exchange.

    Attributes:
        data: directory of identity and database.
        markets: what can be traded here.
        client, peer, http: Twisted endpoint strings to listen on; empty: not at all.
        grapes: URLs of grapes that run elsewhere; empty: a grape runs inside.
        dht_port, bootstrap: of the grape inside.
        advertise: ``host:port`` that other peers can reach this one at; "" to have them see.
        connect: ``host:port`` of peers to be connected to in any case.
        network: peers of another network are strangers.
        tokens_file: "" for a port that asks for no token.
        connection_rate, account_rate: requests; orders, cancels and replaces.
        clients_max: connections to the client port at a time; one more is refused.
        http_trading: whether the page at the HTTP port may place orders.
        new_epoch: the disk is an old copy: close its orders and begin a new log.
    """

    data: str = "exchange-data"
    markets: tuple[Market, ...] = (Market.parse("BTC-USD:tick=0.01,lot=0.0001"),)
    client: tuple[str, ...] = ("tcp:7070:interface=127.0.0.1",)
    peer: tuple[str, ...] = ("tcp:7071:interface=127.0.0.1",)
    http: tuple[str, ...] = ("tcp:7080:interface=127.0.0.1",)
    grapes: tuple[str, ...] = ()
    dht_port: int = 0
    bootstrap: tuple[str, ...] = ()
    advertise: str = ""
    connect: tuple[str, ...] = ()
    network: str = "main"
    tokens_file: str = ""
    connection_rate: Rate = NO_LIMIT
    account_rate: Rate = NO_LIMIT
    clients_max: int = 4000
    http_trading: bool = False
    new_epoch: bool = False

    @property
    def service_name(self) -> str:
        """What peers of this network announce at the grapes."""
        return f"exchange:{self.network}"


@attrs.frozen(kw_only=True)
class Option:
    """
    One setting.

    Attributes:
        name: as ``--name`` and in the TOML file.
        field: the attribute of `ExchangeConfig` it sets.
        read: makes the attribute's value from a string or TOML value (for ``many``: from each
            of a list), or raises ValueError or ConfigError.
        takes: what stands for the value in ``--help``; empty for a flag.
        many: may be given several times; in TOML a list.
        about: a line for ``--help``.
    """

    name: str
    field: str
    read: Callable[[Any], Any]
    takes: str
    many: bool = False
    about: str


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text, not empty")
    return value.strip()


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _integer(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value, re.ASCII):
            value = int(value)
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"must be a whole number, {low} to {high}")
        return value

    return read


def _address(value: Any) -> str:
    host, colon, port = _text(value).rpartition(":")
    if not (colon and host and re.fullmatch(r"[0-9]{1,5}", port, re.ASCII)):
        raise ValueError("must be host:port")
    if not 0 < int(port) < 65536:
        raise ValueError("must have a port of 1 to 65535")
    return f"{host}:{int(port)}"


def _addresses(value: Any) -> tuple[str, ...]:
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list):
        raise ValueError("must be host:port, several of them separated by commas")
    entries = [entry.strip() for part in parts for entry in _text(part).split(",")]
    return tuple(_address(entry) for entry in entries if entry)


def _endpoint(value: Any) -> str:
    text = _text(value)
    if text != "none" and not re.match(r"[a-z0-9]+:", text):
        raise ValueError("must be a Twisted endpoint such as tcp:7070:interface=127.0.0.1, or none")
    return text


def _network(value: Any) -> str:
    text = _text(value)
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text, re.ASCII):
        raise ValueError("must be 1 to 64 letters, digits, dots, dashes or underscores")
    return text


def _grape(value: Any) -> str:
    text = _text(value)
    if not re.match(r"https?://[^/]", text):
        raise ValueError("must be a URL such as http://127.0.0.1:30001")
    return text


OPTIONS = (
    Option(
        name="data",
        field="data",
        read=_text,
        takes="DIR",
        about="where identity and database are kept [default: ./exchange-data]",
    ),
    Option(
        name="market",
        field="markets",
        read=lambda value: Market.parse(_text(value)),
        takes="SPEC",
        many=True,
        about="a market, again for each [default: BTC-USD:tick=0.01,lot=0.0001]",
    ),
    Option(
        name="client",
        field="client",
        read=_endpoint,
        takes="ENDPOINT",
        many=True,
        about="where clients connect: tcp:, ssl:, unix:, systemd: or none "
        "[default: tcp:7070:interface=127.0.0.1]",
    ),
    Option(
        name="peer",
        field="peer",
        read=_endpoint,
        takes="ENDPOINT",
        many=True,
        about="where other peers connect [default: tcp:7071:interface=127.0.0.1]",
    ),
    Option(
        name="http",
        field="http",
        read=_endpoint,
        takes="ENDPOINT",
        many=True,
        about="page, health and metrics [default: tcp:7080:interface=127.0.0.1]",
    ),
    Option(
        name="http-trading",
        field="http_trading",
        read=_flag,
        takes="",
        about="let the page place orders for whoever can reach it",
    ),
    Option(
        name="grape",
        field="grapes",
        read=_grape,
        takes="URL",
        many=True,
        about="a grape that runs elsewhere, again for each; without, one runs inside",
    ),
    Option(
        name="dht",
        field="dht_port",
        read=_integer(0, 65535),
        takes="PORT",
        about="UDP port of the grape inside; 0 takes a free one [default: 0]",
    ),
    Option(
        name="bn",
        field="bootstrap",
        read=_addresses,
        takes="LIST",
        about="other grapes for the one inside: host:port, separated by commas",
    ),
    Option(
        name="advertise",
        field="advertise",
        read=_address,
        takes="HOST:PORT",
        about="where other peers reach this one, when that is not what they see",
    ),
    Option(
        name="connect",
        field="connect",
        read=_address,
        takes="HOST:PORT",
        many=True,
        about="a peer to be connected to in any case, again for each",
    ),
    Option(
        name="network",
        field="network",
        read=_network,
        takes="NAME",
        about="peers of another network are strangers [default: main]",
    ),
    Option(
        name="tokens",
        field="tokens_file",
        read=_text,
        takes="FILE",
        about="ask clients for a token of this file",
    ),
    Option(
        name="rate-connection",
        field="connection_rate",
        read=lambda value: Rate.parse(str(value)),
        takes="N[/BURST]",
        about="requests a second of one connection [default: no limit]",
    ),
    Option(
        name="rate-account",
        field="account_rate",
        read=lambda value: Rate.parse(str(value)),
        takes="N[/BURST]",
        about="orders, cancels and replaces a second of one account [default: no limit]",
    ),
    Option(
        name="clients-max",
        field="clients_max",
        read=_integer(1, 1_000_000),
        takes="N",
        about="connections of clients at a time [default: 4000]",
    ),
    Option(
        name="new-epoch",
        field="new_epoch",
        read=_flag,
        takes="",
        about="for one start only: this disk is an old copy; close its orders and begin a new "
        "log (docs/consistency.rst)",
    ),
)
"""Every setting of an exchange; logging and ``--config`` belong to the command line alone."""

_BY_NAME = {option.name.replace("-", "_"): option for option in OPTIONS}
_ENDPOINTS = frozenset({"client", "peer", "http"})


def from_settings(*layers: Mapping[str, Any]) -> ExchangeConfig:
    """
    Return the configuration that ``layers`` describe, where a later one wins.

    Args:
        layers: values by option name, as strings or TOML values.

    Raises:
        ConfigError: a value that cannot be; the message names the option.
    """
    fields: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            option = _BY_NAME[name.replace("-", "_")]
            try:
                if option.many:
                    each = value if isinstance(value, list) else [value]
                    fields[option.field] = tuple(option.read(one) for one in each)
                else:
                    fields[option.field] = option.read(value)
            except ValueError as error:
                raise ConfigError(f"{option.name} {error}, not {value!r}") from None
    for name in _ENDPOINTS & fields.keys():
        fields[name] = tuple(endpoint for endpoint in fields[name] if endpoint != "none")
    config = ExchangeConfig(**fields)
    symbols = [market.symbol for market in config.markets]
    if not symbols or len(set(symbols)) < len(symbols):
        raise ConfigError("market must be given, and each symbol once")
    if config.grapes and ({"dht_port", "bootstrap"} & fields.keys()):
        raise ConfigError("grape and dht (or bn) exclude each other: use grapes or run one inside")
    return config


def toml(text: str) -> dict[str, Any]:
    """
    Parse a TOML file's content.

    Raises:
        ConfigError: it is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}") from None


def settings_from_toml(text: str, beside: frozenset[str] = frozenset()) -> dict[str, Any]:
    """
    Return the settings of a TOML file, for `from_settings`.

    Args:
        text: the file's content.
        beside: further names, written with dashes, that are allowed and returned too.

    Raises:
        ConfigError: not TOML, or an unknown name.
    """
    settings = toml(text)
    for name in settings:
        if name.replace("-", "_") not in _BY_NAME and name.replace("_", "-") not in beside:
            known = ", ".join(sorted({*(option.name for option in OPTIONS), *beside}))
            raise ConfigError(f"no setting {name!r}: there are {known}")
    return settings
