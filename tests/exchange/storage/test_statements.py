"""The stores' SQL, on every kind of database."""

from __future__ import annotations

import random
import re
import typing
from itertools import chain
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from grenache_py.exchange.effects import rows
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage import history as sqlite_history
from grenache_py.exchange.storage import retention
from grenache_py.exchange.storage import snapshot as snapshot_reading
from grenache_py.exchange.storage import statements as tables
from grenache_py.exchange.storage.history import Candle
from grenache_py.exchange.storage.retention import Retention
from tests.support.databases import Engine
from tests.support.memory_database import MemoryDatabase
from tests.support.store_rows import event_row, log_row, order_row, sample, trade_row


@pytest.fixture
def database(engine: Engine) -> Any:
    return engine.fresh()


def restarted(engine: Engine, written: list[typing.Any]) -> rows.Snapshot:
    """What a home that wrote ``written`` in one batch starts from."""
    database = engine.fresh()
    database.commit(written)
    found: rows.Snapshot = database.load()
    return found


@pytest.mark.parametrize(
    ("kind", "held"),
    [
        (rows.LogRow, "log_tail"),
        (rows.OrderRow, "orders"),
        (rows.TradeRow, "trades"),
        (rows.IntentRow, "intents"),
        (rows.AnswerRow, "answers"),
        (rows.OriginRow, "origins"),
        (rows.RecordRow, "records"),
    ],
)
def test_every_field_of_a_row_comes_back_as_it_was(engine: Engine, kind: type, held: str) -> None:
    # 150 rows: statements of every size are used.
    fields = {"market": "M"} if kind is rows.TradeRow else {}
    written = [sample(kind, number, **fields) for number in range(150)]
    if kind is rows.OriginRow:
        written.sort(key=lambda row: row.origin)
    assert getattr(restarted(engine, written), held) == written


def test_every_row_type_has_its_statement(database: Any) -> None:
    database.commit([sample(kind) for kind in typing.get_args(rows.Row)])


def test_an_order_is_kept_as_it_was_written_last(database: Any) -> None:
    first = order_row(5)
    database.commit([first])
    database.commit([last := first._replace(open=0, filled=10, value=10**30, live=0, key_ms=99)])
    assert database.load().orders == [last]


def test_an_order_that_promises_more_than_it_has_is_refused(database: Any) -> None:
    with pytest.raises(StoreError, match="conservation") as error:
        database.commit([rows.MetaRow("epoch", 1), order_row(1, open=9, reserved=2)])
    assert error.value.fault == "bug"
    with pytest.raises(StoreError) as closed:
        database.load()
    assert closed.value.fault == "closed"


def test_an_order_is_never_written_over_another_one(database: Any) -> None:
    database.commit([order_row(1)])
    with pytest.raises(StoreError) as error:
        database.commit([order_row(1, order_id="f" * 32)])
    assert error.value.fault == "bug"


def test_a_number_beyond_64_bits_is_a_store_error_and_not_a_crash(database: Any) -> None:
    with pytest.raises(StoreError) as error:
        database.commit([rows.MetaRow("epoch", 2**63)])
    assert error.value.fault == "bug"


def test_a_trade_told_by_both_sides_is_kept_once(engine: Engine) -> None:
    assert restarted(engine, [trade_row(1), trade_row(1), trade_row(2)]).trades == [
        trade_row(1),
        trade_row(2),
    ]


def test_what_is_settled_or_gone_is_not_loaded(database: Any) -> None:
    intent, answer, record = (
        sample(kind) for kind in (rows.IntentRow, rows.AnswerRow, rows.RecordRow)
    )
    database.commit([intent, answer, record])
    database.commit(
        [intent._replace(done=1), rows.AnswerGone(answer[0]), rows.RecordGone(record[0])]
    )
    snapshot = database.load()
    assert (snapshot.intents, snapshot.answers, snapshot.records) == ([], [], [])


def test_a_fill_is_settled_in_the_batch_that_asked_for_it_or_later(database: Any) -> None:
    first, second = (sample(rows.IntentRow, number, done=0) for number in (1, 2))
    database.commit([rows.IntentSettled(first.fill_id), first, second])
    assert database.load().intents == [second]
    database.commit([rows.IntentSettled(second.fill_id)])
    assert database.load().intents == []


