"""Where a commit is made: at once, or on a thread while clients are served."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from grenache_py.errors import LocalProtocolError
from grenache_py.exchange.effects.rows import MetaRow, Row
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage.commit_pace import QUICK_S, CommitPace
from grenache_py.exchange.storage.database import Database
from grenache_py.exchange.storage.sqlite_store import ROWS_HERE_MAX, SQLiteStore
from grenache_py.exchange.storage.worker_thread import WorkerThread

T = TypeVar("T")
DEADLINE_S = 60.0  # only a bug reaches it


class SmallReactor(Clock):
    """Time stands still; what threads hand in is called while somebody waits for a result."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def callFromThread(self, call: Callable[..., Any], *args: Any) -> None:
        self._calls.put(lambda: call(*args))

    def result(self, waiting: Deferred[T]) -> T:
        """Serve until it fires; it must not fail."""
        found: list[T] = []
        failed: list[BaseException] = []
        waiting.addCallbacks(found.append, lambda failure: failed.append(failure.value))
        while not found and not failed:
            self._calls.get(timeout=DEADLINE_S)()
        if failed:
            raise failed[0]
        return found[0]


class SlowDisk(Database):
    """A commit takes as long as it is told, by the test's clock."""

    def __init__(self, path: str, clock: Clock) -> None:
        super().__init__(path)
        self.clock = clock
        self.takes_s = 0.0003
        self.error: sqlite3.Error | None = None
        self.committed_by: list[int] = []

    def commit(self, rows: Sequence[Row]) -> None:
        self.committed_by.append(threading.get_ident())
        self.clock.rightNow += self.takes_s
        if self.error is not None:
            raise StoreError("io", str(self.error))
        super().commit(rows)


class Bench:
    """A store on such a disk."""

    def __init__(self, directory: Path) -> None:
        self.reactor = SmallReactor()
        self.disk = SlowDisk(str(directory / "exchange.sqlite"), self.reactor)
        self.store = SQLiteStore(str(directory), self.reactor, self.disk)  # type: ignore[arg-type]
        self.reactor.result(self.store.open())
        self.number = 0

    def commit(self, rows: int = 3, takes_s: float = 0.0003) -> bool:
        """Commit a batch; whether clients had to wait for that, because the reactor did."""
        self.number += 1
        self.disk.takes_s = takes_s
        batch = [MetaRow(f"n{n}", self.number) for n in range(rows)]
        self.reactor.result(self.store.commit(batch))
        return self.disk.committed_by[-1] == threading.get_ident()

    def grow_quick(self) -> None:
        for _ in range(30):
            self.commit()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.reactor.result(made.store.close())


def test_an_order_alone_is_committed_at_once_when_the_disk_has_shown_to_be_quick(
    bench: Bench,
) -> None:
    at_once = [bench.commit() for _ in range(100)]
    assert not any(at_once[:10])
    assert all(at_once[30:])


def test_a_disk_that_takes_a_millisecond_is_never_waited_for(bench: Bench) -> None:
    assert not any(bench.commit(takes_s=0.001) for _ in range(200))


def test_many_rows_are_committed_while_clients_are_served(bench: Bench) -> None:
    bench.grow_quick()
    assert bench.commit(ROWS_HERE_MAX)
    assert not bench.commit(ROWS_HERE_MAX + 1)


def test_what_comes_while_something_is_written_waits_for_its_turn(bench: Bench) -> None:
    bench.grow_quick()
    large = bench.store.commit([MetaRow(f"n{n}", 1) for n in range(100)])
    small = bench.store.commit([MetaRow("n0", 2)])
    bench.reactor.result(large)
    bench.reactor.result(small)
    assert threading.get_ident() not in bench.disk.committed_by[-2:]
    assert bench.reactor.result(bench.store.open()).meta["n0"] == 2


@pytest.mark.parametrize("stall_s", [0.02, 0.1, 1.0, 30.0])
def test_a_disk_that_stalls_holds_clients_up_seldom(bench: Bench, stall_s: float) -> None:
    bench.grow_quick()
    assert bench.commit(takes_s=stall_s), "nobody can know before"
    after = [bench.commit() for _ in range(200)]
    thread = after.index(True)
    assert thread >= 10, "the next ones do not hold anybody up, whatever they take"
    assert all(after[thread:]), "and a disk that is quick again is trusted again"


def test_most_stalls_of_a_disk_that_often_has_one_hold_nobody_up(bench: Bench) -> None:
    bench.grow_quick()
    held_up = [bench.commit(takes_s=0.05 if n % 10 == 0 else 0.0003) for n in range(1_000)]
    assert sum(held_up[::10]) == 1  # the first


def test_a_commit_that_fails_at_once_fails_as_on_the_thread(bench: Bench) -> None:
    bench.grow_quick()
    bench.disk.error = sqlite3.OperationalError("disk I/O error")
    with pytest.raises(StoreError, match="disk I/O error"):
        bench.commit(takes_s=5.0)
    assert bench.disk.committed_by[-1] == threading.get_ident()
    bench.disk.error = None
    assert not bench.commit(), "five seconds are remembered although nothing came of them"


def test_the_slower_a_commit_was_the_more_follow_on_the_thread() -> None:
    def after(stall_s: float) -> int:
        pace = CommitPace(mean_s=0.0003)
        pace.took(stall_s)
        commits = 0
        while not pace.quick:
            pace.took(0.0003)
            commits += 1
        return commits

    assert after(QUICK_S) == 0
    assert after(0.1) < after(1.0) < after(10.0)
    assert (after(0.1), after(1.0)) == (22, 39)


def test_a_thread_that_is_at_work_is_not_passed_by() -> None:
    reactor = SmallReactor()
    lane = WorkerThread(reactor, "lane")  # type: ignore[arg-type]
    gate = threading.Event()
    assert lane.here(lambda: "at once") == "at once"
    waiting = lane.run(gate.wait, DEADLINE_S)
    with pytest.raises(LocalProtocolError, match="lane is at work"):
        lane.here(lambda: pytest.fail("both at once"))
    gate.set()
    reactor.result(waiting)
    assert lane.idle
    assert lane.here(lambda: "again") == "again"
    lane.stop()
