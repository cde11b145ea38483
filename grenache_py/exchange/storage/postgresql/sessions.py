"""
Connections to a PostgreSQL server: how they are opened, and a transaction in one round trip.

Shell. Touches the network. Every connection is checked before it is used
(``server_checks.py``), because each may be to another host of the list.
"""

from __future__ import annotations

import os
import re
import select
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, TypeAlias

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.storage.postgresql.faults import fault_of, translated
from grenache_py.exchange.storage.postgresql.server_checks import (
    SELECT_FACTS,
    ServerFacts,
    complaint,
)

__all__ = ["SILENT_S", "DatabaseSession", "Prepared", "place_of", "size_and_standbys"]

#: The name of a prepared statement, its parameters, and which of them are binary (1), if any are.
Prepared: TypeAlias = tuple[str, list[bytes]] | tuple[str, list[bytes], list[int]]

#: What the address may say otherwise: who is silent for some 11 s is gone.
_DEFAULTS = {
    "target_session_attrs": "read-write",
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "client_encoding": "UTF8",
}
# The server looks likewise whether this daemon is there, so that a dead one's locks go. Its plans
# are for few rows found by their keys, also those made while the tables were empty.
_SETTINGS = """
SET search_path = exchange, pg_catalog;
SET tcp_keepalives_idle = 5;
SET tcp_keepalives_interval = 2;
SET tcp_keepalives_count = 3;
SET client_connection_check_interval = '2s';
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_session_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
"""
_FOR_WRITING = """
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off
"""
_FOR_READING = "SET default_transaction_read_only = on"
#: How long a server may say nothing while it is asked for a commit. Then nobody knows what became
#: of it: a standby that is gone must not hold up clients for ever.
SILENT_S = 10.0