def test_an_answer_is_settled_in_the_batch_that_gave_it_or_later(database: Any) -> None:
    first, second = (sample(rows.AnswerRow, number, unsettled=1) for number in (1, 2))
    database.commit([rows.AnswerSettled(first.fill_id), first, second])
    assert database.load().answers == [first._replace(unsettled=0), second]
    database.commit([rows.AnswerSettled(second.fill_id)])
    assert [answer.unsettled for answer in database.load().answers] == [0, 0]


def test_an_answer_never_changes_but_for_its_taker(database: Any) -> None:
    answer = sample(rows.AnswerRow, unsettled=1)
    database.commit([answer])
    database.commit([answer._replace(unsettled=0, payload="another", signature=b"another")])
    assert database.load().answers == [answer._replace(unsettled=0)]


def test_live_orders_come_with_the_entries_that_prove_them(engine: Engine) -> None:
    snapshot = restarted(
        engine,
        [
            *(log_row(seq, epoch=1) for seq in range(1, 9)),
            *(log_row(seq, epoch=7) for seq in range(1, 9)),
            order_row(1, order_seq=2, state_seq=6),
            order_row(2, order_seq=3, state_seq=3),
            order_row(3, order_seq=0, state_seq=0),  # a stop nobody knows of
            order_row(4, live=False, order_seq=4, state_seq=5),
        ],
    )
    assert snapshot.order_logs == {seq: log_row(seq, epoch=7) for seq in (2, 3, 6)}
    assert snapshot.head == log_row(8, epoch=7)


def test_the_snapshot_is_bounded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("LOG_TAIL_MAX", "CLOSED_ORDERS_MAX", "TRADES_PER_MARKET_MAX"):
        monkeypatch.setattr(snapshot_reading, limit, 3)
    snapshot = restarted(
        engine,
        [
            *(log_row(seq) for seq in range(1, 9)),
            order_row(1),
            *(order_row(n, live=False, updated_ms=100 - n) for n in range(2, 9)),
            *(trade_row(n, market=market) for n, market in enumerate("ABABABABAB")),
        ],
    )
    assert [row.seq for row in snapshot.log_tail] == [6, 7, 8]
    # Live ones first, then those that closed last, the newest at the end.
    assert [row.time_ms for row in snapshot.orders] == [1, 4, 3, 2]
    assert [(row.market, row.time_ms) for row in snapshot.trades] == [
        *(("A", n) for n in (4, 6, 8)),
        *(("B", n) for n in (5, 7, 9)),
    ]


def test_orders_are_paged_newest_first(engine: Engine, database: Any) -> None:
    alice = [order_row(n, live=n % 3 == 0) for n in range(1, 30)]
    bob = [order_row(n, account="bob", market="ETH-USD") for n in range(30, 40)]
    database.commit([*alice, *bob])
    connection = database.connection
    pages = [engine.history.orders(connection, 7)]
    while pages[-1]:
        pages.append(engine.history.orders(connection, 7, after=pages[-1][-1].order_id))
    assert list(chain.from_iterable(pages)) == [*alice, *bob][::-1]
    assert engine.history.orders(connection, 99, account="bob", market="BTC-USD") == []
    assert engine.history.orders(connection, 99, market="ETH-USD") == bob[::-1]
    opened = engine.history.orders(connection, 99, account="alice", status="open")
    closed = engine.history.orders(connection, 99, account="alice", status="closed")
    assert opened == [row for row in alice[::-1] if row.live]
    assert closed == [row for row in alice[::-1] if not row.live]
    assert engine.history.orders(connection, 99, after="no such order") is None
    assert engine.history.order(connection, alice[4].order_id) == alice[4]
    assert engine.history.order(connection, "no such order") is None


def test_an_order_is_found_by_its_client_id_within_its_account(
    engine: Engine, database: Any
) -> None:
    database.commit(
        [
            order_row(1, client_order_id="x", live=False),
            order_row(2, client_order_id="x", live=False),
            order_row(3, client_order_id="x", account="bob"),
            order_row(4),
        ]
    )
    connection = database.connection
    found = engine.history.order_by_client_id(connection, "alice", "x")
    assert found is not None and found.time_ms == 2
    assert engine.history.order_by_client_id(connection, "carol", "x") is None
    assert engine.history.order_by_client_id(connection, "alice", "") is None


