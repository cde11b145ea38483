"""
Looks at the term: who holds it, whether that one lives, and what an operator wants.

Shell. Touches one database through a session of its own, on one thread: it has to see that a commit
hangs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

import attrs

from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.standby.term import Sight
from grenache_py.exchange.storage.postgresql.database import COPIED, PostgreSQLDatabase
from grenache_py.exchange.storage.postgresql.faults import translated
from grenache_py.exchange.storage.postgresql.sessions import DatabaseSession
from grenache_py.exchange.storage.postgresql.stored_term import WATCHED_SCHEMA, WATCHER_NAME

__all__ = ["TermLooks"]

_STATEMENTS = {
    "begin": "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
    "alive": "SELECT say_alive($1::bigint, $2)",
    "ask": "UPDATE term_watch SET wanted = $1",
    "commit": "COMMIT",
}


class TermLooks:
    """One daemon's looks. After a method has raised ``StoreError`` the next one connects anew."""

    def __init__(self, database: PostgreSQLDatabase) -> None:
        self._database = database
        self._session: DatabaseSession | None = None
        self._prepared = False

    def look(self, alive: int) -> Sight:
        """
        Look once.

        Args:
            alive: the term that this process holds: it says first that it lives, and waits until
                that is replicated; 0 for none.

        Raises:
            StoreError: the database cannot be used, or nobody knows whether that was written.
        """
        database = self._database
        with self._closing_on_error() as session:
            if alive:
                said = [str(alive).encode(), database.claimant.boot.encode()]
                self._write(session, "alive", said)
            stored = database.look(session)
            if stored.copied and not database.accept_copy:
                return attrs.evolve(stored.sight, unsafe=f"{database.place} {COPIED}")
            return stored.sight

    def stay_alive(self, term: int, over: Event, longest_s: float, every_s: float) -> None:
        """Say that the holder of ``term`` lives, until it is ``over``: it may be long at work."""
        for _ in range(int(longest_s / every_s)):
            if over.wait(every_s):
                return
            try:
                self.look(term)
            except StoreError:
                continue  # whoever waits for this finds out by itself

    def ask(self) -> None:
        """Write that this process is wanted to serve. Raises StoreError."""
        with self._closing_on_error() as session:
            schema = self._database.look(session).schema
            if schema < 0:
                return
            if schema < WATCHED_SCHEMA:
                raise StoreError(
                    "refused",
                    f"{self._database.place} is in use by an older program, which knows no"
                    " promotion: stop it",
                )
            self._write(session, "ask", [self._database.claimant.boot.encode()])

    def _write(self, session: DatabaseSession, name: str, parameters: list[bytes]) -> None:
        if not self._prepared:
            session.prepare(_STATEMENTS)
            self._prepared = True
        session.transact([("begin", []), (name, parameters), ("commit", [])])

    @contextmanager
    def _closing_on_error(self) -> Iterator[DatabaseSession]:
        try:
            with translated(self._database.place):
                if self._session is None:
                    name = WATCHER_NAME + self._database.claimant.boot
                    self._session, self._prepared = self._database.connect(name), False
                yield self._session
        except BaseException:
            self.close()
            raise

    def cut(self) -> None:
        """End what is waited for, with an error; may be called on any thread."""
        session = self._session
        if session is not None:
            session.cut()

    def close(self) -> None:
        """Close the session. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            session.close()