def place_of(url: str) -> str:
    """
    Where that is, for people: without a user, and without whatever else it says.

    Raises:
        StoreError: it is no address.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise StoreError("refused", f"the address of the store is none: {error}".strip()) from None
    hosts = str(parts.get("host") or parts.get("hostaddr") or "local socket")
    return f"PostgreSQL database {parts.get('dbname') or parts.get('user') or ''} at {hosts}"


def size_and_standbys(session: DatabaseSession) -> tuple[int, list[dict[str, Any]] | None]:
    """Bytes of the database, and who follows the server; None: this role may not know."""
    (size,) = session.execute("SELECT pg_database_size(current_database())").fetchone()
    found = session.execute(
        "SELECT application_name, sync_state, round(extract(epoch FROM replay_lag), 3)::float"
        " FROM pg_stat_replication ORDER BY 1"
    ).fetchall()
    if any(sync is None for _, sync, _ in found):
        return int(size), None
    return int(size), [{"name": name, "sync": sync, "lag_s": lag} for name, sync, lag in found]


@cache
def _marks(sql: str) -> tuple[str, bool]:
    """``sql`` with psycopg's marks for parameters in the place of SQLite's; whether by number."""
    numbered = "?1" in sql
    marked = re.sub(r"\?(\d+)", r"%(\1)s", sql) if numbered else sql.replace("?", "%s")
    return marked, numbered


class DatabaseSession:
    """
    One connection, used by one thread.

    Attributes:
        facts: what the server said when it was opened.
    """

    def __init__(
        self, url: str, name: str, alone: bool, now_s: float | None, *, writes: bool = False
    ) -> None:
        """
        Connect, and see whether a home may be kept there.

        Args:
            name: what the server's views show this connection as.
            alone: one server is enough.
            now_s: since 1970; None: any server will do, a replica too, as nothing relies on it.

        Raises:
            StoreError: there is no server, or not one for a home.
        """
        self.place = place_of(url)
        self._warnings: list[str] = []
        with translated(self.place):
            given = conninfo_to_dict(url)
            missing = {name: value for name, value in _DEFAULTS.items() if name not in given}
            if now_s is None:
                missing["target_session_attrs"] = "any"
            self._connection = connection = psycopg.Connection.connect(
                make_conninfo(url, **missing, application_name=name),
                autocommit=True,
                prepare_threshold=None,
            )
            try:
                connection.add_notice_handler(self._noticed)
                row = connection.execute(SELECT_FACTS).fetchone()
                assert row is not None
                self.facts = facts = ServerFacts(*row)
                if now_s is not None:
                    wrong = complaint(facts, connection.info.backend_pid, alone, now_s)
                    if wrong:
                        raise StoreError("refused", f"{self.place} {wrong}")
                connection.execute(_SETTINGS + (_FOR_WRITING if writes else _FOR_READING))
            except BaseException:
                connection.close()
                raise

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warnings.append(notice.message_primary or "a warning")

    @property
    def connection(self) -> psycopg.Connection:
        """Psycopg's own, for what is not written as for SQLite."""
        return self._connection

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        """Execute one statement, with SQLite's marks for parameters, and return a cursor."""
        if not parameters:
            return self._connection.execute(sql)
        marked, numbered = _marks(sql)
        if numbered:
            named = {str(n): value for n, value in enumerate(parameters, 1)}
            return self._connection.execute(marked, named)
        return self._connection.execute(marked, parameters)

    def prepare(self, statements: dict[str, str]) -> None:
        """Prepare statements for ``transact``, in one round trip. Raises StoreError."""
        named = [(name.encode(), sql.encode()) for name, sql in statements.items()]
        self._send_at_once(self._connection.pgconn.send_prepare, named)

    def transact(self, writes: Sequence[Prepared]) -> None:
        """
        Execute prepared statements in one transaction, sent and answered at once.

        Raises:
            StoreError: nothing is known about it; also when the server only warns, which it does
                when it gave up waiting for the standby.
        """
        self._warnings.clear()
        named = [(name.encode(), *given) for name, *given in writes]
        self._send_at_once(self._connection.pgconn.send_query_prepared, named)
        self._check_warnings()

    def _send_at_once(self, send: Callable[..., None], messages: Iterable[tuple[Any, ...]]) -> None:
        pgconn, failed = self._connection.pgconn, None
        try:
            with translated(self.place):
                pgconn.enter_pipeline_mode()
                for message in messages:
                    send(*message)
                pgconn.pipeline_sync()
                while True:
                    self._await_answer(pgconn)
                    result = pgconn.get_result()
                    if result is None:
                        continue
                    if result.status == pq.ExecStatus.PIPELINE_SYNC:
                        break
                    if result.status == pq.ExecStatus.FATAL_ERROR and failed is None:
                        failed = result
                pgconn.exit_pipeline_mode()
        except StoreError:
            if failed is None:  # else the server has said why it ended the connection
                raise
        if failed is not None:
            raise self._fault(failed)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """
        A transaction of several round trips.

        Raises:
            StoreError: nothing is known about it, as for ``transact``.
        """
        self._warnings.clear()
        with translated(self.place), self._connection.transaction():
            yield
        self._check_warnings()

    def _await_answer(self, pgconn: pq.abc.PGconn) -> None:
        unsent = pgconn.flush()
        while unsent or pgconn.is_busy():
            waiting = select.poll()
            waiting.register(pgconn.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
            if not waiting.poll(SILENT_S * 1000):
                raise StoreError(
                    "io",
                    f"{self.place} has not confirmed a commit for {SILENT_S:.0f} s: look whether"
                    " its synchronous standby is there, and the server itself",
                )
            pgconn.consume_input()
            unsent = pgconn.flush()

    def _check_warnings(self) -> None:
        if self._warnings:
            raise StoreError(
                "io", f"{self.place} warned, so a commit's outcome is unknown: {self._warnings[0]}"
            )

    def _fault(self, result: pq.abc.PGresult) -> StoreError:
        state = result.error_field(pq.DiagnosticField.SQLSTATE)
        text = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or result.error_message
        return fault_of(
            self.place, state.decode() if state else None, text.decode("utf-8", "replace")
        )

    def cut(self) -> None:
        """End what is waited for, with an error; may be called on any thread."""
        with (
            suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self._connection.pgconn.socket)) as other,
        ):
            other.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._connection.close()