def test_trades_follow_in_the_order_they_were_learned(engine: Engine, database: Any) -> None:
    learned = [trade_row(n, time_ms=time) for n, time in enumerate((5, 9, 7, 8, 1))]
    database.commit([*learned, trade_row(99, market="ETH-USD")])
    connection = database.connection
    assert engine.history.trades(connection, "BTC-USD", 2) == learned[3:]
    first = engine.history.trades(connection, "BTC-USD", 2, after=learned[0].trade_id)
    assert first == learned[1:3]
    assert engine.history.trades(connection, "BTC-USD", 9, after=first[-1].trade_id) == learned[3:]
    assert engine.history.trades(connection, "BTC-USD", 9, after="no such trade") is None


def test_the_trades_of_an_order_are_those_it_made_or_took(engine: Engine, database: Any) -> None:
    one, two, three = (order_row(n) for n in (1, 2, 3))
    others = {"maker_order": "a stranger's", "taker_order": "a stranger's"}
    database.commit([one, trade_row(1, **others | {"taker_order": one.order_id})])
    database.commit([two, trade_row(2, maker_order=two.order_id, taker_order=one.order_id), one])
    database.commit([trade_row(9, **others)])
    database.commit([three, trade_row(3, **others | {"maker_order": two.order_id}), two])

    def times(row: rows.OrderRow, limit: int) -> list[int]:
        return [
            trade.time_ms for trade in engine.history.trades_of(database.connection, row, limit)
        ]

    assert (times(one, 9), times(two, 9), times(two, 1), times(three, 9)) == (
        [1, 2],
        [2, 3],
        [3],
        [],
    )


def test_a_trade_heard_before_its_order_is_settled_is_found_with_it(
    engine: Engine, database: Any
) -> None:
    maker, taker = order_row(1), order_row(2)
    trade = trade_row(1, maker_order=maker.order_id, taker_order=taker.order_id)
    database.commit([trade])  # a neighbour was faster than the answer
    database.commit([maker, taker])
    assert engine.history.trades_of(database.connection, taker, 9) == []
    database.commit([maker, taker, trade])
    database.commit([trade])
    assert engine.history.trades_of(database.connection, taker, 9) == [trade]
    assert engine.history.trades_of(database.connection, maker, 9) == [trade]
    assert [
        bar.trades for bar in engine.history.candles(database.connection, "BTC-USD", 60_000, 0, 9)
    ] == [1]


def test_events_come_with_their_order_as_it_is_now(engine: Engine, database: Any) -> None:
    before, after = order_row(1), order_row(1, live=False)
    database.commit([before, event_row("alice", 1, before), event_row("bob", 1, before)])
    database.commit([after, event_row("alice", 2, after)])
    found = engine.history.order_events(database.connection, "alice", 1, 9)
    assert found == [(event_row("alice", 1, before), after), (event_row("alice", 2, after), after)]
    assert engine.history.order_events(database.connection, "alice", 3, 9) == []
    assert database.load().event_seqs == {"alice": 2, "bob": 1}


@given(seed=st.integers(0, 2**32), shelf=st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_what_stands_on_many_shelves_is_found_as_if_on_one(
    engines: list[Engine], seed: int, shelf: int
) -> None:
    for engine in engines:
        see_that_what_stands_on_many_shelves_is_found_as_if_on_one(engine, seed, shelf)


def see_that_what_stands_on_many_shelves_is_found_as_if_on_one(
    engine: Engine, seed: int, shelf: int
) -> None:
    rng = random.Random(seed)
    written: dict[int, rows.OrderRow] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "ORDERS_PER_SHELF", shelf)
        patch.setattr(sqlite_history, "SHELVES_AT_FIRST", 2)
        database = engine.fresh()
        for n in range(rng.randrange(1, 60)):
            if engine.shelves and rng.random() < 0.1:
                database._shelf = tables.Shelf.of(database.connection)  # as after a restart
            row = order_row(
                n,
                live=rng.random() < 0.3,
                order_id=f"{rng.getrandbits(128):032x}",
                account=rng.choice("ab"),
                client_order_id=rng.choice(["", "x", "y"]),
            )
            present = engine.history.orders(database.connection, 99)
            if rng.random() < 0.2 and present:
                row = rng.choice(present)._replace(version=n)
            written[row.time_ms] = row
            database.commit([row])
            if rng.random() < 0.1:
                prune(database, Retention(closed_orders_max=20), 0)
        connection = database.connection
        left = engine.history.orders(connection, 99)
        assert all(written[row.time_ms] == row for row in left)
        assert [row.time_ms for row in left] == sorted((row.time_ms for row in left), reverse=True)
        for row in left:
            assert engine.history.order(connection, row.order_id) == row
        for account in "abc":
            limit = rng.randrange(1, 9)
            of = [row for row in left if row.account == account]
            assert engine.history.orders(connection, limit, account=account) == of[:limit]
            if len(of) > 2:
                page = engine.history.orders(
                    connection, limit, account=account, after=of[1].order_id
                )
                assert page == of[2 : 2 + limit]
            for name in ("x", "z"):
                named = [row for row in of if row.client_order_id == name]
                found = engine.history.order_by_client_id(connection, account, name)
                assert found == (named[0] if named else None)
    database.close()


