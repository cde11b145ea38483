"""Playing a log again: it leads to the stored book, and whatever was changed is found."""

from __future__ import annotations

import csv
import io
import json
import random
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from grenache_py.exchange.audit.export import prove, write_csv, write_jsonl
from grenache_py.exchange.audit.proof import Proof, compare
from grenache_py.exchange.audit.replay import LogReplay
from grenache_py.exchange.cli.commands import exchange
from grenache_py.exchange.errors import OrderError, StoreError
from grenache_py.exchange.market.stored_steps import markets_of
from grenache_py.exchange.signed_log.keys import Ed25519
from grenache_py.exchange.signed_log.merkle import Verifier
from grenache_py.exchange.storage import snapshot
from grenache_py.exchange.storage.copies import copy
from grenache_py.exchange.storage.database import Database
from grenache_py.exchange.storage.retention import Retention, plan
from tests.support.peers import Network


def traded(seed: int, steps: int = 60) -> Network:
    """Three peers that traded with each other for a while."""
    rng = random.Random(seed)
    network = Network(3)
    network.mesh()
    placed: list[tuple[int, str]] = []
    for _ in range(steps):
        network.run(rng.choice((0.25, 0.25, 5.0)))
        number = rng.randrange(3)
        try:
            if placed and rng.random() < 0.3:
                home, order_id = rng.choice(placed)
                network[home].cancel(order_id, network.now)
                network.settle()
            else:
                kind = rng.choice(("limit", "limit", "limit", "market", "stop"))
                price = rng.randrange(9_995, 10_006)
                live = network.place(
                    number,
                    rng.choice(("buy", "sell")),
                    rng.randrange(1, 9),
                    price if kind == "limit" else None,
                    type=kind,
                    stop_ticks=price if kind == "stop" else None,
                    account=rng.choice(("a", "b")),
                )
                placed.append((number, live.order_id))
        except OrderError:
            pass
        if rng.random() < 0.05:
            network.restart(number)
    network.run(10)
    return network


def proof_of(database: Database, verifier: Verifier | None = None) -> Proof:
    connection = database.connection
    replay = LogReplay(markets_of(snapshot.meta(connection)), verifier)
    for row in snapshot.all_log_entries(connection):
        replay.apply(row)
    return compare(
        replay, snapshot.all_orders(connection, live_only=True), snapshot.all_trades(connection)
    )


@pytest.fixture(scope="module")
def network() -> Network:
    """Shared by tests that only read."""
    return traded(seed=1)


@pytest.mark.parametrize("seed", range(2, 6))
def test_the_log_of_every_home_leads_to_its_book(seed: int) -> None:
    network = traded(seed)
    for number, peer in enumerate(network.peers):
        proof = proof_of(peer.database, Verifier(Ed25519(), "test"))
        assert proof.holds, proof.problems
        assert proof.gaps == 0 and proof.beats > 5
        own = [live for live in network[number].open_orders() if live.triggered]
        standing, follows, stored = proof.books["BTC-USD"]
        assert standing == sum(live.open > 0 for live in own)
        assert follows == stored
        assert proof.live_orders == len(own)
        assert proof.home == network[number].ledger.home


def test_a_log_whose_old_entries_were_forgotten_still_proves_the_book() -> None:
    database = traded(seed=7).peers[0].database
    before = proof_of(database)
    for _ in database.prune(plan(database.connection, Retention(log_entries_max=10), 0)):
        pass
    after = proof_of(database)
    assert after.holds, after.problems
    assert after.entries < before.entries and after.gaps > 0
    assert after.books == before.books


def test_a_new_epoch_begins_with_nothing() -> None:
    network = traded(seed=8)
    network.restart(0, new_epoch=True)
    network.run(10)
    network.place(0, "buy", 5, 9_000)
    proof = proof_of(network.peers[0].database)
    assert proof.holds, proof.problems
    assert proof.live_orders == 1


@pytest.mark.parametrize(
    ("sql", "match"),
    [
        ("DELETE FROM orders WHERE position = (SELECT min(position) FROM orders WHERE live = 1 "
         "AND order_seq > 0)", "the store does not have it"),
        ("UPDATE orders SET open = open - 1, filled = filled + 1 WHERE position = "
         "(SELECT min(position) FROM orders WHERE live = 1 AND open > 0 AND order_seq > 0)",
         "another state"),
        ("UPDATE orders SET price_ticks = price_ticks + 1 WHERE live = 1 AND order_seq > 0",
         "the book of BTC-USD"),
        ("UPDATE trades SET price_ticks = price_ticks + 1 WHERE number = (SELECT number FROM "
         "trades WHERE maker_home = (SELECT max(maker_home) FROM trades) LIMIT 1)", "trade"),
        ("UPDATE log SET payload = replace(payload, '\"seq\":5,', '\"seq\":6,') "
         "WHERE position & 1023 = 5", "says it is entry"),
        ("UPDATE log SET payload = replace(payload, '\"quantity\":\"0.000', "
         "'\"quantity\":\"0.001')", "hash"),
        ("UPDATE log SET signature = zeroblob(64) WHERE position & 1023 = 7", "signature"),
        ("UPDATE log SET hash = (SELECT hash FROM log AS other WHERE other.position = "
         "log.position + 1) WHERE position & 1023 = 9", "hash"),
    ],
)  # fmt: skip
def test_whatever_was_changed_afterwards_is_found(network: Network, sql: str, match: str) -> None:
    found = []
    for peer in network.peers:  # not every home has what a statement changes
        database = peer.copy_of_disk()
        if database.connection.execute(sql).rowcount:
            found += proof_of(database, Verifier(Ed25519(), "test")).problems
        database.close()
    assert any(match in problem for problem in found), found


