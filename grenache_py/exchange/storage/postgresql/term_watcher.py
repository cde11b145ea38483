"""
Looks at the term, as Deferreds.

Shell. Touches one database, through a thread of its own: a look has to be on time while a commit
takes long.
"""

from __future__ import annotations

from threading import Event
from typing import TypeVar, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.standby.role import LOAD_S, LOOK_PATIENCE_S, LOOK_S
from grenache_py.exchange.standby.term import Sight
from grenache_py.exchange.storage.postgresql.database import PostgreSQLDatabase
from grenache_py.exchange.storage.postgresql.term_looks import TermLooks
from grenache_py.exchange.storage.worker_thread import WorkerThread

__all__ = ["TermWatcher"]

T = TypeVar("T")


class TermWatcher:
    """
    What a daemon sees and says of the term.

    Args:
        database: whose term it is.
        reactor: brings results from the thread back to its own one.
    """

    def __init__(self, database: PostgreSQLDatabase, reactor: IReactorFromThreads) -> None:
        self.database = database
        self._looks = TermLooks(database)
        self._reactor = reactor
        self._clock: IReactorTime = cast("IReactorTime", reactor)
        self._thread: WorkerThread | None = None
        self._at_work = 0

    def look(self, alive: int = 0) -> Deferred[Sight]:
        """
        See ``TermLooks.look``, which says how it fails; also at once when the last has not ended.

        Fires with: what was seen.
        """
        if self._at_work:  # they would queue up while a server does not answer
            return fail(StoreError("io", f"{self.database.place} has not answered for a while"))
        return self._watched(self._run().run(self._looks.look, alive))

    def ask(self) -> Deferred[None]:
        """See ``TermLooks.ask``, which says how it fails."""
        return self._watched(self._run().run(self._looks.ask))

    def stay_alive(self, term: int) -> Event:
        """Say again and again that the holder of ``term`` lives, until what is returned is set."""
        over = Event()
        self._counted(self._run().run(self._looks.stay_alive, term, over, LOAD_S, LOOK_S))
        return over

    def close(self) -> Deferred[None]:
        """Look no more. Fires with: None."""
        if self._thread is None:
            return succeed(None)
        thread, self._thread = self._thread, None
        self._looks.cut()
        return thread.run(self._looks.close).addBoth(thread.stopped_with)

    def _run(self) -> WorkerThread:
        if self._thread is None:
            self._thread = WorkerThread(self._reactor, "term watcher")
        return self._thread

    def _watched(self, done: Deferred[T]) -> Deferred[T]:
        timer = self._clock.callLater(LOOK_PATIENCE_S, self._looks.cut)

        def over(result: T) -> T:
            if timer.active():
                timer.cancel()
            return result

        return self._counted(done.addBoth(over))

    def _counted(self, done: Deferred[T]) -> Deferred[T]:
        self._at_work += 1

        def over(result: T) -> T:
            self._at_work -= 1
            return result

        return done.addBoth(over)