def test_events_and_trades_on_many_shelves_are_found_as_if_on_one(
    engine: Engine, database: Any
) -> None:
    rng = random.Random(8)
    seqs = {"a": 0, "b": 0}
    events: list[rows.OrderEventRow] = []
    for n in range(5_000):
        account = "a" if rng.random() < 0.01 else "b"
        seqs[account] += 1
        events.append(event_row(account, seqs[account], order_row(n)))
    trades = [trade_row(n, trade_id=f"{rng.getrandbits(128):032x}") for n in range(3_000)]
    database.commit([*events, *trades])
    connection = database.connection

    def found(account: str, first: int, limit: int) -> list[rows.OrderEventRow]:
        return [
            event for event, _ in engine.history.order_events(connection, account, first, limit)
        ]

    def numbered(account: str, first: int) -> list[rows.OrderEventRow]:
        return [event for event in events if event.account == account and event.seq >= first]

    for first in (0, 1, 7, seqs["a"], seqs["a"] + 1):
        assert found("a", first, 9) == numbered("a", first)[:9]
    for first in (1, 1_000, 4_000):
        assert found("b", first, 700) == numbered("b", first)[:700]
    prune(database, Retention(order_events_max=500), 0)
    oldest = next(event for event in events[-500:] if event.account == "b")
    assert found("b", 1, 5) == numbered("b", oldest.seq)[:5]  # the caller sees what is gone
    for n in (0, 1_023, 1_024, 2_000, 2_999):
        after = engine.history.trades(connection, "BTC-USD", 2, after=trades[n].trade_id)
        assert after == trades[n + 1 : n + 3]


