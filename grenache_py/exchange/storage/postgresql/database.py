"""
A home's PostgreSQL database, used synchronously: claim, upgrade and load it, write batches.

Shell. Touches one database through one session that writes; knows no thread and no reactor.
``postgresql_store.py`` runs it on its own thread.

When ``commit`` returns, the batch is on the disks of the primary and of a synchronous standby. Who
may write is decided by the term (docs/high-availability.rst#the-term): each transaction reads it
FOR SHARE, and ``open`` raises it before it loads anything. The commit that raises it is a barrier:
what is read after it is replicated, whatever became of commits whose outcome was unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from time import sleep

import attrs

from grenache_py.exchange.effects.rows import LogRow, Row, Snapshot
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.standby.term import Term
from grenache_py.exchange.storage import retention, snapshot
from grenache_py.exchange.storage.copies import BACKUP_MARK
from grenache_py.exchange.storage.postgresql.faults import translated
from grenache_py.exchange.storage.postgresql.sessions import SILENT_S, DatabaseSession, place_of
from grenache_py.exchange.storage.postgresql.statements import STATEMENTS, Array, TableWrite, writes
from grenache_py.exchange.storage.postgresql.stored_term import (
    WATCHER_NAME,
    WRITER_NAME,
    StoredTerm,
    in_use,
    read_term,
    sessions_of,
)

__all__ = ["COPIED", "Claimant", "PostgreSQLDatabase", "steps_of_schema"]

#: What is said of a database that was copied.
COPIED = (
    "is a backup copy, or was moved here: running on it would promise again what was traded since;"
    " start with --new-epoch (see 'Backup and restore' in docs/high-availability.rst)"
)

ADVISORY_LOCK = 0x67725078  # "grPx": who makes or upgrades the tables
#: How often, a tenth of a second apart, it is looked whether another daemon's sessions have ended.
LOOKS = 30
END_MS = 5_000  # that the server may take to end a session

_TERM = {
    "begin": "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
    "hold": "SELECT hold_term($1::bigint, $2, $3::boolean)",
    "commit": "COMMIT",
    "raise": "SELECT raise_term($1::bigint, $2::bigint, $3, $4, $5::double precision, $6, $7)",
    "give up": "UPDATE term SET holder = '' WHERE number = $1::bigint AND boot = $2",
    "renewed": "UPDATE term SET cluster = $1::text",
}


def steps_of_schema() -> list[str]:
    """The numbered schema files, in order; step n (from 1) makes schema n out of n - 1."""
    folder = resources.files("grenache_py.exchange.storage.postgresql") / "schema"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [file.read_text("utf-8") for file in files]


@attrs.frozen
class Claimant:
    """
    Who asks for the term.

    Attributes:
        home: the identity whose store it is; "" for a tool that looks after any.
        boot: this process, 32 hex digits.
        name: where it runs, for people.
    """

    home: str
    boot: str
    name: str


class PostgreSQLDatabase:
    """
    One database, and the only session that may write to it.

    After any method has raised ``StoreError`` the database is closed. ``open`` and ``load`` again
    to know what it holds.

    Attributes:
        place: where it is, for people.
        number: the term that this process holds; 0: none, or it is not open.
        claimant: who asks for it.
        alone: a server without a synchronous standby is enough.
        accept_copy: open a restored backup too; the first log entry, which the caller promises
            to be of a new epoch, makes it a home's own again.
        steps: the schema steps that this program knows.
    """

    def __init__(
        self,
        url: str,
        claimant: Claimant,
        seconds: Callable[[], float],
        *,
        alone: bool = False,
        accept_copy: bool = False,
        steps: Sequence[str] | None = None,
    ) -> None:
        """
        Args:
            seconds: the time since 1970.
        """
        self.place = place_of(url)
        self.number = 0
        self.claimant = claimant
        self.alone = alone
        self.accept_copy = accept_copy
        self.steps = steps_of_schema() if steps is None else steps
        self._url = url
        self._seconds = seconds
        self._is_copy = False
        self._schema = -1  # of the tables, when the session was opened
        self._session: DatabaseSession | None = None

    def connect(self, name: str = "grenache", *, writes: bool = False) -> DatabaseSession:
        """Open a session more. Raises StoreError."""
        return DatabaseSession(self._url, name, self.alone, self._seconds(), writes=writes)

    @property
    def connection(self) -> DatabaseSession:
        """The session that writes. Raises StoreError (``closed``) when there is none."""
        if self._session is None:
            raise StoreError("closed", f"{self.place} is not open")
        return self._session

    def open(self, by_force: bool = False) -> None:
        """
        Take the term from a process that is gone, making or upgrading the tables where needed.

        For who serves nobody: a daemon takes it in the steps of its role (``end_sessions``,
        ``raise_term``).

        Args:
            by_force: also from one whose sessions live, which ends them.

        Raises:
            StoreError: the database cannot be used, or is another process's.
        """
        self.close()
        with self._closing_on_error():
            session, term = self._connected()
            if term.number > 0 and term.boot != self.claimant.boot and not by_force:
                self._see_whether_served(session, term)
            _end_sessions(session, term.boot, self.claimant.boot)
            self.raise_term(term.number, term.number + 1, self.claimant.name, 0.0)

    def end_sessions(self, silent_s: float) -> None:
        """
        Connect, and end the sessions of the term that is, and older ones of this process.

        Args:
            silent_s: its holder must have been silent for so long; 0: whatever it has said.

        Raises:
            StoreError: ``fenced``: the holder lives; otherwise it is not known what was done.
        """
        self.close()
        with self._closing_on_error():
            session, term = self._connected(silent_s)
            _end_sessions(session, term.boot, self.claimant.boot)

    def _connected(self, silent_s: float = 0.0) -> tuple[DatabaseSession, Term]:
        """The session that writes from now on, and the term. Raises StoreError."""
        name = WRITER_NAME + self.claimant.boot
        self._session = session = self.connect(name, writes=True)
        stored = self.look(session)
        sight = stored.sight
        if stored.copied and not self.accept_copy:
            raise StoreError("refused", f"{self.place} {COPIED}")
        self._is_copy, self._schema = stored.copied, stored.schema
        if silent_s and sight.term.holder and sight.silent_s < silent_s:
            raise StoreError("fenced", f"{self.place}: {sight.term.holder} lives after all")
        return session, sight.term

    def look(self, session: DatabaseSession) -> StoredTerm:
        """
        Look at the term.

        Raises:
            StoreError: the database is another home's, or a newer program's.
        """
        stored = read_term(session, len(self.steps), self.alone)
        home = self.claimant.home
        if home and stored.home not in {"", home}:
            raise StoreError(
                "refused",
                f"{self.place} is the store of the home {stored.home[:8]}, and this one is"
                f" {home[:8]}: name another database, or give this daemon that identity",
            )
        return stored

    def _see_whether_served(self, session: DatabaseSession, term: Term) -> None:
        for _ in range(LOOKS):  # a daemon that just stopped leaves its sessions for a moment
            if not sessions_of(session, term.boot):
                return
            sleep(0.1)
        raise StoreError("locked", f"{self.place} {in_use(term)}")

    def _upgrade(self, session: DatabaseSession) -> None:
        with session.transaction():
            session.execute("SELECT pg_advisory_xact_lock(?)", (ADVISORY_LOCK,))
            # Not to_regclass: that may remember what was so before this one waited for the lock.
            (made,) = session.execute(
                "SELECT count(*) FROM pg_tables WHERE (schemaname, tablename) = (?, ?)",
                ("exchange", "version"),
            ).fetchone()
            version = session.execute("SELECT schema FROM version").fetchone()[0] if made else 0
            if not made:
                session.execute("CREATE SCHEMA exchange")
            for step in self.steps[version:]:
                session.execute(step)
            if version < len(self.steps):
                session.execute("DELETE FROM version")
                session.execute("INSERT INTO version VALUES (?)", (len(self.steps),))
            # What waits for the standby is the commit.
            session.execute(f"SET LOCAL statement_timeout = '{SILENT_S} s'")

    def raise_term(self, expected: int, number: int, holder: str, silent_s: float) -> None:
        """
        Take the term, and wait until that is replicated: what is read from then on was, too.

        Args:
            expected: the term that it must still be.
            holder: where clients reach this process.
            silent_s: as for ``end_sessions``.

        Raises:
            StoreError: ``fenced``: it is another one, or its holder lives; otherwise nobody
                knows whether it was taken.
        """
        with self._closing_on_error():
            session = self.connection
            if self._schema < len(self.steps):
                self._upgrade(session)
            session.prepare(_TERM | STATEMENTS)
            claimant, cluster = self.claimant, "" if self._is_copy else session.facts.cluster
            values = [expected, number, holder, claimant.boot, silent_s, claimant.home, cluster]
            raised = [str(value).encode() for value in values]
            held = self._held(number)
            session.transact([("begin", []), ("raise", raised), ("hold", held), ("commit", [])])
            self.number = number

    def give_up(self) -> None:
        """Leave the term without a holder, if it is this process's still. Raises StoreError."""
        with self._closing_on_error():
            given_up = [str(self.number).encode(), self.claimant.boot.encode()]
            self.connection.transact([("begin", []), ("give up", given_up), ("commit", [])])

    def load(self) -> Snapshot:
        """Everything a node needs to start. Raises StoreError."""
        with self._closing_on_error():
            return snapshot.load(self.connection)

    def commit(self, rows: Sequence[Row]) -> None:
        """
        Write ``rows`` in one transaction; on return they are on the standby's disk too.

        Raises:
            StoreError: nothing is known about these rows: none of them is there, or all are.
        """
        renewed = self._is_copy and any(isinstance(row, LogRow) for row in rows)
        with self._closing_on_error():
            session, batch = self.connection, writes(rows)
            if renewed:
                batch.append(TableWrite("MetaGone", [Array(f"{{{BACKUP_MARK}}}".encode(), 0)]))
                batch.append(TableWrite("renewed", [Array(session.facts.cluster.encode(), 0)]))
            self._transact(session, batch)
            self._is_copy = self._is_copy and not renewed

    def _transact(self, session: DatabaseSession, batch: Sequence[TableWrite]) -> None:
        session.transact([
            ("begin", []),
            ("hold", self._held(self.number)),
            *(write.prepared for write in batch),
            ("commit", []),
        ])  # fmt: skip

    def _held(self, number: int) -> list[bytes]:
        alone = b"true" if self.alone else b"false"
        return [str(number).encode(), self.claimant.boot.encode(), alone]

    def barrier(self) -> None:
        """See that the term is held, and that all that is read from now on is replicated."""
        with self._closing_on_error():
            self._transact(self.connection, [])

    @contextmanager
    def transaction(self) -> Iterator[DatabaseSession]:
        """
        A transaction of several steps, in this daemon's term.

        Raises:
            StoreError: its outcome is unknown.
        """
        with self._closing_on_error():
            session = self.connection
            with session.transaction():
                held = (self.number, self.claimant.boot, self.alone)
                session.execute("SELECT hold_term(?, ?, ?)", held)
                yield session

    def prune(self, plan: retention.Plan) -> Iterator[int]:
        """Forget what ``plan`` says, one short transaction a step. A step may raise StoreError."""
        session = self.connection
        steps = retention.prune(session, plan)
        while self._session is session:
            with self.transaction():
                gone = next(steps, None)
            if gone is None:
                return
            yield gone

    def close(self) -> None:
        """Close the session. Idempotent."""
        session, self._session = self._session, None
        self.number = 0
        if session is not None:
            session.close()

    def cut(self) -> None:
        """End what is waited for, with an error; may be called on any thread."""
        session = self._session
        if session is not None:
            session.cut()

    @contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        try:
            with translated(self.place):
                yield
        except BaseException:
            self.close()
            raise


def _end_sessions(session: DatabaseSession, boot: str, own: str) -> None:
    """
    End what the process ``boot`` may be doing, and what this one may still be doing elsewhere.

    Sessions that watch the term are ended when they may hold its row: this process's own, while a
    standby is waited for.

    Raises:
        StoreError: a session does not end.
    """
    ended = session.execute(
        "SELECT pg_terminate_backend(pid, ?1) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND (application_name IN (?2, ?3) OR application_name = ?4 AND wait_event = 'SyncRep'"
        " OR application_name = ?5 AND application_name <> ?4 AND state <> 'idle')",
        (END_MS, *(WRITER_NAME + each for each in (boot, own)), WATCHER_NAME + own,
         WATCHER_NAME + boot),
    ).fetchall()  # fmt: skip
    if (False,) in ended:
        raise StoreError("io", f"{session.place} could not end the sessions of an older term")
