"""
Real peers under real trouble: ``make soak MINUTES=n``.

    python -m tests.soak [--minutes 2] [--peers 7] [--seed N] [--keep DIR]

Peers find each other through grapes (one of them the Node grape where npm is at hand) and by the
addresses of two neighbours, clients place, cancel and replace orders all the time, and all the
time some daemon is killed with -9, frozen or restarted. Then all is healed, and what must hold is
read from the daemons and from their SQLite files: every fill has come to its end, all books are
equal, both sides of each trade have it, with one price and quantity, nothing is overfilled,
and each log, played again, leads to the stored book.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from grenache_py.exchange.client import CannotReach, Client, Refused
from grenache_py.exchange.database import read_only
from grenache_py.exchange.export import prove
from tests.soak.daemons import MARKET, Daemon, wait_for
from tests.soak.grapes import Grapes

#: After the trouble: restarts, leases, retries of fills and a catch-up fit well into this.
HEAL_S = 120.0


class Trader(threading.Thread):
    """A client of one peer that never stops, whatever happens to its peer."""

    def __init__(self, daemon: Daemon, seed: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._target_daemon = daemon
        self._rng = random.Random(seed)
        self._halt = stop
        self._open: list[str] = []
        self.counts: Counter[str] = Counter()

    def run(self) -> None:
        while not self._halt.is_set():
            try:
                with self._target_daemon.client() as client:
                    while not self._halt.is_set():
                        self._act(client)
                        time.sleep(self._rng.expovariate(40.0))
            except CannotReach:
                self.counts["connection lost"] += 1
                time.sleep(0.2)

    def _act(self, client: Client) -> None:
        rng = self._rng
        try:
            if self._open and rng.random() < 0.25:
                order = self._open.pop(rng.randrange(len(self._open)))
                client.call("order.cancel", order_id=order)
                self.counts["cancelled"] += 1
                return
            body: dict[str, Any] = {
                "market": MARKET,
                "side": rng.choice(("buy", "sell")),
                "type": "limit",
                "price": f"{100 + rng.randrange(-6, 7) / 100:.2f}",
                "quantity": f"{rng.randrange(1, 40) / 1000:.4f}",
                "account": f"account{rng.randrange(3)}",
                "time_in_force": rng.choice(("gtc", "gtc", "gtc", "ioc", "fok")),
            }
            report = client.call("order.place", **body)
            self.counts["placed"] += 1
            if report["status"] in ("new", "partially_filled"):
                self._open.append(report["order_id"])
                del self._open[:-200]
        except Refused as refused:
            self.counts[f"refused {refused.code}"] += 1


def trouble(daemons: list[Daemon], rng: random.Random, until: float) -> Counter[str]:
    """Kill, freeze and restart, one daemon or two at a time, until then."""
    counts: Counter[str] = Counter()
    while time.monotonic() < until:
        time.sleep(rng.uniform(0.5, 3.0))
        daemon = rng.choice(daemons)
        kind = rng.choice(("kill", "kill", "freeze", "stop"))
        counts[kind] += 1
        if kind == "freeze":
            daemon.freeze()
            time.sleep(rng.uniform(0.5, 8.0))
            daemon.thaw()
            continue
        (daemon.kill if kind == "kill" else daemon.stop)()
        time.sleep(rng.uniform(0.0, 3.0))
        daemon.start()
        daemon.wait()
    return counts


def settled(daemons: list[Daemon]) -> bool:
    """All peers linked, synced, and nothing in doubt."""
    try:
        return all(
            status["synced"] and not status["fills"]["in_doubt"] and not status["alarms"]
            for status in (daemon.status() for daemon in daemons)
        )
    except (CannotReach, Refused):
        return False


def books(daemons: list[Daemon]) -> list[Any]:
    """Each peer's whole book, as prices and quantities."""
    seen = []
    for daemon in daemons:
        with daemon.client() as client:
            book = client.call("book.get", market=MARKET, depth=500)
            seen.append((book["bids"], book["asks"]))
    return seen


