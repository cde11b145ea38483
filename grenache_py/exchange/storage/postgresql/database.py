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
from grenache_py.exchange.storage import retention, snapshot
from grenache_py.exchange.storage.copies import BACKUP_MARK
from grenache_py.exchange.storage.postgresql.faults import translated
from grenache_py.exchange.storage.postgresql.sessions import SILENT_S, DatabaseSession, place_of
from grenache_py.exchange.storage.postgresql.statements import STATEMENTS, TableWrite, writes

__all__ = ["Claimant", "PostgreSQLDatabase", "steps_of_schema"]

ADVISORY_LOCK = 0x67725078  # "grPx": who makes or upgrades the tables
#: A session that writes shows as this and the boot of its process.
WRITER_NAME = "grenache "
#: How often, a tenth of a second apart, it is looked whether another daemon's sessions have ended.
LOOKS = 30
END_MS = 5_000  # that the server may take to end a session

_TERM = {
    "begin": "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
    "hold": "SELECT hold_term($1::bigint, $2, $3::boolean)",
    "commit": "COMMIT",
    "raise": "UPDATE term SET number = number + 1, holder = $1, boot = $2, since_ms = $3::bigint,"
    " home = coalesce(nullif($4, ''), home), cluster = coalesce(nullif($5, ''), cluster)"
    " WHERE number = $6::bigint",
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


@attrs.frozen
class _Stored:
    """What the database says of itself; ``number`` -1: it has no tables yet."""

    number: int = -1
    holder: str = ""
    boot: str = ""
    home: str = ""
    cluster: str = ""


class PostgreSQLDatabase:
    """
    One database, and the only session that may write to it.

    After any method has raised ``StoreError`` the database is closed. ``open`` and ``load`` again
    to know what it holds.

    Attributes:
        place: where it is, for people.
        number: the term that this process holds; 0: none, or it is not open.
        since_ms: since when, by this machine's clock.
        holder: who had the term when it was looked at last, for people.
    """

    def __init__(
        self,
        url: str,
        claimant: Claimant,
        seconds: Callable[[], float],
        *,
        alone: bool = False,
        accept_copy: bool = False,
        stands_by: bool = False,
        steps: Sequence[str] | None = None,
    ) -> None:
        """
        Args:
            seconds: the time since 1970.
            alone: a server without a synchronous standby is enough.
            accept_copy: open a restored backup too; the first log entry, which the caller
                promises to be of a new epoch, makes it a home's own again.
            stands_by: who lost the term may take it again once its holder is gone.
            steps: schema steps, for tests of upgrades.
        """
        self.place = place_of(url)
        self.number = 0
        self.since_ms = 0
        self.holder = ""
        self._url = url
        self._claimant = claimant
        self._seconds = seconds
        self._alone = alone
        self._accept_copy = accept_copy
        self._stands_by = stands_by
        self._is_copy = False
        self._had_term = False
        self._steps = steps_of_schema() if steps is None else steps
        self._session: DatabaseSession | None = None

    def connect(self, name: str = "grenache", *, writes: bool = False) -> DatabaseSession:
        """Open a session more. Raises StoreError."""
        return DatabaseSession(self._url, name, self._alone, self._seconds(), writes=writes)

    @property
    def connection(self) -> DatabaseSession:
        """The session that writes. Raises StoreError (``closed``) when there is none."""
        if self._session is None:
            raise StoreError("closed", f"{self.place} is not open")
        return self._session

    def open(self, by_force: bool = False) -> None:
        """
        Take the term, making or upgrading the tables where needed.

        The first time, the term is taken from a daemon that is gone; later, only from this process
        itself: who lost it meanwhile has to be started again, or stands by.

        Args:
            by_force: also from a daemon whose sessions live, which ends them.

        Raises:
            StoreError: the database cannot be used, or is another daemon's.
        """
        self.close()
        with self._closing_on_error():
            name = WRITER_NAME + self._claimant.boot
            self._session = session = self.connect(name, writes=True)
            stored = self._stored(session)
            self._check(session, stored, by_force)
            for boot in {stored.boot, self._claimant.boot}:  # which may still be committing
                _end_sessions(session, boot)
            self._upgrade(session)
            session.prepare(_TERM | STATEMENTS)
            self._raise_term(session, max(stored.number, 0))

    def _stored(self, session: DatabaseSession) -> _Stored:
        """What the database says of itself. Raises StoreError when this program is too old."""
        if session.execute("SELECT to_regclass('exchange.version')").fetchone() == (None,):
            return _Stored()
        (version,) = session.execute("SELECT schema FROM version").fetchone()
        if version > len(self._steps):
            raise StoreError(
                "refused",
                f"{self.place} has schema {version}, this program knows {len(self._steps)}: "
                "run the newer grenache-py that wrote it, or name another database",
            )
        columns = "number, holder, boot, home, cluster"
        return _Stored(*session.execute(f"SELECT {columns} FROM term").fetchone())

    def _check(self, session: DatabaseSession, stored: _Stored, by_force: bool) -> None:
        """Refuse a database that is another home's, another daemon's, or a copy."""
        home, mine = self._claimant.home, stored.boot == self._claimant.boot
        self.holder = stored.holder
        if home and stored.home not in {"", home}:
            raise StoreError(
                "refused",
                f"{self.place} is the store of the home {stored.home[:8]}, and this one is"
                f" {home[:8]}: name another database, or give this daemon that identity",
            )
        if self._had_term and not mine and not self._stands_by:
            raise StoreError(
                "fenced",
                f"{self.place}: {stored.holder} has taken over this home (term {stored.number}),"
                " so this daemon serves no more; start it again once that one has stopped",
            )
        if not mine and stored.number > 0 and not by_force:
            self._see_whether_served(session, stored)
        marked = stored.number >= 0 and session.execute(
            "SELECT count(*) FROM meta WHERE name = ?", (BACKUP_MARK,)
        ).fetchone() != (0,)
        self._is_copy = marked or stored.cluster not in {"", session.facts.cluster}
        if self._is_copy and not self._accept_copy:
            raise StoreError(
                "refused",
                f"{self.place} is a backup copy, or was moved here: running on it would promise"
                " again what was traded since; start with --new-epoch (see 'Backup and restore' in"
                " docs/high-availability.rst)",
            )

    def _see_whether_served(self, session: DatabaseSession, stored: _Stored) -> None:
        for _ in range(LOOKS):  # a daemon that just stopped leaves its sessions for a moment
            if not _sessions(session, stored.boot):
                return
            sleep(0.1)
        raise StoreError(
            "locked",
            f"{self.place} is in use by another exchange ({stored.holder}, term {stored.number}):"
            " stop that one; if its machine is gone, try again in 15 s",
        )

    def _upgrade(self, session: DatabaseSession) -> None:
        with session.transaction():
            session.execute("SELECT pg_advisory_xact_lock(?)", (ADVISORY_LOCK,))
            made = session.execute("SELECT to_regclass('exchange.version')").fetchone() != (None,)
            version = session.execute("SELECT schema FROM version").fetchone()[0] if made else 0
            if not made:
                session.execute("CREATE SCHEMA exchange")
            for step in self._steps[version:]:
                session.execute(step)
            if version < len(self._steps):
                session.execute("DELETE FROM version")
                session.execute("INSERT INTO version VALUES (?)", (len(self._steps),))
            # What waits for the standby is the commit.
            session.execute(f"SET LOCAL statement_timeout = '{SILENT_S} s'")

    def _raise_term(self, session: DatabaseSession, expected: int) -> None:
        now_ms = int(self._seconds() * 1000)
        claimant, cluster = self._claimant, "" if self._is_copy else session.facts.cluster
        values = [claimant.name, claimant.boot, now_ms, claimant.home, cluster, expected]
        raised = [str(value).encode() for value in values]
        held = self._held(expected + 1)  # which who was outrun does not find
        try:
            session.transact([("begin", []), ("raise", raised), ("hold", held), ("commit", [])])
        except StoreError as error:
            if error.fault != "fenced":
                raise
            raise StoreError("locked", f"{self.place} is being taken by another daemon") from error
        self.number, self.since_ms, self.holder = expected + 1, now_ms, claimant.name
        self._had_term = True

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
        batch = writes(rows)
        renewed = self._is_copy and any(isinstance(row, LogRow) for row in rows)
        with self._closing_on_error():
            session = self.connection
            if renewed:
                batch.append(TableWrite("MetaGone", [f"{{{BACKUP_MARK}}}".encode()]))
                batch.append(TableWrite("renewed", [session.facts.cluster.encode()]))
            self._transact(session, batch)
            self._is_copy = self._is_copy and not renewed

    def _transact(self, session: DatabaseSession, batch: Sequence[TableWrite]) -> None:
        session.transact([
            ("begin", []),
            ("hold", self._held(self.number)),
            *((write.name, write.parameters) for write in batch),
            ("commit", []),
        ])  # fmt: skip

    def _held(self, number: int) -> list[bytes]:
        alone = b"true" if self._alone else b"false"
        return [str(number).encode(), self._claimant.boot.encode(), alone]

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
                held = (self.number, self._claimant.boot, self._alone)
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


def _sessions(session: DatabaseSession, boot: str) -> int:
    """How many sessions of the process ``boot`` may write."""
    (count,) = session.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = ?",
        (WRITER_NAME + boot,),
    ).fetchone()
    return int(count)


def _end_sessions(session: DatabaseSession, boot: str) -> None:
    """End the other sessions of the process ``boot`` that may write. Raises StoreError."""
    ended = session.execute(
        "SELECT pg_terminate_backend(pid, ?) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = ? AND pid <> pg_backend_pid()",
        (END_MS, WRITER_NAME + boot),
    ).fetchall()
    if (False,) in ended:
        raise StoreError("io", f"{session.place} could not end the sessions of an older term")
