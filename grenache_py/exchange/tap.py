"""
The ``exchange`` daemon: its options, its TOML file, and the service that twistd and twist run.

Edge: reads options and files, imports the reactor, raises limits of the process. The only
module that may put a grape and an exchange into one process.
"""

from __future__ import annotations

import gc
import random
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from twisted.application.service import Service

from grenache_py.commandline import DaemonOptions, allow_files, service_for_runner
from grenache_py.exchange.daemon.service import ExchangeService
from grenache_py.exchange.settings.config import TABLE, ExchangeConfig, from_settings
from grenache_py.grape.config import GrapeConfig
from grenache_py.grape.service import GrapeService
from grenache_py.name_lookups import look_names_up_apart
from grenache_py.reactor_clock import go_forward
from grenache_py.service import Daemon, at, place
from grenache_py.time_slice import shorten_time_slice

__all__ = ["Options", "makeService"]

#: Open files beyond one for each client: peers, the page, the database, the grape inside.
SPARE_FILES = 200
#: Seconds that the store's thread waits for the interpreter lock at each statement. Python's
#: default of 5 ms would be most of the time an order takes.
SWITCH_INTERVAL_S = 0.00005
#: No full collection while orders come in: with 100,000 resting orders it would stop the process
#: for a second. Young objects are collected as usual; the service does the rest when it is idle.
GC_THRESHOLDS = (10_000, 20, 1_000_000)
#: Where a port that listens at every address is reached from here.
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # replaced, not bound


class Options(DaemonOptions):
    """
    The command line of an exchange, and the TOML file it names.

    The grape has a class of the same name: ``Options`` is what twistd looks for in the
    module of a plugin, as `makeService` is.

    Attributes:
        exchange: the configuration that both give; set by parsing. The command line wins.
    """

    command = "exchange"
    help_command = "twistd exchange --help"
    table = TABLE
    longdesc = (
        "Runs a peer of the order exchange. With no options at all it keeps its data in"
        " ./exchange-data and trades BTC-USD with whoever connects to it on this machine."
    )
    exchange: ExchangeConfig

    def configure(self, written: dict[str, Any], typed: dict[str, Any]) -> None:
        self.exchange = from_settings(written, typed)


def makeService(options: Options) -> Service:
    """Return the daemon, for twistd and twist."""
    return service_for_runner(options, lambda: _daemon(options))


def _daemon(options: Options) -> Daemon:
    from twisted.internet import reactor

    running: Any = reactor
    clock: Any = go_forward(running, time.time, time.monotonic)
    look_names_up_apart(running)
    config = options.exchange
    rng = random.SystemRandom()
    shorten_time_slice()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(*GC_THRESHOLDS)
    allow_files(config.clients_max + SPARE_FILES)
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
        config,
        running,
        rng,
        version("grenache-py"),
        clock=clock,
        steady=_since_boot,
        wall_jumps=clock.jumps,
        grape=grape,
        log_level=options.levels.set,
    )
    return Daemon(
        "exchange",
        exchange,
        running,
        when_ready=lambda: exchange.when_ready().addCallback(_introduce, exchange, options),
        on_signal=options.on_signal(lambda fresh: exchange.follow(fresh.exchange)),
    )


def _since_boot() -> float:
    """Seconds, also while the machine sleeps, where its system counts those."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _introduce(status: str, exchange: ExchangeService, options: Options) -> str:
    """Say on stdout, where a person may look, how to talk to this daemon."""
    if options.log_format == "json":
        # Only a program reads that output, and it expects JSON objects.
        listen = {name: [place(port) for port in all_] for name, all_ in exchange.ports.items()}
        exchange.log.info("peer {peer} is ready", peer=exchange.identity.key, listen=listen)
        return status
    lines = [f"exchange: peer {exchange.identity.key}"]
    if exchange.commit_loop.node is None:
        lines.append("  stands by: another daemon of this home serves")
    lines += _places(exchange, options)
    if sys.__stdout__ is not None:
        with suppress(OSError, ValueError):  # full, closed or without a reader: no reason to stop
            print("\n".join(lines), file=sys.__stdout__, flush=True)
    return status


def _places(exchange: ExchangeService, options: Options) -> Iterator[str]:
    symbol = next(iter(exchange.gateway.feed.markets))
    for name, ports in exchange.ports.items():
        yield from (f"  {name:<6} {place(port)}" for port in ports)
    for port in exchange.ports["client"][:1]:
        address: Any = port.getHost()
        if hasattr(address, "port"):
            host = LOOPBACK.get(address.host, address.host)
            where = "" if address.port == 7070 else f" --connect {at(host, address.port)}"
            tls = options.exchange.client[0].startswith("ssl:")
            yield f"  try    exchange{where}{' --tls' * tls} buy {symbol} 1.5 @ 100"
            if not tls:
                yield f"  or     telnet {host} {address.port}   and type: help"
