"""
The ``grape`` command: its options, its TOML file, and what runs when it is typed.

Edge: reads argv, the environment and files, resolves a host name, imports the reactor.
`main` is the console script's; `Options` and `makeService` are what ``twistd grape`` and
``twist grape`` call. All of them take the same options, and refuse a wrong one, or a port
in use, with one readable line on stderr and exit code 1.
"""

from __future__ import annotations

import gc
import os
import random
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import succeed

from grenache_py.commandline import DaemonOptions, allow_files, service_for_runner
from grenache_py.errors import ConfigError
from grenache_py.grape.config import TABLE, GrapeConfig, from_settings
from grenache_py.logs import begin
from grenache_py.name_lookups import look_names_up_apart
from grenache_py.reactor_clock import go_forward
from grenache_py.service import Daemon

__all__ = ["Options", "main", "makeService"]

#: Open files that are needed beyond one for each HTTP connection.
SPARE_FILES = 100


class Options(DaemonOptions):
    """
    The command line of a grape, and the TOML file it names.

    The exchange has a class of the same name: ``Options`` is what twistd looks for in the
    module of a plugin, as `makeService` is.

    Attributes:
        grape: the configuration that both give; set by parsing. The command line wins.
    """

    command = "grape"
    help_command = "grape --help"
    table = TABLE
    longdesc = (
        "Runs a grape: a node of a DHT, with the HTTP API through which Grenache services "
        "announce themselves and find each other."
    )
    grape: GrapeConfig

    def configure(self, written: dict[str, Any], typed: dict[str, Any]) -> None:
        config = from_settings(written, typed)
        self.grape = attrs.evolve(
            config,
            host=None if config.host is None else _address(config.host),
            node_id_file=config.node_id_file or _default_node_id_file(config),
        )


def _address(host: str) -> str:
    """Return ``host`` as an address, IPv4 if it has one; services are announced under it."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"bind address {host!r}: {reason}") from None
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return str(found[0][4][0])


def _default_node_id_file(config: GrapeConfig) -> str | None:
    """
    Return where the node id is kept when the operator does not say.

    A grape that is restarted with the same node id is the node that its neighbours know.
    With a new id, they would for minutes send it announces with tokens that it never gave.
    Without a home directory that can be written, there is no file and each start makes a
    new id.
    """
    if config.state_file is not None or config.dht_port == 0:
        return None
    home = os.environ.get("HOME")
    state = os.environ.get("XDG_STATE_HOME") or (home and f"{home}/.local/state")
    if not state or not os.path.isabs(state):
        return None
    folder = Path(state) / "grenache-py"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return str(folder / "grape.key") if os.access(folder, os.W_OK) else None


def makeService(options: Options) -> Service:
    """Return the daemon, for twistd and twist."""
    return service_for_runner(options, lambda: _daemon(options))


def main(argv: Sequence[str]) -> int:
    """
    Run a grape in the foreground until SIGINT or SIGTERM.

    Args:
        argv: The command line without the program's name.

    Returns:
        0, the exit code.

    Raises:
        SystemExit: it cannot start; one line on stderr has said why.
    """
    options = Options()
    options.parseOptions(argv)
    with _without_tls(options.grape):
        from twisted.internet import reactor

        running: Any = reactor
        daemon = _daemon(options)
    daemon.startService()
    # Not before this: a daemon that cannot start writes one line that says why, and no log.
    begin(sys.stderr, options.log_format, options.levels)
    running.addSystemEventTrigger("before", "shutdown", daemon.stopService)
    running.run()
    return 0


@contextmanager
def _without_tls(config: GrapeConfig) -> Iterator[None]:
    """
    Let Twisted find no TLS library while the reactor is imported, unless it will be needed.

    Loading it takes a quarter of an idle grape's memory.
    """
    needed = "OpenSSL" in sys.modules or (config.api_endpoint or "").startswith(("ssl", "tls"))
    if needed:
        yield
        return
    sys.modules["OpenSSL"] = None  # type: ignore[assignment]  # the import system's word for "no"
    try:
        yield
    finally:
        del sys.modules["OpenSSL"]


def _daemon(options: Options) -> Daemon:
    from twisted.internet import reactor

    from grenache_py.grape.service import GrapeService

    running: Any = reactor
    go_forward(running, time.time, time.monotonic)
    look_names_up_apart(running)
    allow_files(options.grape.connections_max + SPARE_FILES)
    _collect_less()
    grape = GrapeService(options.grape, running, random.SystemRandom())
    return Daemon(
        "grape",
        grape,
        running,
        when_ready=lambda: succeed(f"DHT on UDP port {grape.dht_port}"),
        on_signal=options.on_signal(lambda fresh: grape.follow(fresh.grape)),
    )


def _collect_less() -> None:
    """
    Run the garbage collector less often, and leave the modules out of its work.

    A request leaves no cycles. With Python's defaults, a put spends a tenth of its time in
    the collector.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
