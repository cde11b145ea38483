"""
Stores that every older version wrote, opened by this one: what they held, traded on, and killed
in the middle of the upgrade. ``stores/README.rst`` says how they were made.
"""

from __future__ import annotations

import gzip
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from grenache_py.exchange.audit.export import prove
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.signed_log.keys import Ed25519
from grenache_py.exchange.signed_log.merkle import Verifier
from grenache_py.exchange.storage.database import Database, schema_steps
from tests.support.peers import Network, conserved

ROOT = Path(__file__).parents[3]
STORES = Path(__file__).parent / "stores"
NEWEST = len(schema_steps())
KEPT = sorted(STORES.glob("*.gz"))
SCHEMAS = sorted({int(file.name[len("schema")]) for file in KEPT})


def unpacked(name: str, folder: Path) -> str:
    """A kept store, as a daemon of its version left it."""
    path = folder / "exchange.sqlite"
    path.write_bytes(gzip.decompress((STORES / f"{name}.sqlite.gz").read_bytes()))
    return str(path)


def version(path: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def dump(path: str) -> list[str]:
    """Everything in the file; also rolls back what a killed process had begun."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return list(connection.iterdump())


def rows(path: str, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def upgrade(path: str) -> None:
    database = Database(path)
    database.open()
    database.close()


def test_there_are_stores_of_every_older_schema() -> None:
    assert set(range(1, NEWEST)) <= set(SCHEMAS)


def test_the_page_names_the_newest_schema() -> None:
    assert f"Schema {NEWEST}," in (ROOT / "docs/store-schema.rst").read_text()


def test_a_daemon_refuses_a_newer_store_in_one_line(tmp_path: Path) -> None:
    path = unpacked(f"schema{SCHEMAS[-1]}-one", tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {NEWEST + 1}")
    before = Path(path).read_bytes()
    ports = (option for port in ("client", "peer", "http") for option in (f"--{port}", "tcp:0"))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "twisted", "exchange", "--data", str(tmp_path)),
            *("--dht", "0", *ports),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"has schema {NEWEST + 1}, this program knows {NEWEST}: run the newer" in line
    assert Path(path).read_bytes() == before


#: What no upgrade may change.
SAME = (
    "SELECT order_id, client_order_id, account, open, reserved, filled, reason, live FROM orders",
    "SELECT hash, payload, path, leaf, size, signature FROM log ORDER BY position",
    "SELECT * FROM trades",
    "SELECT * FROM bars",
    "SELECT * FROM intents",
    "SELECT * FROM answers",
    "SELECT * FROM order_events",
    "SELECT account, event_seq FROM accounts",
    "SELECT * FROM origins",
    # An entry that is both stands once, since schema 6.
    "SELECT number, order_id, origin, version, order_payload, order_path, order_signature,"
    " coalesce(nullif(state_payload, ''), order_payload),"
    " coalesce(nullif(state_signature, x''), order_signature) FROM records",
)


@pytest.mark.parametrize("name", [file.name.split(".")[0] for file in KEPT])
def test_a_store_of_each_schema_is_opened_with_all_it_holds_and_proves_its_log(
    name: str, tmp_path: Path
) -> None:
    path = unpacked(name, tmp_path)
    before, schema = {query: rows(path, query) for query in SAME}, version(path)
    upgrade(path)
    assert {query: rows(path, query) for query in SAME} == before
    proof = prove(path, Verifier(Ed25519(), "test"))
    assert proof.holds, proof.problems
    assert proof.entries == len(before[SAME[1]])
    own = "SELECT count(maker_position) + count(taker_position) FROM trades"
    assert rows(path, "SELECT count(*) FROM executions") == rows(path, own)
    if schema < NEWEST:
        kept = f"{path}.schema{schema}"
        assert version(kept) == schema
        assert {query: rows(kept, query) for query in SAME} == before
        with pytest.raises(StoreError, match="backup copy"):
            Database(kept).open()


@pytest.mark.parametrize("schema", SCHEMAS)
def test_two_peers_go_on_trading_on_the_stores_of_each_schema(schema: int, tmp_path: Path) -> None:
    paths = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        paths.append(unpacked(f"schema{schema}-{name}", tmp_path / name))
    clock = "SELECT value FROM meta WHERE name = 'clock_floor_ms'"
    network = Network(2, start=max(rows(path, clock)[0][0] for path in paths) / 1000 + 60)
    for number, path in enumerate(paths):
        network.peers[number].database = database = Database(path)
        database.open()
        network.restart(number)
    one, other = network[0], network[1]
    (doubted,) = [own.live for own in one.ledger.own.values() if own.live.reserved]
    network.mesh()
    network.run(60)
    # The fill in doubt was not made; what it held traded then.
    assert (doubted.reserved, doubted.filled) == (0, 10_000)
    assert network.book(0) == network.book(1)
    (waiting,) = [own.live for own in other.ledger.own.values() if not own.live.triggered]
    network.place(0, "buy", 30_000, 8_900)
    sold = network.place(0, "sell", 60_000, 8_900)  # all bids, down to the stop's price
    network.run(5)
    assert sold.filled == 60_000
    assert waiting.filled == 10_000
    for peer in network.peers:
        conserved(peer.node)
        peer.database.close()
    for path in paths:
        proof = prove(path, Verifier(Ed25519(), "test"))
        assert proof.holds, proof.problems


#: Opens a store 0, 1, 2... statements long, in a child that is killed before the next one; each in
#: a directory of its own, until one goes through.
KILLED = """
    import functools, itertools, os, pathlib, signal, sqlite3, sys
    from grenache_py.exchange.storage.database import Database

    left = 0

    def step():
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    class Killed(sqlite3.Connection):
        def execute(self, sql, *more):
            step()
            return super().execute(sql, *more)

        def executescript(self, sql):
            statement = ""
            for part in sql.split(";"):
                statement += part + ";"
                if sqlite3.complete_statement(statement):
                    self.execute(statement)
                    statement = ""
            return self.cursor()

    def counted(call):
        def after_a_step(*arguments, **more):
            step()
            return call(*arguments, **more)
        return after_a_step

    sqlite3.connect = functools.partial(sqlite3.connect, factory=Killed)
    os.rename, os.remove = counted(os.rename), counted(os.remove)
    store, folder = pathlib.Path(sys.argv[1]).read_bytes(), sys.argv[2]
    for statements in itertools.count():
        path = pathlib.Path(folder, str(statements), "exchange.sqlite")
        path.parent.mkdir()
        path.write_bytes(store)
        child = os.fork()
        if child == 0:
            left = statements
            Database(str(path)).open()
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            break
"""


@pytest.mark.parametrize("schema", range(1, NEWEST))
def test_an_upgrade_killed_at_any_statement_leaves_the_old_file_or_the_new_one(
    schema: int, tmp_path: Path
) -> None:
    path = unpacked(f"schema{schema}-one", tmp_path)
    old = dump(path)
    (tmp_path / "killed").mkdir()
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), path, str(tmp_path / "killed")],
        check=True,
        timeout=300,
        cwd=ROOT,
    )
    upgrade(path)
    new, copied = dump(path), dump(f"{path}.schema{schema}")
    found = []
    folders = sorted((tmp_path / "killed").iterdir(), key=lambda folder: int(folder.name))
    for folder in folders:
        killed = str(folder / "exchange.sqlite")
        found.append(dump(killed))
        upgrade(killed)  # what the next start does
        assert dump(killed) == new, folder.name
        assert dump(f"{killed}.schema{schema}") == copied
        left = {"exchange.sqlite", f"exchange.sqlite.schema{schema}"}
        assert {file.name for file in folder.iterdir()} == left, folder.name
    olds = found.count(old)
    assert found == [old] * olds + [new] * (len(found) - olds)
    assert olds > len(schema_steps()[schema].split(";")) and found[-1] == new
