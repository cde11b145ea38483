"""
Real peers under real trouble: ``make soak MINUTES=n``.

    python -m tests.soak [--minutes 2] [--peers 7] [--seed N] [--keep DIR]

Each peer and each of the three grapes (one of them Node's where npm is at hand) runs on a host of
its own, a network namespace; the hosts share a switch. Peers find each other through the grapes
and by the addresses of two neighbours, clients place, cancel and replace orders all the time, and
all the time something is killed with -9, frozen, restarted, unplugged, or the switch is parted in
two. Then all is mended, and what must hold is read from the daemons and from their SQLite files:
see ``audit.py``. Where namespaces cannot be made (they need root), everything runs on loopback
and nothing is cut.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from grenache_py.exchange.market.instrument import Market
from grenache_py.trading import Refused
from tests.network.hosts import Network, missing
from tests.soak.audit import Audit
from tests.soak.daemons import MARKET, MARKET_STEPS, Daemon, wait_for
from tests.soak.grapes import Grapes
from tests.soak.traders import Trader
from tests.soak.trouble import Trouble
from tests.support.wire_client import AWAY

#: After the trouble: restarts, leases, retries of fills and a catch-up fit well into this.
HEAL_S = 120.0
NETWORK = "soak"
TRADERS_PER_PEER = 2


class Soak:
    """Everything that runs, started and ended together."""

    def __init__(self, directory: Path, peers: int, rate: float, rng: random.Random) -> None:
        self.lacking = missing()
        self.network = None if self.lacking else Network(directory / "hosts")
        self.daemons: list[Daemon] = []
        self.traders: list[Trader] = []
        self._halt = threading.Event()
        try:
            network = self.network
            on = (
                [network.host(f"grape{n}", f"10.77.0.{n + 2}") for n in range(3)]
                if network
                else None
            )
            self.grapes = Grapes(directory / "grapes", on)
            for number in range(peers):
                near = [d.address for d in rng.sample(self.daemons, min(2, number))]
                words = [word for address in near for word in ("--connect", address)]
                words += [word for url in self.grapes.urls for word in ("--grape", url)]
                host = network.host(f"peer{number}", f"10.77.0.{number + 10}") if network else None
                self.daemons.append(
                    Daemon(directory / f"peer{number}", "--network", NETWORK, *words, host=host)
                )
        except BaseException:
            self.close()
            raise
        self.traders = [
            Trader(daemon, f"{rng.getrandbits(32):08x}", rate, self._halt)
            for daemon in self.daemons
            for _ in range(TRADERS_PER_PEER)
        ]

    def start(self) -> None:
        """Start all and let the clients begin."""
        self.grapes.start()
        for daemon in self.daemons:
            daemon.start()
        for daemon in self.daemons:
            daemon.wait()
        for trader in self.traders:
            trader.start()

    def settle(self) -> float:
        """End the trading; seconds until all peers have come to rest with equal books."""
        for daemon in self.daemons:
            daemon.wait()
        self._halt.set()
        for trader in self.traders:
            trader.join(30)
        healed = wait_for("all peers are settled", HEAL_S, self._settled)
        return healed + wait_for("all books are equal", 30.0, self._equal)

    def _settled(self) -> bool:
        """All peers linked, synced, and nothing in doubt."""
        try:
            return all(
                status["synced"] and not status["fills"]["in_doubt"] and not status["alarms"]
                for status in (daemon.status() for daemon in self.daemons)
            )
        except (*AWAY, Refused):
            return False

    def _equal(self) -> bool:
        """Each peer shows the same whole book: prices, quantities, numbers of orders."""
        seen: list[Any] = []
        for daemon in self.daemons:
            with daemon.client() as client:
                book = client.call("book.get", market=MARKET, depth=500)
                seen.append((book["bids"], book["asks"], book["checksum"]))
        return all(book == seen[0] for book in seen)

    def complaints(self) -> list[str]:
        """What daemons logged that must never happen: their own bugs."""
        found = []
        for daemon in self.daemons:
            lines = (daemon.directory / "daemon.log").read_text().splitlines()
            bugs = [line for line in lines if " critical " in line or "Traceback" in line]
            found += [
                f"{daemon.directory.name} logged {len(bugs)} like: {line}" for line in bugs[:1]
            ]
        return found

    def stop(self) -> None:
        """End the daemons in order."""
        for daemon in self.daemons:
            daemon.stop()

    def close(self) -> None:
        """End what runs, and take the network away. Idempotent."""
        self._halt.set()
        for daemon in self.daemons:
            daemon.kill()
        if hasattr(self, "grapes"):
            self.grapes.stop()
        if self.network is not None:
            self.network.close()
            self.network = None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--peers", type=int, default=7)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--rate", type=float, default=20.0, help="of each client, a second")
    parser.add_argument("--keep", type=Path, help="where to leave files and logs")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        directory = options.keep or Path(name)
        directory.mkdir(parents=True, exist_ok=True)
        return _soak(directory, options)


def _soak(directory: Path, options: argparse.Namespace) -> int:
    rng = random.Random(options.seed)
    print(f"soak: seed {options.seed}, {options.peers} peers, {options.minutes:g} min", flush=True)
    soak = Soak(directory, options.peers, options.rate, rng)
    if soak.lacking:
        print(f"no network cuts: {soak.lacking}", flush=True)
    seconds = 60 * options.minutes
    trouble = Trouble(soak.daemons, soak.grapes.members, soak.network, rng, seconds / 2)
    try:
        soak.start()
        trouble.run(time.monotonic() + seconds)
        settled = soak.settle()
        soak.stop()
        wrong = [*trouble.died, *soak.complaints()]
    finally:
        soak.close()
    audit = Audit(
        {daemon.directory.name: daemon.directory / "data" for daemon in soak.daemons},
        Market.parse(f"{MARKET}:{MARKET_STEPS}"),
        NETWORK,
    )
    audit.run(soak.traders)
    wrong += audit.wrong
    did: Counter[str] = sum((trader.counts for trader in soak.traders), Counter())
    print(f"suffered: {_listed(trouble.counts)}")
    print(f"clients: {_listed(did)}")
    print(f"settled {settled:.1f} s after the trouble ended")
    print(
        f"audited: {audit.orders} orders, {audit.trades} trades, {audit.between} of them between"
        f" homes, {audit.entries} log entries; {len(wrong)} violations"
    )
    for line in wrong[:20]:
        print(f"WRONG: {line}")
    if not audit.between:
        print("WRONG: no trades between homes, so nothing was shown")
    return 1 if wrong or not audit.between else 0


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))


def _interrupted(signal_number: int, frame: object) -> NoReturn:
    raise SystemExit(f"soak: ended by signal {signal_number}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupted)  # so that nothing is left running
    sys.exit(main())
