"""
Make the stores of this folder, with the code of the versions that wrote such files.

    python -m tests.exchange.storage.stores.make

For each schema: two real daemons of that version, out of git's history, trade until there is
something of everything: open, partly filled, filled, cancelled and replaced orders, a stop that
waits, trades at both sides of a link and at one home, and a fill in doubt. Then both are killed.
"""

from __future__ import annotations

import gzip
import sqlite3
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from tests.soak.daemons import MARKET, Daemon, wait_for
from tests.support.source_trees import source_tree
from tests.support.wire_client import WireClient

#: A commit with each schema, as late as can be.
VERSIONS = {
    1: "e3b799f7a432e41009cf561881966efa43af2c2e",
    2: "965c88e75f2d9077e8367cbed8099edcb9b33cab",
    3: "fda6b2002fb704a78642d87129d83e88bb92f078",
    4: "b796d555686da1ad49f375dba24f0349146b8516",
    5: "5b6f1bf58e01ec6da88ea4f0c76f60a4727de7cb",
    6: "c552460bf2b354b54e20b4e4df4509270b67976d",
}
FOLDER = Path(__file__).parent
PEERS = ("one", "other")


def peers(folder: Path, source: Path, stack: ExitStack) -> list[Daemon]:
    """
    Two daemons of one version, linked, with the keys of ``tests.support.peers``.

    ``stack`` kills them.
    """
    made: list[Daemon] = []
    for number, name in enumerate(PEERS):
        options = ["--dht", "0", "--network", "test"]
        if made:
            options += ["--connect", made[0].address]
        daemon = Daemon(folder / name, *options, tree=source)
        (daemon.directory / "data").mkdir(mode=0o700)
        key = daemon.directory / "data" / "identity.key"
        key.touch(mode=0o600)
        key.write_text(bytes([number + 1]).hex() * 32 + "\n")
        stack.callback(daemon.kill)
        daemon.start()
        daemon.wait()
        made.append(daemon)
    return made


def place(client: WireClient, side: str, quantity: str, price: str | None, **more: Any) -> str:
    wanted = {"market": MARKET, "side": side, "quantity": quantity, **more}
    if price is not None:
        wanted["price"] = price
    return str(client.call("order.place", **wanted)["order_id"])


def trade(one: Daemon, other: Daemon) -> None:
    """Give both stores something of everything."""
    with one.client() as here, other.client() as there:

        def seen(client: WireClient, levels: int) -> bool:
            book = client.call("book.get", market=MARKET)
            return len(book["bids"]) + len(book["asks"]) == levels

        def open_ask() -> bool:
            asks = here.call("book.get", market=MARKET)["asks"]
            return bool(asks) and asks[0][0] == "102"

        partly = place(here, "sell", "5", "101", client_order_id="partly", account="maker")
        wait_for("its order at the other peer", 20, lambda: seen(there, 1))
        place(there, "buy", "2", "101", account="taker")  # of the link, taken here
        place(here, "buy", "1", "101", account="taker")  # at one home
        bid = place(here, "buy", "3", "99", client_order_id="open")
        cancelled = place(here, "buy", "1", "98", account="maker")
        here.call("order.cancel", order_id=cancelled)
        replaced = place(there, "buy", "4", "97", client_order_id="replaced")
        there.call("order.replace", order_id=replaced, quantity="3", price="96")
        place(there, "sell", "1", None, type="stop", stop_price="90")
        place(there, "sell", "1", "99", client_order_id="filled")  # of the link, made here
        place(there, "sell", "1", "102", client_order_id="doubted")
        wait_for("what the other made", 20, lambda: seen(here, 4))
        wait_for("the trades", 20, lambda: here.call("order.get", order_id=bid)["filled"] == "1")
        here.call("order.cancel", order_id=partly)
        wait_for("the cancel", 20, open_ask)
        place(here, "sell", "2", "103", client_order_id="rest")
        other.freeze()
        doubt = place(here, "buy", "1", "102", client_order_id="doubt")
        wait_for("a doubt", 20, lambda: here.call("order.get", order_id=doubt)["in_doubt"] == "1")


def make(schema: int, commit: str, folder: Path) -> None:
    source = source_tree(commit, folder / "tree")
    assert source is not None, f"git has no commit {commit} here"
    with ExitStack() as stack:
        made = peers(folder, source, stack)
        trade(*made)
    for daemon, name in zip(made, PEERS, strict=True):
        with closing(sqlite3.connect(daemon.database)) as connection:  # folds the log into it
            assert connection.execute("PRAGMA user_version").fetchone() == (schema,)
        target = FOLDER / f"schema{schema}-{name}.sqlite.gz"
        target.write_bytes(gzip.compress(daemon.database.read_bytes(), mtime=0))
        print(target.name, target.stat().st_size)


if __name__ == "__main__":
    for schema, commit in VERSIONS.items():
        if list(FOLDER.glob(f"schema{schema}-*")):
            continue  # what was kept once stays as it is
        with tempfile.TemporaryDirectory() as folder:
            make(schema, commit, Path(folder))
