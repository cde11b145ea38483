"""
What a database says of its home: whose it is, who holds the term, and whether a home may be there.

Shell. Reads through the connection it is given. Of an older schema nobody says that it lives:
whose sessions are there lives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.standby.term import Sight, Term
from grenache_py.exchange.storage.copies import BACKUP_MARK
from grenache_py.exchange.storage.positions import SEQ_BITS, SEQ_MASK
from grenache_py.exchange.storage.postgresql.server_checks import waits_for_nobody

if TYPE_CHECKING:
    from grenache_py.exchange.storage.postgresql.sessions import DatabaseSession

__all__ = [
    "WATCHED_SCHEMA",
    "WATCHER_NAME",
    "WRITER_NAME",
    "StoredTerm",
    "in_use",
    "read_term",
    "sessions_of",
]

#: A session that writes shows as this and the boot of its process; one that watches as the other.
WRITER_NAME, WATCHER_NAME = "grenache ", "grenache watch "
#: Holders say that they live since this schema.
WATCHED_SCHEMA = 2
_SILENT_S = 1e9  # for ever

_SELECT = """
SELECT extract(epoch FROM clock_timestamp())::double precision,
    number, holder, boot, since_ms, home, cluster, {watched},
    (SELECT max(position) FROM log), (SELECT count(*) FROM meta WHERE name = '{mark}') > 0
FROM term {beside}
"""
_SELECT_SERVER = """
SELECT extract(epoch FROM clock_timestamp())::double precision,
    current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),
    substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || ' ' || pg_postmaster_start_time(),
    (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - state_change)), 0)::double precision
        FROM pg_stat_activity WHERE datname = current_database()
        AND starts_with(application_name, ?) AND wait_event = 'SyncRep'),
    to_regclass('exchange.version') IS NOT NULL
"""
_WATCHED = "extract(epoch FROM alive)::double precision, wanted"


@attrs.frozen
class StoredTerm:
    """
    One look.

    Attributes:
        schema: -1: the database has no tables yet.
        home: whose store it is; "" for nobody's yet.
        copied: it is a backup, or was moved here.
    """

    sight: Sight
    schema: int = -1
    home: str = ""
    copied: bool = False


def read_term(session: DatabaseSession, schema_known: int, alone: bool) -> StoredTerm:
    """
    Look at the term.

    Args:
        schema_known: the newest that this program knows.
        alone: one server is enough.

    Raises:
        StoreError: this program is too old for the database.
    """
    found = session.execute(_SELECT_SERVER, (WRITER_NAME,)).fetchone()
    at_s, commit, names, server, waits_s, made = found
    unsafe = "" if alone else next(waits_for_nobody(commit, names), "")
    unsafe = f"{session.place} {unsafe}" if unsafe else ""
    sight = Sight(Term(), at_s, _SILENT_S, server, unsafe=unsafe, waits_s=waits_s)
    if not made:
        return StoredTerm(sight)
    (schema,) = session.execute("SELECT schema FROM version").fetchone()
    if schema > schema_known:
        raise StoreError(
            "refused",
            f"{session.place} has schema {schema}, this program knows {schema_known}: "
            "run the newer grenache-py that wrote it, or name another database",
        )
    watched = schema >= WATCHED_SCHEMA
    sql = _SELECT.format(
        watched=_WATCHED if watched else "0::double precision, ''",
        beside=", term_watch" if watched else "",
        mark=BACKUP_MARK,
    )
    row = session.execute(sql).fetchone()
    at_s, number, holder, boot, since_ms, home, cluster, spoke_s, wanted, position, marked = row
    if not watched and sessions_of(session, boot):
        spoke_s = at_s
    position = position or 0
    return StoredTerm(
        attrs.evolve(
            sight,
            term=Term(number, holder, boot, since_ms),
            at_s=at_s,
            silent_s=at_s - spoke_s,
            head=(position >> SEQ_BITS, position & SEQ_MASK),
            wanted=wanted,
        ),
        schema,
        home,
        marked or cluster not in {"", session.facts.cluster},
    )


def in_use(term: Term) -> str:
    """What is said of a database that another daemon has."""
    return (
        f"is in use by another exchange ({term.holder}, term {term.number}): stop that one; a"
        " daemon that is to wait for that is started with --standby"
    )


def sessions_of(session: DatabaseSession, boot: str) -> int:
    """How many sessions of the process ``boot`` may write."""
    (count,) = session.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = ?",
        (WRITER_NAME + boot,),
    ).fetchone()
    return int(count)