def audit(daemons: list[Daemon]) -> tuple[int, list[str]]:
    """Read the files: how many trades between homes, and what is wrong."""
    wrong: list[str] = []
    rows: dict[str, dict[str, tuple[Any, ...]]] = {}
    quantities: dict[str, int] = {}
    filled: dict[str, int] = {}
    for daemon in daemons:
        with closing(read_only(str(daemon.database))) as connection:
            connection.row_factory = sqlite3.Row
            home = _home(daemon)
            for order in connection.execute("SELECT order_id, quantity_lots, filled FROM orders"):
                quantities[order[0]], filled[order[0]] = order[1], order[2]
            for trade in connection.execute(
                "SELECT trade_id, price_ticks, quantity_lots, maker_order, taker_order,"
                " maker_home, taker_home FROM trades"
            ):
                if home in (trade["maker_home"], trade["taker_home"]):
                    rows.setdefault(trade["trade_id"], {})[home] = tuple(trade)[1:]
        proof = prove(str(daemon.database))
        wrong += [f"{home[:8]}: {problem}" for problem in proof.problems]
    total: Counter[str] = Counter()
    between = 0
    for trade_id, sides in rows.items():
        values = set(sides.values())
        if len(values) > 1:
            wrong.append(f"trade {trade_id} differs: {sides}")
            continue
        _, lots, maker, taker, maker_home, taker_home = next(iter(values))
        between += maker_home != taker_home
        if {maker_home, taker_home} - sides.keys():
            wrong.append(f"trade {trade_id} is known to one side only")
        total[maker] += lots
        total[taker] += lots
    for order_id, lots in total.items():
        if lots > quantities.get(order_id, 0):
            wrong.append(f"order {order_id}: {lots} traded of {quantities.get(order_id)}")
        if lots != filled.get(order_id):
            wrong.append(f"order {order_id}: filled {filled.get(order_id)}, trades say {lots}")
    return between, wrong


def _home(daemon: Daemon) -> str:
    return str(daemon.status()["peer"])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--peers", type=int, default=7)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args(arguments)
    rng = random.Random(options.seed)
    print(f"soak: seed {options.seed}, {options.peers} peers, {options.minutes:g} min", flush=True)
    with tempfile.TemporaryDirectory() as name:
        directory = options.keep or Path(name)
        grapes = Grapes(directory / "grapes")
        daemons: list[Daemon] = []
        halt = threading.Event()
        try:
            grapes.start()
            for number in range(options.peers):
                near = [d.address for d in rng.sample(daemons, min(2, len(daemons)))]
                words = [word for address in near for word in ("--connect", address)]
                words += [word for url in grapes.urls for word in ("--grape", url)]
                daemons.append(Daemon(directory / f"peer{number}", *words))
                daemons[-1].start()
            for daemon in daemons:
                daemon.wait()
            traders = [
                Trader(daemon, rng.getrandbits(32), halt) for daemon in daemons for _ in range(2)
            ]
            for trader in traders:
                trader.start()
            suffered = trouble(daemons, rng, time.monotonic() + 60 * options.minutes)
            halt.set()
            for trader in traders:
                trader.join(30)
            healed = wait_for("all peers are settled", HEAL_S, lambda: settled(daemons))
            wait_for("all books are equal", 30.0, lambda: _equal(daemons))
            between, wrong = audit(daemons)
        finally:
            halt.set()
            for daemon in daemons:
                with suppress(ProcessLookupError):
                    daemon.thaw()
                daemon.stop()
            grapes.stop()
    did: Counter[str] = sum((trader.counts for trader in traders), Counter())
    print(f"suffered {dict(suffered)}; clients: {dict(sorted(did.items()))}")
    print(f"{between} trades between homes; settled {healed:.1f} s after the trouble ended")
    for line in wrong[:20]:
        print(f"WRONG: {line}")
    if not between:
        print("WRONG: no trades between homes, so nothing was shown")
    return 1 if wrong or not between else 0


def _equal(daemons: list[Daemon]) -> bool:
    seen = books(daemons)
    return all(book == seen[0] for book in seen)


if __name__ == "__main__":
    sys.exit(main())
