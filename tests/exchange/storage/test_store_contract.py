"""The contract of a store, which every kind of store is held to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from grenache_py.exchange.effects.rows import MetaRow, RecordChanged, RecordGone, RecordRow
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage.database import Database
from grenache_py.exchange.storage.retention import Retention
from tests.exchange.storage.test_store import make_store
from tests.support.databases import postgresql_store
from tests.support.store_rows import event_row, log_row, order_row, trade_row

KEEP = Retention(closed_orders_max=10, trades_max=5)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made: Any
    if request.param == "sqlite":
        made = make_store(tmp_path, keep=KEEP)
    else:
        made = postgresql_store(request.getfixturevalue("server").database(), keep=KEEP)
    yield made
    pytest_twisted.blockon(made.close())


@pytest_twisted.ensureDeferred
async def test_what_was_committed_is_there_after_opening_again(store: Any) -> None:
    assert (await store.open()).meta == {}
    await store.commit([MetaRow("epoch", 1), MetaRow("clock_floor_ms", 5)])
    await store.commit([MetaRow("clock_floor_ms", 9)])
    await store.close()
    assert (await store.open()).meta == {"epoch": 1, "clock_floor_ms": 9}


@pytest_twisted.ensureDeferred
async def test_commits_that_wait_for_each_other_keep_their_order(store: Any) -> None:
    await store.open()
    waiting = [store.commit([MetaRow("epoch", n)]) for n in range(20)]
    for commit in waiting:
        await commit
    assert (await store.open()).meta == {"epoch": 19}


@pytest_twisted.ensureDeferred
async def test_a_store_that_is_not_open_says_so(store: Any) -> None:
    for call in (store.commit([MetaRow("epoch", 1)]), store.order("x"), store.counts()):
        with pytest.raises(StoreError, match="not open") as error:
            await call
        assert error.value.fault == "closed"
    await store.close()


@pytest_twisted.ensureDeferred
async def test_reads_see_every_batch_that_was_acknowledged(store: Any) -> None:
    await store.open()
    for n in range(1, 30):
        order = order_row(n, live=False, client_order_id=f"c{n}")
        await store.commit([order, event_row("alice", n, order), trade_row(n), log_row(n)])
        assert await store.order(order.order_id) == order
        assert await store.order_by_client_id("alice", f"c{n}") == order
        assert store.may_have_used("alice", f"c{n}")
        assert await store.order_events("alice", n, 9) == [(event_row("alice", n, order), order)]
        assert (await store.trades("BTC-USD", 1)) == [trade_row(n)]
        assert await store.log_entries(1, n, 99) == [log_row(n)]
    assert (await store.counts()).orders == 29
    assert len(await store.orders(9, account="alice", status="closed")) == 9
    assert [c.trades for c in await store.candles("BTC-USD", 60_000, 0, 99)] == [29]
    volume = sum(trade_row(n).quantity_lots for n in range(1, 30))
    assert await store.volume_lots("BTC-USD", 0) == volume
    assert store.size_bytes > 50_000


@pytest_twisted.ensureDeferred
async def test_client_ids_of_an_earlier_life_are_known(store: Any) -> None:
    await store.open()
    await store.commit([order_row(1, live=False, client_order_id="once")])
    await store.close()
    await store.open()
    assert await store.order("after the filter was built") is None
    assert store.may_have_used("alice", "once")
    assert not store.may_have_used("alice", "never")
    assert not store.may_have_used("bob", "once")


@pytest_twisted.ensureDeferred
async def test_history_is_forgotten_while_commits_go_on(store: Any) -> None:
    await store.open()
    rows = [order_row(n, live=False, client_order_id=f"c{n}") for n in range(3000)]
    await store.commit([*rows, *map(trade_row, range(3000))])
    pruning = store.prune(now_ms=3000)
    for n in range(3000, 3010):
        await store.commit([order_row(n)])
    # All but 10 closed orders and 5 trades.
    assert await pruning == 2990 + 2995
    counts = await store.counts()
    assert (counts.orders, counts.live_orders, counts.trades) == (20, 10, 5)
    assert all(store.may_have_used("alice", f"c{n}") for n in range(2990, 3000))


@pytest_twisted.ensureDeferred
async def test_opening_again_ends_the_forgetting_under_way(store: Any) -> None:
    await store.open()
    await store.commit([order_row(n, live=False, client_order_id=f"c{n}") for n in range(3000)])
    pruning = store.prune(now_ms=3000)
    await store.open()
    await pruning
    assert await store.order("after the filter was built") is None
    left = await store.orders(5000)
    assert len(left) >= 10
    assert all(store.may_have_used(row.account, row.client_order_id) for row in left)


@pytest_twisted.ensureDeferred
async def test_a_backup_is_one_moment_while_trading_goes_on(store: Any, tmp_path: Path) -> None:
    await store.open()
    await store.commit([order_row(n) for n in range(3000)])
    target = str(tmp_path / "backup.sqlite")
    copying = store.backup(target)
    for n in range(3000, 3050):
        await store.commit([order_row(n), log_row(n)])
    await copying
    copy = Database(target, accept_copy=True)
    copy.open()
    snapshot = copy.load()
    assert [row.time_ms for row in snapshot.orders] == list(range(len(snapshot.orders)))
    assert len(snapshot.log_tail) == len(snapshot.orders) - 3000
    copy.close()
    with pytest.raises(StoreError, match="exists"):
        await store.backup(target)
    with pytest.raises(StoreError, match="backup"):
        await store.backup(str(tmp_path / "nowhere" / "backup.sqlite"))
    with pytest.raises(StoreError, match="NUL"):
        await store.backup(str(tmp_path / "a\0b"))
    await store.commit([order_row(9999)])


@pytest_twisted.ensureDeferred
async def test_an_order_of_another_home_is_read_with_its_newest_state(store: Any) -> None:
    await store.open()
    rows = [
        RecordRow(f"{n:032x}", "h", 1, f"order {n}", b"\1", 0, 2, b"\2", "", b"", 0, 0, b"")
        for n in range(5)
    ]
    await store.commit(rows)
    states = [
        RecordChanged(row.order_id, 2, f"state of {row.order_payload}", b"\3", 1, 3, b"\4")
        for row in rows[1:4]
    ]
    await store.commit([*states, RecordGone(rows[3].order_id)])
    found = {row.order_id: row for row in await store.records([row.order_id for row in rows[:4]])}
    changed = [row._replace(version=2) for row in rows[1:3]]
    assert found == {
        rows[0].order_id: rows[0],
        **{
            row.order_id: RecordRow(*row[:8], *state[2:])
            for row, state in zip(changed, states, strict=False)
        },
    }
    assert await store.records(["f" * 32]) == []