def test_no_question_of_a_client_reads_whole_tables() -> None:
    asked: list[str] = []
    database, history = MemoryDatabase(), sqlite_history
    connection = database.connection
    row = order_row(1, client_order_id="x")
    database.commit([row, event_row("alice", 1, row), trade_row(1), log_row(1)])
    connection.set_trace_callback(asked.append)
    history.order(connection, row.order_id)
    history.order_by_client_id(connection, "alice", "x")
    history.orders(connection, 9)
    history.orders(connection, 9, account="alice", after=row.order_id)
    history.trades(connection, "BTC-USD", 9)
    history.trades(connection, "BTC-USD", 9, after=trade_row(1).trade_id)
    history.trades_of(connection, row, 9)
    history.candles(connection, "BTC-USD", 60_000, None, 9)
    history.volume_lots(connection, "BTC-USD", 0)
    history.order_events(connection, "alice", 1, 9)
    history.log_entries(connection, 1, 1, 9)
    history.evidence(connection, 1)
    connection.set_trace_callback(None)
    assert len(asked) > 15
    for sql in asked:
        plan = [step[3] for step in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
        for step in plan:
            if re.match(r"SCAN (orders|order_events|trades|bars|log|evidence)\b", step):
                # Newest first by position, with a limit: it walks no further than the page.
                assert "ORDER BY position DESC" in sql, (sql, plan)
            # Of a shelf it reads what it looks for, not all.
            assert not re.search(r"\((shelf|<expr>)=\?\)", step), (sql, plan)


@given(
    seed=st.integers(0, 2**32),
    minutes=st.sampled_from([1, 7, 60, 1440]),
    since=st.integers(0, 40),
    limit=st.integers(1, 9),
)
@example(seed=0, minutes=1, since=40, limit=1)  # nothing that late
@settings(max_examples=60, deadline=None)
def test_candles_are_what_a_loop_over_the_trades_gives(
    engines: list[Engine], seed: int, minutes: int, since: int, limit: int
) -> None:
    for engine in engines:
        see_that_candles_are_what_a_loop_over_the_trades_gives(engine, seed, minutes, since, limit)


def see_that_candles_are_what_a_loop_over_the_trades_gives(
    engine: Engine, seed: int, minutes: int, since: int, limit: int
) -> None:
    rng = random.Random(seed)
    trades = [
        trade_row(n, rng, time_ms=rng.randrange(400) * 6_000, market=rng.choice("AB"))
        for n in range(60)
    ]
    database = engine.fresh()
    database.commit(trades)
    database.commit(trades[::7])  # told again: counted once
    interval = minutes * 60_000
    since = since * 60_000 // interval * interval
    expected: dict[int, list[rows.TradeRow]] = {}
    for trade in sorted(trades, key=lambda trade: trade.time_ms):  # stable: as learned
        if trade.market == "A" and trade.time_ms >= since:
            expected.setdefault(trade.time_ms // interval * interval, []).append(trade)
    candles = [
        Candle(
            start,
            group[0].price_ticks,
            max(trade.price_ticks for trade in group),
            min(trade.price_ticks for trade in group),
            group[-1].price_ticks,
            sum(trade.quantity_lots for trade in group),
            len(group),
        )
        for start, group in sorted(expected.items())
    ]
    assert (
        engine.history.candles(database.connection, "A", interval, since, limit) == candles[:limit]
    )
    newest = engine.history.candles(database.connection, "A", interval, None, limit)
    common = min(limit, len(candles))
    assert newest[len(newest) - common :] == candles[len(candles) - common :]
    volume = sum(t.quantity_lots for t in trades if t.market == "A" and t.time_ms >= since)
    assert engine.history.volume_lots(database.connection, "A", since) == volume


def test_counts(database: Any) -> None:
    assert set(snapshot_reading.counts(database.connection)) == {0}
    database.commit([order_row(1), order_row(2, live=False), *map(trade_row, range(5))])
    counts = snapshot_reading.counts(database.connection)
    assert (counts.orders, counts.live_orders, counts.trades) == (2, 1, 5)


# Retention.


def prune(database: Any, keep: Retention, now_ms: int) -> int:
    return sum(database.prune(retention.plan(database.connection, keep, now_ms)))


@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_pruning_takes_the_oldest_and_nothing_that_lives(engines: list[Engine], seed: int) -> None:
    for engine in engines:
        see_that_pruning_takes_the_oldest_and_nothing_that_lives(engine, seed)


def see_that_pruning_takes_the_oldest_and_nothing_that_lives(engine: Engine, seed: int) -> None:
    rng = random.Random(seed)
    database = engine.fresh()
    entries = [log_row(seq, epoch=3) for seq in range(1, rng.randrange(2, 80))]
    seqs = range(1, len(entries) + 1)
    orders = [
        order_row(
            n,
            live=rng.random() < 0.3,
            updated_ms=rng.randrange(100),
            order_seq=rng.choice([0, *seqs]),
            state_seq=rng.choice(seqs),
        )
        for n in range(1, rng.randrange(2, 60))
    ]
    trades = [trade_row(n) for n in range(rng.randrange(60))]
    events = [event_row("a", n + 1, order_row(n)) for n in range(rng.randrange(60))]
    intents = [
        sample(rows.IntentRow, n, done=rng.randrange(2), deadline_ms=rng.randrange(100))
        for n in range(20)
    ]
    evidence = [sample(rows.EvidenceRow, n, time_ms=n) for n in range(rng.randrange(60))]
    database.commit([*entries, *orders, *trades, *events, *intents, *evidence])
    keep = Retention(
        closed_orders_max=rng.randrange(40),
        closed_orders_age_ms=rng.randrange(100),
        trades_max=rng.randrange(1, 60),
        trades_age_ms=rng.randrange(100),
        evidence_max=rng.randrange(1, 60),
        evidence_age_ms=rng.randrange(100),
        order_events_max=rng.randrange(1, 60),
        order_events_age_ms=rng.randrange(100),
        log_entries_max=rng.randrange(1, 80),
        settled_fills_age_ms=rng.randrange(100),
    )
    before = database.load()
    deleted = prune(database, keep, now_ms=100)
    connection = database.connection

    live = [row for row in orders if row.live]
    closed = sorted((row for row in orders if not row.live), key=lambda row: row.updated_ms)
    young = [row for row in closed if row.updated_ms >= 100 - keep.closed_orders_age_ms]
    kept = engine.history.orders(connection, 99)
    assert [row for row in kept if row.live] == live[::-1]
    kept_closed = [row for row in kept if not row.live]
    assert len(kept_closed) <= keep.closed_orders_max
    oldest_kept = min((row.updated_ms for row in kept_closed), default=100)
    # Nobody older than a survivor survived; who closed in the same millisecond shares its fate.
    assert set(kept_closed) == {row for row in young if row.updated_ms >= oldest_kept}
    assert kept_closed or len(young) == 0 or len(young) > keep.closed_orders_max

    assert engine.history.trades(connection, "BTC-USD", 99) == [
        row for row in trades[-keep.trades_max :] if row.time_ms >= 100 - keep.trades_age_ms
    ]
    found = [row for n in range(60) for row in engine.history.evidence(connection, n)]
    assert found == [
        row for row in evidence[-keep.evidence_max :] if row.time_ms >= 100 - keep.evidence_age_ms
    ]
    left = [event for event, _ in engine.history.order_events(connection, "a", 0, 99)]
    assert left == [
        row
        for row in events[-keep.order_events_max :]
        if row.time_ms >= 100 - keep.order_events_age_ms
    ]
    proofs = {seq for row in live for seq in (row.order_seq, row.state_seq)}
    assert engine.history.log_entries(connection, 3, 1, 99) == [
        row for row in entries if row.seq in proofs or row.seq > len(entries) - keep.log_entries_max
    ]
    after = database.load()
    assert after.intents == before.intents
    assert after.event_seqs == before.event_seqs
    assert after.order_logs == before.order_logs
    assert prune(database, keep, now_ms=100) == 0 or deleted == 0


def test_candles_outlive_the_trades_they_sum_up_and_are_bounded_too(
    engine: Engine, database: Any
) -> None:
    minutes = [n * 60_000 for n in range(1, 11)]
    database.commit([trade_row(n, time_ms=time_ms) for n, time_ms in enumerate(minutes)])
    connection = database.connection

    def starts() -> list[int]:
        return [
            candle.time_ms
            for candle in engine.history.candles(connection, "BTC-USD", 60_000, 0, 99)
        ]

    prune(database, Retention(trades_max=2), now_ms=600_000)
    assert len(engine.history.trades(connection, "BTC-USD", 99)) == 2
    assert starts() == minutes
    prune(database, Retention(bars_max=7), now_ms=600_000)
    assert starts() == minutes[3:]
    prune(database, Retention(bars_age_ms=120_000), now_ms=600_000)
    assert starts() == minutes[7:]


def test_old_epochs_count_as_log_entries_too(engine: Engine, database: Any) -> None:
    database.commit([log_row(seq, epoch) for epoch in (1, 2, 9) for seq in range(1, 11)])
    prune(database, Retention(log_entries_max=15), now_ms=0)
    connection = database.connection
    assert [len(engine.history.log_entries(connection, epoch, 1, 99)) for epoch in (1, 2, 9)] == [
        0,
        5,
        10,
    ]


def test_pruning_goes_in_steps_that_commits_can_come_between(database: Any) -> None:
    count = 3 * retention.ROWS_PER_STEP
    database.commit([order_row(n, live=False) for n in range(count)])
    plan = retention.plan(database.connection, Retention(closed_orders_max=5), count)
    for steps, gone in enumerate(database.prune(plan)):
        assert gone <= retention.ROWS_PER_STEP
        database.commit([order_row(count + steps)])
    assert (
        snapshot_reading.counts(database.connection).orders
        == 5 + snapshot_reading.counts(database.connection).live_orders
    )


def test_pruning_stops_when_the_database_was_closed_meanwhile(database: Any) -> None:
    database.commit([order_row(n, live=False) for n in range(2000)])
    steps = database.prune(retention.plan(database.connection, Retention(closed_orders_max=5), 0))
    next(steps)
    database.close()
    assert list(steps) == []
