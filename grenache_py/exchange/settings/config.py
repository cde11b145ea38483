"""
The settings of an exchange: their names and values, and the `ExchangeConfig` that they make.

Pure. `TABLE` is the one list of option names, for the command line and the TOML file alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from grenache_py.errors import ConfigError, LocalProtocolError
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.rates import NO_LIMIT, Rate
from grenache_py.exchange.storage.addresses import check_address, is_address
from grenache_py.link.urls import check_grape_url
from grenache_py.options import (
    Option,
    OptionTable,
    Unfit,
    each,
    flag,
    host_and_port,
    host_name,
    listed,
    text,
    whole_number,
)

__all__ = ["TABLE", "ExchangeConfig", "from_settings"]


@attrs.frozen(kw_only=True)
class ExchangeConfig:
    """
    One peer of the exchange.

    Attributes:
        data: directory of identity and database.
        identity: file of the key; "" for ``identity.key`` in ``data``.
        store: address of a PostgreSQL database that is the store; "" for a file in ``data``.
        standby: begin without the term of that database, and take it when it is free.
        single_database: that database may be one server, without a synchronous standby.
        markets: what can be traded here.
        client, peer, http: Twisted endpoint strings to listen on; empty: not at all.
        grapes: URLs of grapes that run elsewhere; empty: a grape runs inside.
        dht_port, bootstrap: of the grape inside.
        advertise: ``host:port`` at which other peers can reach this one; "" to let them find out.
        connect: ``host:port`` of peers to be connected to in any case.
        network: name of the network; there are no links to peers of another one.
        tokens_file: "" for a port that asks for no token.
        connection_rate, account_rate: requests; orders, cancels and replaces.
        clients_max: connections to the client port at a time; one more is refused.
        http_trading: whether the page at the HTTP port may place orders.
        http_names: beside addresses and private names, those of the HTTP port, lower case.
        new_epoch: the disk is an old copy: close its orders and begin a new log.
    """

    data: str = "exchange-data"
    identity: str = ""
    store: str = ""
    single_database: bool = False
    standby: bool = False
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
    http_names: frozenset[str] = frozenset()
    new_epoch: bool = False

    @property
    def service_name(self) -> str:
        """What peers of this network announce at the grapes."""
        return f"exchange:{self.network}"


def _endpoint(value: Any) -> str:
    named = text(value)
    if named != "none" and not re.match(r"[a-z0-9]+:", named):
        raise ValueError("must be a Twisted endpoint such as tcp:7070:interface=127.0.0.1, or none")
    return named


def _store(value: Any) -> str:
    named = text(value)
    if not is_address(named):
        raise Unfit("must be postgresql://HOST[,HOST]/DATABASE; --data names a directory")
    try:
        check_address(named)
    except ValueError as error:
        raise Unfit(str(error)) from None
    return named


def _network(value: Any) -> str:
    named = text(value)
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", named, re.ASCII):
        raise ValueError("must be 1 to 64 letters, digits, dots, dashes or underscores")
    return named


def _grape(value: Any) -> str:
    try:
        return check_grape_url(text(value))
    except LocalProtocolError:
        raise ValueError("must be a URL such as http://127.0.0.1:30001") from None


def _rate(value: Any) -> Rate:
    try:
        return Rate.parse(str(value))
    except ValueError as error:
        raise Unfit(f"cannot be: {error}") from None


def _names(value: Any) -> frozenset[str]:
    return frozenset(each(host_name)(value))


_OPTIONS = (
    Option(
        name="data",
        field="data",
        read=text,
        takes="DIR",
        about="where identity and database are kept [default: ./exchange-data]",
    ),
    Option(
        name="identity",
        field="identity",
        read=text,
        takes="FILE",
        about="the key of this peer, made if there is none [default: identity.key in --data]",
    ),
    Option(
        name="store",
        field="store",
        read=_store,
        takes="ADDRESS",
        about="postgresql://HOST[,HOST]/DATABASE: keep orders there, not in --data",
    ),
    Option(
        name="standby",
        field="standby",
        read=flag,
        takes="",
        about="with --store: stand by while another daemon of this home serves, and take over "
        "when that one is gone",
    ),
    Option(
        name="single-database",
        field="single_database",
        read=flag,
        takes="",
        about="let --store name one server, whose loss is the loss of the orders",
    ),
    Option(
        name="market",
        field="markets",
        read=each(lambda value: Market.parse(text(value))),
        takes="SPEC",
        many=True,
        about="a market, again for each [default: BTC-USD:tick=0.01,lot=0.0001]",
    ),
    Option(
        name="client",
        field="client",
        read=each(_endpoint),
        takes="ENDPOINT",
        many=True,
        about="where clients connect: tcp:, ssl:, unix:, systemd: or none "
        "[default: tcp:7070:interface=127.0.0.1]",
    ),
    Option(
        name="peer",
        field="peer",
        read=each(_endpoint),
        takes="ENDPOINT",
        many=True,
        about="where other peers connect [default: tcp:7071:interface=127.0.0.1]",
    ),
    Option(
        name="http",
        field="http",
        read=each(_endpoint),
        takes="ENDPOINT",
        many=True,
        about="page, health and metrics [default: tcp:7080:interface=127.0.0.1]",
    ),
    Option(
        name="http-trading",
        field="http_trading",
        read=flag,
        takes="",
        about="let the page place orders for whoever can reach it",
    ),
    Option(
        name="allow-host",
        field="http_names",
        read=_names,
        takes="NAME",
        many=True,
        about="a name by which browsers and others may call the HTTP port, again for each; "
        "addresses, names without a dot and private ones are allowed always",
    ),
    Option(
        name="grape",
        field="grapes",
        read=each(_grape),
        takes="URL",
        many=True,
        about="a grape that runs elsewhere, again for each; without, one runs inside",
    ),
    Option(
        name="dht",
        field="dht_port",
        read=whole_number(0, 65535, "a UDP port"),
        takes="PORT",
        about="UDP port of the grape inside; 0 takes a free one [default: 0]",
    ),
    Option(
        name="bn",
        field="bootstrap",
        read=listed(host_and_port),
        takes="LIST",
        many=True,
        about="other grapes for the one inside: host:port, separated by commas; may be repeated",
    ),
    Option(
        name="advertise",
        field="advertise",
        read=host_and_port,
        takes="HOST:PORT",
        about="where other peers reach this one, when that is not what they see",
    ),
    Option(
        name="connect",
        field="connect",
        read=each(host_and_port),
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
        read=text,
        takes="FILE",
        about="ask clients for a token of this file",
    ),
    Option(
        name="rate-connection",
        field="connection_rate",
        read=_rate,
        takes="N[/BURST]",
        about="requests a second of one connection [default: no limit]",
    ),
    Option(
        name="rate-account",
        field="account_rate",
        read=_rate,
        takes="N[/BURST]",
        about="orders, cancels and replaces a second of one account [default: no limit]",
    ),
    Option(
        name="clients-max",
        field="clients_max",
        read=whole_number(1, 1_000_000),
        takes="N",
        about="connections of clients at a time [default: 4000]",
    ),
    Option(
        name="new-epoch",
        field="new_epoch",
        read=flag,
        takes="",
        about="for one start only: this disk is an old copy; close its orders and begin a new "
        "log (docs/consistency.rst)",
    ),
)

TABLE = OptionTable(_OPTIONS)
_ENDPOINTS = frozenset({"client", "peer", "http"})


def from_settings(*layers: Mapping[str, Any]) -> ExchangeConfig:
    """
    Return the configuration that ``layers`` describe, where a later one wins.

    Args:
        layers: values by option name, as strings or TOML values.

    Raises:
        ConfigError: a wrong value; the message names the option.
    """
    fields = TABLE.fields(*layers)
    for name in _ENDPOINTS & fields.keys():
        fields[name] = tuple(endpoint for endpoint in fields[name] if endpoint != "none")
    config = ExchangeConfig(**fields)
    symbols = [market.symbol for market in config.markets]
    if not symbols or len(set(symbols)) < len(symbols):
        raise ConfigError("market must be given, and each symbol once")
    if config.standby and not config.store:
        raise ConfigError("standby needs store: a file has one daemon")
    if config.standby and config.new_epoch:
        raise ConfigError("standby and new-epoch exclude each other: a new epoch is begun at once")
    if config.grapes and ({"dht_port", "bootstrap"} & fields.keys()):
        raise ConfigError("grape and dht (or bn) exclude each other: use grapes or run one inside")
    return config
