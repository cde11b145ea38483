"""
The ``exchange`` daemon: its options, its TOML file, and the service that twistd and twist run.

Edge: reads options and files, imports the reactor, raises limits of the process. The only
module that may put a grape and an exchange into one process.
"""

from __future__ import annotations

import gc
import random
import resource
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.python import usage

from grenache_py.errors import ConfigError
from grenache_py.exchange.config import (
    OPTIONS,
    ExchangeConfig,
    Option,
    from_settings,
    settings_from_toml,
)
from grenache_py.exchange.service import ExchangeService, place
from grenache_py.grape.config import GrapeConfig
from grenache_py.grape.service import GrapeService
from grenache_py.logs import FORMATS, Levels, under_runner
from grenache_py.service import Daemon, exit_readably

__all__ = ["Options", "makeService"]

SPARE_FILES = 200
"""Open files beyond one for each client: peers, the page, the database, the grape inside."""
SWITCH_INTERVAL_S = 0.00005
"""The store's thread waits that long for the interpreter lock at each statement; 5 ms is
Python's default, and would be most of the time an order takes."""

GC_THRESHOLDS = (10_000, 20, 1_000_000)
"""No full collection while orders come in: with 100,000 resting orders it would stop everything
for a second. Young objects are looked through as ever; the service collects when it is idle."""

_LOGGING = frozenset({"log-format", "log-level"})


class Options(usage.Options):
    """
    The command line and, under it, the TOML file it names.

    Attributes:
        exchange: what they say together; there after parsing.
        log_format: ``text`` or ``json``.
        levels: which events are logged.
    """

    synopsis = "[options]"
    longdesc = (
        "Runs a peer of the order exchange. With no options at all it keeps its data in"
        " ./exchange-data and trades BTC-USD with whoever connects to it on this machine."
    )
    optParameters = [
        *([option.name, None, None, option.about] for option in OPTIONS if option.takes
          and not option.many),
        ["config", None, None, "TOML file with any of these settings; the command line wins"],
        ["log-format", None, None, f"{' or '.join(FORMATS)} [default: text]"],
        ["log-level", None, None, "debug, info, warn, error or critical [default: info]"],
    ]  # fmt: skip
    optFlags = [[option.name, None, option.about] for option in OPTIONS if not option.takes]
    exchange: ExchangeConfig
    log_format: str
    levels: Levels

    def __init__(self) -> None:
        self.many: dict[str, list[str]] = {}
        super().__init__()

    def opt_version(self) -> None:
        """Display the version and exit."""
        print(version("grenache-py"))
        sys.exit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Parse ``options``.

        Raises:
            SystemExit: they cannot be; one line on stderr has said why. (Given a
                UsageError, twistd would print the whole help first.)
        """
        with exit_readably("exchange"):
            try:
                super().parseOptions(options)
            except usage.UsageError as error:
                raise ConfigError(f"{error} (twistd exchange --help lists the options)") from None

    def parseArgs(self, *words: str) -> None:
        if words:
            raise usage.UsageError(f"no argument {words[0]!r} is expected")

    def postOptions(self) -> None:
        typed: dict[str, Any] = {n: value for n, value in self.items() if value is not None}
        for option in OPTIONS:
            if not option.takes:
                if typed.pop(option.name):
                    typed[option.name] = True
        typed.update(self.many)
        file = typed.pop("config", None)
        written = {} if file is None else _read_settings(file)
        logging = {
            name.replace("_", "-"): layer.pop(name)
            for layer in (written, typed)
            for name in list(layer)
            if name.replace("_", "-") in _LOGGING
        }
        self.log_format = str(logging.get("log-format", "text"))
        if self.log_format not in FORMATS:
            raise ConfigError(f"log-format must be {' or '.join(FORMATS)}")
        self.levels = Levels(str(logging.get("log-level", "info")))
        self.exchange = from_settings(written, typed)


def _again_for_each(option: Option) -> Callable[[Options, str], None]:
    def collect(self: Options, value: str) -> None:
        self.many.setdefault(option.name, []).append(value)

    collect.__doc__ = option.about
    return collect


for _option in OPTIONS:
    if _option.many:
        setattr(Options, f"opt_{_option.name}", _again_for_each(_option))


def _read_settings(file: str) -> dict[str, Any]:
    try:
        return settings_from_toml(Path(file).read_text("utf-8"), _LOGGING)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"config file {file}: {reason}") from None
    except ConfigError as error:
        raise ConfigError(f"config file {file}: {error}") from None


def makeService(options: Options) -> Service:
    """Return the daemon, for twistd and twist."""
    with exit_readably("exchange"):
        return under_runner(_daemon(options), options, options.log_format, options.levels)


def _daemon(options: Options) -> Daemon:
    from twisted.internet import reactor

    running: Any = reactor
    config = options.exchange
    rng = random.SystemRandom()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(*GC_THRESHOLDS)
    _allow_files(config.clients_max + SPARE_FILES)
    grape = None
    if not config.grapes:
        # Not `host`, which would also be the address that others find this peer under.
        grape_config = GrapeConfig(
            api_endpoint="tcp:0:interface=127.0.0.1",
            dht_port=config.dht_port,
            bootstrap=config.bootstrap,
        )
        grape = GrapeService(grape_config, running, rng)
    exchange = ExchangeService(
        config, running, rng, version("grenache-py"), grape=grape, log_level=options.levels.set
    )
    return Daemon(
        "exchange",
        exchange,
        running,
        when_ready=lambda: exchange.when_ready().addCallback(_introduce, exchange),
    )


def _allow_files(wanted: int) -> None:
    """Raise the soft limit of open files, if need be, as far as the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _introduce(status: str, exchange: ExchangeService) -> str:
    """Say on stdout, where a person may look, how to talk to this daemon."""
    market = exchange.desk.node.markets
    symbol = next(iter(market))
    lines = [f"exchange: peer {exchange.identity.key}"]
    for name, ports in exchange.ports.items():
        lines += [f"  {name:<6} {place(port)}" for port in ports]
    for port in exchange.ports["client"][:1]:
        host: Any = port.getHost()
        if hasattr(host, "port"):
            where = "" if host.port == 7070 else f" --connect {host.host}:{host.port}"
            lines += [
                f"  try    exchange{where} buy {symbol} 1.5 @ 100",
                f"  or     telnet {host.host} {host.port}   and type: help",
            ]
    if sys.__stdout__ is not None:
        print("\n".join(lines), file=sys.__stdout__, flush=True)
    return status
