"""A home's PostgreSQL database: who may use it, and what it refuses."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import pytest

from grenache_py.exchange.effects.rows import MetaRow
from grenache_py.exchange.errors import StoreError, StoreFault
from tests.support.databases import postgresql_database
from tests.support.postgresql import Server, run
from tests.support.store_rows import log_row, order_row


@contextmanager
def raises(fault: StoreFault, match: str) -> Iterator[None]:
    """Expect a StoreError of this kind whose sentence says so, on one line."""
    with pytest.raises(StoreError, match=match) as error:
        yield
    assert error.value.fault == fault
    assert "\n" not in error.value.message


@pytest.fixture
def url(server: Server) -> str:
    return server.database()


@contextmanager
def opened(url: str, boot: str = "1", by_force: bool = False, **options: Any) -> Iterator[Any]:
    database = postgresql_database(url, boot * 32, **options)
    try:
        database.open(by_force)
        yield database
    finally:
        database.close()


def stored(server: Server, url: str) -> list[int]:
    """The orders in a database, by time."""
    name = url.removeprefix("postgresql:///").partition("?")[0]
    return [n for (n,) in server.ask("SELECT time_ms FROM exchange.orders ORDER BY 1", name)]


# The term.


def test_every_opening_has_a_term_of_its_own(url: str) -> None:
    with opened(url) as database:
        assert database.number == 1
        database.open()
        assert database.number == 2
    with opened(url, "2") as another:
        assert another.number == 3


def test_a_second_daemon_is_refused_while_the_first_lives(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from grenache_py.exchange.storage.postgresql import database

    monkeypatch.setattr(database, "LOOKS", 2)
    with opened(url) as first:
        with (
            raises("locked", r"in use by another exchange \(process 1, term 1\): stop that one"),
            opened(url, "2"),
        ):
            pass
        first.commit([order_row(1)])  # and is not hurt
    with opened(url, "2") as second:
        assert second.load().orders == [order_row(1)]


def test_who_was_taken_over_writes_nothing_more_and_says_why(server: Server, url: str) -> None:
    with opened(url) as first:
        first.commit([order_row(1)])
        with opened(url, "2", by_force=True) as second:
            with raises("io", "ended the session|cannot be reached"):
                first.commit([order_row(2)])
            with raises("locked", r"in use by another exchange \(process 2, term 2\)"):
                first.open()
            second.commit([order_row(3)])
    assert stored(server, url) == [1, 3]


def test_a_session_that_a_takeover_did_not_end_writes_nothing_either(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from grenache_py.exchange.storage import retention
    from grenache_py.exchange.storage.postgresql import database

    monkeypatch.setattr(database, "_end_sessions", lambda session, boot, own: None)
    with opened(url) as first, opened(url, "2", by_force=True) as second:
        second.commit([order_row(1, live=False)])
        with raises("fenced", "another daemon has taken over"):
            first.commit([order_row(2)])
    with opened(url, "3") as first, opened(url, "4", by_force=True):
        plan = retention.plan(first.connection, retention.Retention(closed_orders_max=0), 9)
        with raises("fenced", "another daemon has taken over"):
            list(first.prune(plan))
    assert stored(server, url) == [1]


def test_of_many_who_claim_at_once_each_term_has_one_holder(server: Server, url: str) -> None:
    with opened(url):
        pass
    claimants = [postgresql_database(url, f"{n}" * 32) for n in range(4)]
    wrote: list[int] = []

    def claim(n: int) -> None:
        database = claimants[n]
        for turn in range(5):
            try:
                database.open(by_force=True)
                database.commit([order_row(100 * database.number), MetaRow(f"{n}", turn)])
            except StoreError:
                continue
            wrote.append(database.number)

    threads = [threading.Thread(target=claim, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for database in claimants:
        database.close()
    assert len(wrote) == len(set(wrote)) > 0
    assert {100 * number for number in wrote} <= set(stored(server, url))


def test_opening_ends_what_this_process_may_still_be_committing(url: str) -> None:
    with opened(url) as database:
        lost = database.connection
        database._session = None  # its connection broke, and the server has not noticed
        database.open()
        assert database.number == 2
        with raises("io", "ended the session|cannot be reached"):
            lost.transact([("begin", [])])
        lost.close()


# What is refused.


def test_a_database_of_another_home_is_refused(url: str) -> None:
    from grenache_py.exchange.storage.postgresql.database import Claimant, PostgreSQLDatabase

    with opened(url):
        pass
    other = PostgreSQLDatabase(url, Claimant("a" * 64, "9" * 32, "here"), lambda: 0.0, alone=True)
    other._seconds = postgresql_database(url)._seconds
    with raises("refused", "the store of the home eeeeeeee, and this one is aaaaaaaa"):
        other.open()


def test_a_newer_schema_is_refused_and_an_older_one_upgraded(url: str) -> None:
    from grenache_py.exchange.storage.postgresql.database import steps_of_schema

    newer = [*steps_of_schema(), "CREATE TABLE extra (a integer)"]
    with opened(url) as database:
        database.commit([order_row(1)])
    with opened(url, steps=newer) as database:
        assert database.load().orders == [order_row(1)]
    with (
        raises("refused", f"has schema {len(newer)}, this program knows {len(newer) - 1}: run"),
        opened(url),
    ):
        pass
    with raises("bug", "nothing"), opened(url, steps=[*newer, "INSERT INTO nothing VALUES (1)"]):
        pass
    with opened(url, steps=newer) as database:
        assert database.load().orders == [order_row(1)]


def test_of_two_that_make_the_tables_at_once_the_second_finds_them(server: Server) -> None:
    """Both get to the end of it, whoever has the term then; it took chance to meet the fault."""

    def taken(database: Any) -> str:
        ready.wait()
        try:
            database.end_sessions(0.0)
            database.raise_term(0, 1, database.claimant.name, 0.0)
        except StoreError as error:
            return error.fault
        return "taken"

    with ThreadPoolExecutor(2) as threads:
        for _ in range(12):
            url, ready = server.database(), threading.Barrier(2)
            both = [postgresql_database(url, boot * 32) for boot in "12"]
            assert sorted(threads.map(taken, both)) == ["fenced", "taken"]
            for database in both:
                database.close()


def test_a_database_of_the_program_before_is_upgraded_once_that_has_ended(
    server: Server, url: str
) -> None:
    """Its daemons do not say that they live: whose session is there lives."""
    from grenache_py.exchange.storage.postgresql.database import steps_of_schema
    from grenache_py.exchange.storage.postgresql.term_looks import TermLooks

    name, old = url.removeprefix("postgresql:///").partition("?")[0], "9" * 32
    made = "CREATE SCHEMA exchange; SET search_path = exchange, pg_catalog;" + steps_of_schema()[0]
    server.ask(
        f"{made}; INSERT INTO version VALUES (1); INSERT INTO meta VALUES ('clock_floor_ms', 7);"
        f" UPDATE term SET number = 5, holder = 'an older daemon', boot = '{old}'",
        name,
    )
    database = postgresql_database(url, "2" * 32)
    looks = TermLooks(database)
    with closing(looks), closing(database):
        with closing(database.connect(f"grenache {old}")):
            sight = looks.look(0)
            assert (sight.term.number, sight.silent_s) == (5, 0.0)
            with raises("refused", "is in use by an older program"):
                looks.ask()
            with raises("fenced", "an older daemon lives after all"):
                database.end_sessions(1.25)
        ended = time.monotonic() + 30.0
        while looks.look(0).silent_s == 0.0:  # the server may need a moment to end the session
            assert time.monotonic() < ended
        assert looks.look(0).silent_s > 1e8
        database.end_sessions(1.25)
        database.raise_term(5, 6, "here:7070", 1.25)
        assert database.load().meta == {"clock_floor_ms": 7}
        sight = looks.look(6)
        assert (sight.term.holder, sight.silent_s < 60.0) == ("here:7070", True)
        assert sight.term.since_ms > 0 and sight.head == (0, 0)
        database.give_up()
        assert looks.look(0).term.holder == ""


def test_the_term_of_a_holder_that_speaks_is_not_taken(server: Server, url: str) -> None:
    from grenache_py.exchange.storage.postgresql.term_looks import TermLooks

    with opened(url) as first:
        looks, second = TermLooks(first), postgresql_database(url, "2" * 32)
        with closing(looks), closing(second):
            second.end_sessions(0.0)  # as it was silent then; and now it speaks
            looks.look(1)
            with raises("fenced", "was faster, or lives after all"):
                second.raise_term(1, 2, "here:7070", 60.0)
            looks.ask()
            assert looks.look(0).wanted == "1" * 32
            second.end_sessions(0.0)
            with raises("fenced", "was faster"):
                second.raise_term(7, 8, "here:7070", 0.0)
            second.end_sessions(0.0)
            second.raise_term(1, 2, "here:7070", 0.0)
            assert looks.look(1).term.boot == "2" * 32  # which it says to nobody any more
            assert looks.look(0).wanted == ""


def test_a_server_without_a_standby_is_refused_unless_one_is_enough(url: str) -> None:
    with (
        raises("refused", "names no synchronous standby.*--single-database"),
        opened(url, alone=False),
    ):
        pass


def test_a_server_that_does_not_flush_is_refused(server: Server, url: str) -> None:
    server.set(full_page_writes="off")
    try:
        with raises("refused", "set fsync = on and full_page_writes = on"), opened(url):
            pass
    finally:
        server.set(full_page_writes="on")


def test_a_role_that_may_only_read_and_another_encoding_are_refused(server: Server) -> None:
    server.ask("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    with raises("refused", "ENCODING 'UTF8'"), opened(server.url("latin")):
        pass
    url = server.database() + "&target_session_attrs=any"
    with (
        raises("refused", "lets this role only read"),
        opened(url + "&options=-cdefault_transaction_read_only%3Don"),
    ):
        pass
    server.ask("CREATE ROLE guest LOGIN")
    with (
        raises("refused", "permission denied.*the role must own the database"),
        opened(url.replace("user=exchange", "user=guest")),
    ):
        pass


def test_a_server_that_is_not_there_is_named_without_its_user(server: Server) -> None:
    with (
        raises("io", "PostgreSQL database home at /nowhere cannot be reached"),
        opened("postgresql:///home?host=/nowhere&user=secretive&passfile=/secret"),
    ):
        pass
    with raises("refused", "the address of the store is none"), opened("postgresql://a?b=c=d"):
        pass


# Backup and restore, with PostgreSQL's own tools.


def test_a_restored_dump_is_a_copy_that_is_not_traded_on_by_mistake(
    server: Server, url: str
) -> None:
    with opened(url) as database:
        database.commit([order_row(1), log_row(1)])
    target = server.database()
    dump = str(server.directory / "dump")
    run("pg_dump", "--format=custom", f"--file={dump}", url)
    run("pg_restore", f"--dbname={target}", dump)
    with raises("refused", "is a backup copy.*--new-epoch"), opened(target, "2"):
        pass
    with opened(target, "2", accept_copy=True) as copy:
        assert copy.load().orders == [order_row(1)]
        copy.commit([MetaRow("epoch", 2)])
    with raises("refused", "is a backup copy"), opened(target, "2"):  # not a new beginning yet
        pass
    with opened(target, "2", accept_copy=True) as copy:
        copy.commit([log_row(1, epoch=2)])
    with opened(target, "2") as copy:
        assert copy.load().head == log_row(1, epoch=2)
