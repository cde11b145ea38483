"""
Two daemons of one home on one database with a standby: the one that serves is killed, or frozen and
woken after the takeover, again and again, while clients trade. Then every acknowledgement is looked
for.

    make soak-standby           (or: python -m tests.failovers --failovers 500)

Says how long nobody served, from the kill to the first order acknowledged.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from grenache_py.exchange.settings.secret_files import read_or_make_identity
from grenache_py.trading import Client
from grenache_py.trading.errors import ExchangeError
from tests.exchange.daemon.test_daemon import Daemon
from tests.support.postgresql import Server, primary, standby

#: Longer than any takeover takes, on a machine that has much else to do.
DEADLINE_S = 120.0
#: How long a client waits for a daemon that does not answer, before it tries the other one.
PATIENCE_S = 1.0


class Spare(Daemon):
    """A daemon with ``--standby``; it has started when its process runs."""

    def serves(self) -> bool:
        return True

    def answers(self) -> bool:
        return super().serves()


class Trader(threading.Thread):
    """
    Places orders one by one, each until it is acknowledged, at whichever daemon serves.

    Attributes:
        acknowledged: the order's id that was answered, by client_order_id.
    """

    def __init__(self, name: str, daemons: list[Daemon]) -> None:
        super().__init__(name=name, daemon=True)
        self.acknowledged: dict[str, str] = {}
        self.ends = threading.Event()
        self.problems: list[str] = []
        self._daemons = daemons

    def run(self) -> None:
        number = 0
        while not self.ends.is_set():
            number += 1
            self._place(f"{self.name}-{number}", "buy" if number % 2 else "sell")

    def _place(self, id: str, side: str) -> None:
        order = {"market": "BTC-USD", "side": side, "quantity": "1", "price": "100"}
        order |= {"client_order_id": id, "account": id}
        ends = time.monotonic() + DEADLINE_S
        while time.monotonic() < ends:
            for daemon in self._daemons:
                try:
                    with Client(daemon.path, timeout_s=PATIENCE_S, reconnect=False) as client:
                        answer = client.call("order.place", order, changes=False)
                except ExchangeError:
                    continue  # not the one that serves, or nobody knows: ask again, same id
                self.acknowledged[id] = answer["order_id"]
                return
            time.sleep(0.02)
        self.problems.append(f"{id} was not acknowledged within {DEADLINE_S:.0f} s")
        self.ends.set()


def torment(place: Path, failovers: int, seed: int, traders: int = 3) -> list[float]:
    """Fail over so often; returns for how many seconds nobody served each time."""
    rng = random.Random(seed)
    with primary() as one, standby(one) as two:
        one.ask("CREATE DATABASE home")
        store = ("--store", one.url("home", two), "--standby")
        folders = [place / "a", place / "b"]
        for folder in folders:
            (folder / "data").mkdir(parents=True)
        read_or_make_identity(str(folders[0] / "data"))
        shutil.copy(folders[0] / "data" / "identity.key", folders[1] / "data")
        with Spare(folders[0], *store) as first:
            _until(first.answers, "a first start")
            with Spare(folders[1], *store) as second:
                return _torment([first, second], one, rng, failovers, traders)


def _torment(
    daemons: list[Daemon], server: Server, rng: random.Random, failovers: int, traders: int
) -> list[float]:
    trading = [Trader(f"t{n}", daemons) for n in range(traders)]
    for trader in trading:
        trader.start()
    gaps: list[float] = []
    serving, other = daemons
    for _ in range(failovers):
        _until(lambda: _claimants(server) > 0, "standing by")
        time.sleep(rng.uniform(0.05, 0.5))  # at any point of a commit
        frozen = rng.random() < 0.5
        began = time.monotonic()
        if frozen:
            serving.process.send_signal(signal.SIGSTOP)
            server.ask(  # as it does by itself when it hears nothing of a machine
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                f" WHERE application_name = 'grenache {_boot(server)}'"
            )
        else:
            serving.kill()
        _acknowledged_again(trading, began)
        gaps.append(time.monotonic() - began)
        if frozen:
            serving.process.send_signal(signal.SIGCONT)
        else:
            serving.start()
        serving, other = other, serving
    for trader in trading:
        trader.ends.set()
    for trader in trading:
        trader.join(2 * DEADLINE_S)
        assert not trader.is_alive() and not trader.problems, trader.problems
    _audit(server, trading)
    return gaps


def _boot(server: Server) -> str:
    return str(server.ask("SELECT boot FROM exchange.term", "home")[0][0])


def _claimants(server: Server) -> int:
    """How many daemons are looking whether they may take over."""
    return int(
        server.ask(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'grenache %'"
            f" AND application_name NOT LIKE '%{_boot(server)}'"
        )[0][0]
    )


def _until(true: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < ends, f"{what} takes too long"
        time.sleep(0.02)


def _acknowledged_again(trading: list[Trader], began: float) -> None:
    counts = [len(trader.acknowledged) for trader in trading]
    while all(len(t.acknowledged) <= n + 1 for t, n in zip(trading, counts, strict=True)):
        assert not any(trader.problems for trader in trading), [t.problems for t in trading]
        assert time.monotonic() < began + DEADLINE_S, "nobody serves"
        time.sleep(0.005)


def _audit(server: Server, trading: list[Trader]) -> None:
    """Each acknowledged order is there, once, under the id that was told."""
    stored: dict[str, list[str]] = {}
    for name, order_id in server.ask(
        "SELECT client_order_id, order_id FROM exchange.orders", "home"
    ):
        stored.setdefault(name, []).append(order_id)
    told = {id: order for trader in trading for id, order in trader.acknowledged.items()}
    lost = [id for id, order in told.items() if order not in stored.get(id, ())]
    doubled = [id for id, orders in stored.items() if len(orders) > 1]
    assert not lost, f"lost: {lost[:5]} of {len(told)}"
    assert not doubled, f"doubled: {doubled[:5]} of {len(told)}"
    print(f"{len(told)} acknowledged orders: 0 lost, 0 doubled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--failovers", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="failovers-") as place:
        gaps = sorted(torment(Path(place), options.failovers, options.seed))
    p50, p99 = (gaps[int((len(gaps) - 1) * share)] for share in (0.5, 0.99))
    print(f"{len(gaps)} failovers; nobody served for p50 {p50:.2f} s, p99 {p99:.2f} s")


if __name__ == "__main__":
    main()
