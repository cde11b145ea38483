"""
Kill a real daemon under load, again and again, and hold it to what it acknowledged.

    python -m tests.crash --kills 200 [--seed N]

After every kill, and some more while it starts again, the store is read: every acknowledged order,
cancel and trade is in the tables or in the journal, none twice, quantities add up, and the log,
played again, leads to the stored book. Then the daemon starts on it, shows that very book, and
gives every order that is sent again under its client_order_id the id it has.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict, deque
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import attrs

from grenache_py.exchange.audit.export import prove
from grenache_py.exchange.effects.rows import OrderRow
from grenache_py.exchange.errors import DUPLICATE_CLIENT_ID
from grenache_py.exchange.home.order_rows import own_from_row
from grenache_py.exchange.market.stored_steps import markets_of
from grenache_py.exchange.storage import snapshot
from grenache_py.exchange.storage.read_only import read_only

ROOT = Path(__file__).parents[2]
MARKET = "BTC-USD"
START_TIMEOUT_S = 120.0
#: Requests a client has under way at a time.
PIPELINE = 8
FINAL = ("filled", "cancelled", "expired", "rejected")


class Daemon:
    """A ``twistd exchange`` on ``directory``, reached by a UNIX socket."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.socket = str(directory / "client.sock")
        self.log = directory / "daemon.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "twisted", "exchange"),
                    *("--data", str(directory / "data")),
                    *("--market", f"{MARKET}:tick=0.01,lot=0.0001"),
                    *("--client", f"unix:{self.socket}"),
                    *("--peer", "tcp:0:interface=127.0.0.1"),
                    *("--http", "tcp:0:interface=127.0.0.1"),
                    *options,
                ],
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )

    def connect(self) -> Connection:
        """Wait until the daemon serves."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with suppress(OSError):
                return Connection(self.socket)
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the daemon does not serve:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """As the kernel does it when memory runs out."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Connection:
    """One client, blocking."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(START_TIMEOUT_S)
        self._lines = self._socket.makefile("rb")
        try:
            self._socket.connect(path)
        except OSError:
            self.close()
            raise

    def send(self, id: int, method: str, params: dict[str, Any]) -> None:
        line = json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
        self._socket.sendall(line.encode() + b"\n")

    def receive(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return json.loads(line)

    def answer(self, method: str, **params: Any) -> dict[str, Any]:
        self.send(0, method, params)
        return self.receive()

    def call(self, method: str, **params: Any) -> Any:
        answer = self.answer(method, **params)
        assert "result" in answer, (method, params, answer)
        return answer["result"]

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@attrs.define
class Promises:
    """
    What one account was told.

    Attributes:
        placed: what was asked for, by client_order_id.
        ids: the order id that was acknowledged for it.
        reports: the last execution report of each order.
        trades: (price, quantity) of acknowledged trades by id.
        cancelled: orders whose cancel was acknowledged.
        refused: client_order_ids that were answered with a final error.
        recent: orders that were told of last.
    """

    account: str
    placed: dict[str, dict[str, Any]] = attrs.Factory(dict)
    ids: dict[str, str] = attrs.Factory(dict)
    reports: dict[str, dict[str, Any]] = attrs.Factory(dict)
    trades: dict[str, tuple[str, str]] = attrs.Factory(dict)
    cancelled: set[str] = attrs.Factory(set)
    refused: set[str] = attrs.Factory(set)
    recent: deque[str] = attrs.Factory(lambda: deque(maxlen=50))

    def note(self, method: str, params: dict[str, Any], answer: dict[str, Any]) -> None:
        """The daemon answered a request."""
        report = answer.get("result")
        if report is None:
            if method == "order.place" and answer["error"]["code"] != -32010:
                self.refused.add(params["client_order_id"])
            return
        if method == "order.place":
            self.ids[params["client_order_id"]] = report["order_id"]
        if method == "order.cancel":
            self.cancelled.add(report["order_id"])
        self.reports[report["order_id"]] = report
        self.recent.append(report["order_id"])
        for trade in report["trades"]:
            self.trades[trade["trade_id"]] = (trade["price"], trade["quantity"])


class Trader(threading.Thread):
    """Keeps the daemon busy under one account until the connection breaks."""

    def __init__(self, path: str, promises: Promises, rng: random.Random) -> None:
        super().__init__(daemon=True)
        self._connection = Connection(path)
        self._promises = promises
        self._rng = rng
        self._under_way: dict[int, tuple[str, dict[str, Any]]] = {}
        self._sent = 0

    def run(self) -> None:
        try:
            while True:
                while len(self._under_way) < PIPELINE:
                    self._send()
                answer = self._connection.receive()
                self._promises.note(*self._under_way.pop(answer["id"]), answer)
        except (OSError, EOFError):
            pass
        finally:
            self._connection.close()

    def _send(self) -> None:
        rng, promises = self._rng, self._promises
        open_ids = [
            order_id
            for order_id in promises.recent
            if promises.reports[order_id]["status"] not in FINAL
        ]
        kind = rng.random()
        if open_ids and kind < 0.3:
            method, params = "order.cancel", {"order_id": rng.choice(open_ids)}
        elif open_ids and kind < 0.4:
            method = "order.replace"
            params = {"order_id": rng.choice(open_ids), "quantity": str(rng.randrange(1, 5))}
        else:
            method, params = "order.place", self._order()
            promises.placed[params["client_order_id"]] = params
        self._sent += 1
        self._under_way[self._sent] = method, params
        self._connection.send(self._sent, method, params)

    def _order(self) -> dict[str, Any]:
        rng, promises = self._rng, self._promises
        order = {
            "market": MARKET,
            "account": promises.account,
            "client_order_id": f"{promises.account}-{len(promises.placed)}",
            "side": rng.choice(("buy", "sell")),
            "type": "limit",
            "quantity": str(rng.randrange(1, 6)),
            "price": str(rng.randrange(95, 106)),
        }
        special = rng.random()
        if special < 0.1:
            order["time_in_force"] = rng.choice(("ioc", "fok"))
        elif special < 0.15:
            order["post_only"] = True
        elif special < 0.2:
            order["type"] = "market"
            del order["price"]
        return order


@attrs.frozen
class Found:
    """The orders in a file, by id, and by account and client_order_id."""

    orders: dict[str, OrderRow] = attrs.Factory(dict)
    by_client_id: dict[tuple[str, str], OrderRow] = attrs.Factory(dict)


def replaced(earlier: OrderRow, row: OrderRow) -> bool:
    """Whether ``row`` took the place of ``earlier``: one log entry published it and closed that."""
    return earlier.reason == "cancelled" and earlier.state_seq == row.order_seq


def check_file(directory: Path, everybody: list[Promises]) -> Found:
    """Hold the file of a dead daemon to its promises."""
    path = str(directory / "data" / "exchange.sqlite")
    with read_only(path) as connection:
        market = markets_of(snapshot.meta(connection))[MARKET]
        orders = {row.order_id: row for row in snapshot.all_orders(connection)}
        trades = {row.trade_id: row for row in snapshot.all_trades(connection)}
    traded: Counter[str] = Counter()
    for trade in trades.values():
        for order_id in {trade.maker_order, trade.taker_order}:
            traded[order_id] += trade.quantity_lots
    by_client_id: dict[tuple[str, str], OrderRow] = {}
    for row in orders.values():
        assert row.filled == traded[row.order_id], ("trades do not add up", row)
        assert row.live == int(row.open + row.reserved > 0), ("neither live nor closed", row)
        if row.client_order_id:
            name = (row.account, row.client_order_id)
            earlier = by_client_id.get(name)
            assert earlier is None or replaced(earlier, row), ("placed twice", earlier, row)
            by_client_id[name] = row
    for promises in everybody:
        for client_id, order_id in promises.ids.items():
            assert order_id in orders, ("an acknowledged order is lost", client_id, order_id)
        for order_id, report in promises.reports.items():
            row = orders[order_id]
            status = own_from_row(row, "").live.status
            filled = market.format_quantity(row.filled)
            if report["status"] in FINAL:
                assert (status, filled) == (report["status"], report["filled"]), (report, row)
            else:
                assert float(filled) >= float(report["filled"]), (report, row)
        for order_id in promises.cancelled:
            assert orders[order_id].open == 0, ("an acknowledged cancel is lost", order_id)
        for trade_id, (price, quantity) in promises.trades.items():
            trade = trades[trade_id]
            assert market.format_price(trade.price_ticks) == price
            assert market.format_quantity(trade.quantity_lots) == quantity
    proof = prove(path)
    assert proof.holds and not proof.gaps, proof.problems
    return Found(orders, by_client_id)


def check_daemon(
    connection: Connection,
    stored: Found,
    everybody: list[Promises],
    rng: random.Random,
) -> None:
    """Hold the daemon that came back to the file it found and to what it is told again."""
    levels: dict[str, dict[str, list[int]]] = {"bids": defaultdict(list), "asks": defaultdict(list)}
    for row in stored.orders.values():
        if row.open:
            side = levels["bids" if row.side == "buy" else "asks"]
            side[f"{row.price_ticks / 100:g}"].append(row.open)
    book = connection.call("book.get", market=MARKET, depth=500)
    for side, expected in levels.items():
        shown = {price: (quantity, orders) for price, quantity, orders in book[side]}
        assert shown == {
            price: (f"{sum(lots) / 10_000:g}", len(lots)) for price, lots in expected.items()
        }, side
    for promises in everybody:
        unknown = [name for name in promises.placed if name not in promises.ids]
        unknown = [name for name in unknown if name not in promises.refused]
        some = rng.sample(sorted(promises.ids), min(5, len(promises.ids)))
        for client_id in [*unknown, *some]:
            params = promises.placed[client_id]
            answer = connection.answer("order.place", **params)
            found = stored.by_client_id.get((promises.account, client_id))
            if found is not None and "error" in answer:
                # Its name went to the order that replaced it, which is another one.
                assert answer["error"]["code"] == DUPLICATE_CLIENT_ID, (found, answer)
                assert answer["error"]["data"]["order_id"] == found.order_id, (found, answer)
                assert promises.ids[client_id] != found.order_id, (found, answer)
            elif found is not None:
                # It is there already: the same order again, whatever became of it.
                assert answer["result"]["order_id"] == found.order_id, (found, answer)
            promises.note("order.place", params, answer)


def torment(directory: Path, kills: int, seed: int, traders: int = 6, told: Any = None) -> int:
    """
    Start, load and kill a daemon ``kills`` times on one directory.

    Returns:
        how many orders were acknowledged in all.
    """
    rng = random.Random(seed)
    everybody = [Promises(f"account-{n}") for n in range(traders)]
    stored = Found()
    for kill in range(kills):
        with ExitStack() as busy, Daemon(directory) as daemon:
            with daemon.connect() as connection:
                check_daemon(connection, stored, everybody, rng)
            for promises in everybody:
                trader = Trader(daemon.socket, promises, random.Random(rng.random()))
                trader.start()  # it ends, and closes its connection, when the daemon does
                busy.callback(trader.join, 10)
            time.sleep(rng.uniform(0.02, 0.6))
        while rng.random() < 0.3:  # and while it starts, or folds what the journal has
            with Daemon(directory):
                time.sleep(rng.uniform(0.0, 2.0))
        stored = check_file(directory, everybody)
        if told is not None:
            told(kill + 1, sum(len(promises.ids) for promises in everybody))
    return sum(len(promises.ids) for promises in everybody)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = int.from_bytes(os.urandom(4), "big") if options.seed is None else options.seed
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="exchange-crash-") as directory:

        def told(kills: int, orders: int) -> None:
            print(f"\r{kills} kills, {orders} acknowledged orders, all kept", end="", flush=True)

        torment(Path(directory), options.kills, seed, told=told)
    print()


if __name__ == "__main__":
    main()