@pytest.fixture
def backup(network: Network, tmp_path: Path) -> str:
    path = str(tmp_path / "backup.sqlite")
    copy(network.peers[0].database.connection, path)
    return path


def test_a_backup_can_be_proven_and_exported(network: Network, backup: str) -> None:
    entries = network[0].ledger.log.seq
    told: list[int] = []
    proof = prove(backup, told=told.append)
    assert (proof.holds, proof.entries) == (True, entries)

    out = io.StringIO()
    count = write_csv(backup, "orders", out)
    records = list(csv.DictReader(io.StringIO(out.getvalue())))
    stored = list(snapshot.all_orders(network.peers[0].database.connection))
    assert len(records) == count == len(stored)
    for record, row in zip(records, stored, strict=True):
        assert record["order_id"] == row.order_id
        assert round(float(record["quantity"]) * 10_000) == row.quantity_lots
        assert round(float(record["filled"]) * 10_000) == row.filled
        assert round(float(record["price"] or 0) * 100) == row.price_ticks
        assert record["status"] in ("new", "partially_filled", "filled", "cancelled")

    out = io.StringIO()
    count = write_jsonl(backup, "trades", out)
    trades = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(trades) == count > 0
    assert set(trades[0]) == {
        "trade_id", "market", "price", "quantity", "side", "maker_order", "taker_order",
        "maker_home", "taker_home", "time",
    }  # fmt: skip

    out = io.StringIO()
    assert write_jsonl(backup, "log", out) == entries
    assert json.loads(json.loads(out.getvalue().splitlines()[0])["payload"])["seq"] == 1


def test_the_tool_proves_and_exports(backup: str, tmp_path: Path) -> None:
    runner = CliRunner()
    shown = runner.invoke(exchange, ["replay", backup])
    assert shown.exit_code == 0, shown.output
    assert "proven" in shown.output and "yes" in shown.output
    proof = json.loads(runner.invoke(exchange, ["--json", "replay", backup]).output)
    assert proof["holds"] is True
    exported = runner.invoke(exchange, ["export", "trades", backup, "--format", "jsonl"])
    assert exported.exit_code == 0
    assert json.loads(exported.output.splitlines()[0])["market"] == "BTC-USD"

    def times(*words: str) -> list[str]:
        done = runner.invoke(exchange, ["export", "orders", backup, *words])
        assert done.exit_code == 0, done.output
        return [row["updated"] for row in csv.DictReader(io.StringIO(done.output))]

    middle = sorted(times(), key=int)[len(times()) // 2]
    late = [time for time in times() if int(time) >= int(middle)]
    assert times("--since", middle) == late and 0 < len(late) < len(times())
    shown = times("--since", middle, "--iso")
    moments = [datetime.fromisoformat(text.replace("Z", "+00:00")) for text in shown]
    assert [round(moment.timestamp() * 1000) for moment in moments] == list(map(int, late))
    assert times("--since", min(shown)) == late
    assert times("--since", "2999-01-01") == []
    nothing = ["--fail-empty", "export", "orders", backup, "--since", "2999-01-01"]
    assert runner.invoke(exchange, nothing).exit_code == 3
    for words in (["orders", backup, "--since", "noon"], ["log", backup, "--since", "0"]):
        assert runner.invoke(exchange, ["export", *words]).exit_code == 2

    broken = Database(backup, accept_copy=True)
    broken.open()
    broken.connection.execute("UPDATE orders SET price_ticks = price_ticks + 1")
    broken.close()
    shown = runner.invoke(exchange, ["replay", backup])
    assert shown.exit_code == 1
    assert "not the one that follows" in shown.output


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no such file"):
        prove(str(tmp_path / "nothing"))
    (tmp_path / "text").write_text("no database, only text, long enough to be looked at" * 50)
    with pytest.raises(StoreError, match="not an SQLite database"):
        prove(str(tmp_path / "text"))
    empty = str(tmp_path / "empty.sqlite")
    Path(empty).write_bytes(b"")
    with pytest.raises(StoreError, match="not the store of an exchange"):
        write_csv(empty, "orders", io.StringIO())
