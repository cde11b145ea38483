"""
What a durable order costs in Python at all: the yardstick beside which ``client_port.py`` stands.

The same wire as the client port, the same answer, as durable, and nothing else: Twisted's
``LineOnlyReceiver``, ``json``, an answer of the members of an execution report, one append to a
list where a market would match, one row with the line in SQLite (WAL, ``synchronous=FULL``), group
commit by one thread, the daemon's switch interval. No market, no log, no signature, no limits.

    python -m benchmarks.market.bare_path DIRECTORY    (prints its port; serves until it is ended)
"""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver

from grenache_py.exchange.tap import SWITCH_INTERVAL_S

# Asked for by the benchmark: how many commits there were.
COMMITS = "commits"


class GroupCommit:
    """One thread that writes what gathered while it wrote the batch before."""

    def __init__(self, path: Path) -> None:
        self.commits = 0
        self._gathered: list[tuple[BarePath, bytes, dict[str, Any]]] = []
        self._writing = False
        self._batches: SimpleQueue[list[tuple[BarePath, bytes, dict[str, Any]]]] = SimpleQueue()
        threading.Thread(target=self._write, args=(path,), daemon=True).start()

    def add(self, connection: BarePath, line: bytes, answer: dict[str, Any]) -> None:
        self._gathered.append((connection, line, answer))
        if not self._writing:
            self._writing = True
            reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        batch, self._gathered = self._gathered, []
        self._batches.put(batch)

    def _write(self, path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, line BLOB)")
        while True:
            batch = self._batches.get()
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO orders (line) VALUES (?)", [(line,) for _, line, _ in batch]
            )
            connection.execute("COMMIT")
            reactor.callFromThread(self._written, batch)

    def _written(self, batch: list[tuple[BarePath, bytes, dict[str, Any]]]) -> None:
        self.commits += 1
        if self._gathered:
            self._turn()
        else:
            self._writing = False
        for connection, _, answer in batch:
            connection.sendLine(json.dumps(answer).encode())


class BarePath(LineOnlyReceiver):
    """One client."""

    delimiter = b"\n"
    MAX_LENGTH = 65_536

    def __init__(self, commit: GroupCommit, book: list[dict[str, Any]]) -> None:
        self.commit = commit
        self.book = book

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)

    def lineReceived(self, line: bytes) -> None:
        request = json.loads(line)
        if request["method"] == COMMITS:
            answer = {"jsonrpc": "2.0", "id": request["id"], "result": self.commit.commits}
            self.sendLine(json.dumps(answer).encode())
            return
        order = request["params"]
        self.book.append(order)
        now_ms = int(time.time() * 1000)
        report = {
            "order_id": f"{len(self.book):032x}",
            "client_order_id": order.get("client_order_id"),
            "account": order.get("account", ""),
            "market": order["market"],
            "side": order["side"],
            "type": "limit",
            "time_in_force": "gtc",
            "price": order["price"],
            "quantity": order["quantity"],
            "filled": "0",
            "remaining": order["quantity"],
            "in_doubt": "0",
            "status": "open",
            "average_price": None,
            "time": now_ms,
            "updated": now_ms,
            "trades": [],
        }
        self.commit.add(self, line, {"jsonrpc": "2.0", "id": request["id"], "result": report})


def main() -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    commit, book = GroupCommit(Path(sys.argv[1]) / "bare.sqlite"), []
    port = reactor.listenTCP(
        0, Factory.forProtocol(lambda: BarePath(commit, book)), interface="127.0.0.1"
    )
    print(port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
