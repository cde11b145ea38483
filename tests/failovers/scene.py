"""Two daemons of one home on a database with a standby, its neighbours, and clients that trade."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from grenache_py.exchange.cli.commands import exchange
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.settings.secret_files import read_or_make_identity
from grenache_py.trading import Client, Refused
from grenache_py.trading.errors import ExchangeError
from tests.failovers.servers import DATABASE, Pair
from tests.failovers.traders import DEADLINE_S, Stock, Trader
from tests.soak import traders as peers_traders
from tests.soak.audit import Audit
from tests.soak.daemons import MARKET, MARKET_STEPS, Daemon, free_port
from tests.support.roads import Point, Road, Roads
from tests.support.wire_client import AWAY

__all__ = ["Scene", "until"]

NETWORK = "failovers"
LOOK_S = 1.0  # that a daemon may take to say how it is
#: So many more orders of each client show that the home serves.
ENOUGH = 2


class Scene:
    """
    Everything that runs, started and ended together.

    Attributes:
        pair: the database servers.
        daemons: both of the home.
        peers: its neighbours, on SQLite.
        to_peers: the roads by which peers reach each other, and the home.
    """

    def __init__(self, folder: Path, neighbours: int = 3, traders: int = 3) -> None:
        self._stack = ExitStack()
        self.folder = folder
        self.to_peers: list[Road] = []
        self._to_database: dict[Daemon, dict[Path, Road]] = {}
        self._halt = threading.Event()
        self._stocks: list[Stock] = []
        try:
            self._roads = Roads()
            self._stack.callback(self._roads.close)
            self.pair = Pair(self._stack, self._roads)
            at = [f"127.0.0.1:{free_port()}" for _ in range(2 + neighbours)]
            self.daemons = [self._daemon(name, at) for name in ("a", "b")]
            self.peers = [self._peer(f"peer{n}", at) for n in range(neighbours)]
        except BaseException:
            self._stack.close()
            raise
        sockets = [daemon.socket for daemon in self.daemons]
        self.traders = [Trader(f"t{n}", sockets) for n in range(traders)]
        self.others = [
            peers_traders.Trader(peer, f"of-{peer.directory.name}", 3.0, self._halt)
            for peer in self.peers
        ]

    def _daemon(self, name: str, at: list[str]) -> Daemon:
        doors = [
            self.pair.door(f"{name}{n}", server.directory)
            for n, server in enumerate(self.pair.servers)
        ]
        hosts = ",".join(str(directory) for directory, _ in doors)
        url = f"postgresql:///{DATABASE}?host={hosts}&user=exchange"
        daemon = self._peer(name, at, "--store", url, "--standby")
        servers = [server.directory for server in self.pair.servers]
        self._to_database[daemon] = dict(zip(servers, (road for _, road in doors), strict=True))
        return daemon

    def _peer(self, name: str, at: list[str], *options: str) -> Daemon:
        mine = at[len(self.to_peers)]
        words = [word for other in at if other != mine for word in ("--connect", other)]
        words += ["--network", NETWORK, "--advertise", mine]
        daemon = Daemon(self.folder / name, *words, *options)
        self.to_peers.append(self._roads.lead(mine, daemon.address))
        self._stack.callback(daemon.kill)
        return daemon

    def start(self, resting: int = 0) -> None:
        """Start all, have so many orders rest in the home's books, and let the clients begin."""
        first, second = (daemon.directory / "data" for daemon in self.daemons)
        read_or_make_identity(str(first))
        second.mkdir()
        shutil.copy(first / "identity.key", second)
        for daemon in (*self.daemons, *self.peers):
            daemon.start()
        for peer in self.peers:
            peer.wait()
        if resting:
            self._stocks.append(Stock([daemon.socket for daemon in self.daemons], resting))
        for trader in (*self.traders, *self.others):
            trader.start()

    def close(self) -> None:
        """End what runs. Idempotent."""
        self._halt.set()
        for trader in self.traders:
            trader.ends.set()
        self._stack.close()

    # Who serves.

    @staticmethod
    def _says(daemon: Daemon) -> dict[str, Any]:
        """Its status; empty when it gives none."""
        if daemon.process is not None:
            with (
                suppress(ExchangeError),
                Client(daemon.socket, timeout_s=LOOK_S, reconnect=False) as client,
            ):
                answer: dict[str, Any] = client.call("status", {}, changes=False)
                return answer
        return {}

    def serves(self, daemon: Daemon) -> bool:
        found = self._says(daemon)
        return bool(found) and (found["role"], found["store"]) == ("serving", "ok")

    def holder(self) -> Daemon:
        """The daemon that serves, waiting for one."""
        found: list[Daemon] = []
        until(
            "a daemon that serves", lambda: found.extend(filter(self.serves, self.daemons)) or found
        )
        return found[0]

    def other(self, daemon: Daemon) -> Daemon:
        first, second = self.daemons
        return second if daemon is first else first

    def rest(self) -> None:
        """Wait until one daemon serves, the other waits, and the database has its standby."""
        until("the database has its standby", self.pair.in_step)
        self.holder()
        until("a daemon that stands by", self._waits)

    def _waits(self) -> bool:
        """Whether the other daemon does; started again, as systemd does, if it has ended."""
        for daemon in self.daemons:
            if daemon.died:
                daemon.start()
        return any(self._says(daemon).get("role") == "standby" for daemon in self.daemons)

    # Roads.

    def database_roads(self, daemon: Daemon) -> Iterable[Road]:
        """Those by which it reaches the servers."""
        return self._to_database[daemon].values()

    def roads(self) -> Iterable[Road]:
        """All from a daemon to a server."""
        return [road for daemon in self.daemons for road in self.database_roads(daemon)]

    def caught(self, point: Point) -> tuple[Daemon, Road]:
        """
        Wait until the daemon that serves is at that point of a commit, and hold it there.

        On a busy machine the home may change daemons by itself while that is waited for.

        Returns:
            the daemon, and the road it is on.
        """
        ends = time.monotonic() + DEADLINE_S
        while True:
            holder = self.holder()
            road = self._to_database[holder][self.pair.primary.directory]
            trap = road.set_trap(point)
            while not trap.sprung.wait(LOOK_S) and self.serves(holder):
                assert time.monotonic() < ends, "no order is committed"
            if trap.sprung.is_set():
                return holder, road
            road.release(lost=False)

    # Acknowledgements.

    def unserved(self, since: float) -> float:
        """Wait until all clients trade again; the longest silence of all since then."""
        until("orders are acknowledged", lambda: self._all_trade(since))
        times = sorted(
            told.acknowledged
            for trader in self.traders
            for told in trader.told[-1000:]
            if told.acknowledged > since
        )
        return max(after - at for at, after in zip([since, *times], times, strict=False))

    def _all_trade(self, since: float) -> bool:
        problems = [problem for trader in self.traders for problem in trader.problems]
        assert not problems, problems
        return all(self._since(trader, since) >= ENOUGH for trader in self.traders)

    def silent_s(self) -> float:
        """How long ago an order was acknowledged last."""
        newest = max(trader.told[-1].acknowledged for trader in self.traders)
        return time.monotonic() - newest

    @staticmethod
    def _since(trader: Trader, since: float) -> int:
        return sum(told.sent > since for told in trader.told[-1000:])

    def nothing_acknowledged(self, since: float) -> None:
        """Of what was sent since then, nothing was."""
        early = [t.name for t in self.traders for told in t.told[-1000:] if told.sent > since]
        assert not early, f"acknowledged without a standby: {early}"

    # The end.

    def settle(self) -> None:
        """End the trading, wait until all peers are at rest, and stop all."""
        for trader in self.traders:
            trader.ends.set()
        self._halt.set()
        for trader in (*self.traders, *self.others):
            trader.join(2 * DEADLINE_S)
            assert not trader.is_alive()
        until("all peers are settled", self._settled)
        for daemon in (*self.daemons, *self.peers):
            daemon.stop()

    def _settled(self) -> bool:
        try:
            found = [daemon.status() for daemon in (self.holder(), *self.peers)]
        except (*AWAY, Refused):
            return False
        return all(
            status["synced"] and not status["fills"]["in_doubt"] and not status["alarms"]
            for status in found
        )

    def audit(self) -> Audit:
        """Hold everything that was ever acknowledged against what is stored, everywhere."""
        home = self.folder / "home"
        home.mkdir()
        shutil.copy(self.daemons[0].directory / "data" / "identity.key", home)
        done = CliRunner().invoke(
            exchange, ["store", "copy", self.pair.primary.url(DATABASE), str(home)]
        )
        assert done.exit_code == 0, f"{done.output}{done.exception}"
        stores = {peer.directory.name: peer.directory / "data" for peer in self.peers}
        audit = Audit({"home": home} | stores, Market.parse(f"{MARKET}:{MARKET_STEPS}"), NETWORK)
        audit.run([*self._stocks, *self.traders, *self.others])
        return audit

    def complaints(self) -> list[str]:
        """What daemons logged that must never happen: their own bugs."""
        found = []
        for daemon in (*self.daemons, *self.peers):
            lines = (daemon.directory / "daemon.log").read_text().splitlines()
            bugs = [line for line in lines if " critical " in line or "Traceback" in line]
            found += [f"{daemon.directory.name}: {line}" for line in bugs[:3]]
        return found


def until(what: str, true: Callable[[], Any]) -> None:
    """Wait until ``true()``."""
    ends = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < ends, f"it takes too long: {what}"
        time.sleep(0.02)
