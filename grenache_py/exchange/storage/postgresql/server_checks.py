"""
Which servers a home may be kept on, and what to set on one that it may not.

Pure. Each refusal is one line that says what to do.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

__all__ = ["SELECT_FACTS", "ServerFacts", "complaint", "waits_for_nobody"]

VERSION_MIN = 140_000  # what 14.0 calls itself: pg_terminate_backend can wait since then
#: Other homes take no entries from a clock that is further off.
CLOCK_OFF_S_MAX = 5.0

#: The columns are the fields of `ServerFacts`.
SELECT_FACTS = """
SELECT current_setting('server_version_num')::integer, pg_is_in_recovery(),
    current_setting('transaction_read_only') = 'on', current_setting('server_encoding'),
    current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on',
    current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),
    pg_backend_pid(), extract(epoch FROM clock_timestamp())::double precision,
    (SELECT system_identifier::text || ':' || d.oid FROM pg_control_system(), pg_database d
        WHERE datname = current_database())
"""


@attrs.frozen
class ServerFacts:
    """
    What a server says of itself.

    Attributes:
        replica: it follows another server.
        process: which of its processes serves this connection.
        clock_s: its time, since 1970.
        cluster: its own identity and the database's; a dump restored elsewhere has another.
    """

    version: int
    replica: bool
    read_only: bool
    encoding: str
    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    synchronous_standby_names: str
    process: int
    clock_s: float
    cluster: str


def complaint(facts: ServerFacts, process: int, alone: bool, now_s: float) -> str:
    """
    Return why a home may not be kept there, and what to set; "" when it may.

    Args:
        process: which process the connection was said to be served by.
        alone: the operator said that one server is enough.
        now_s: this machine's time, since 1970.
    """
    return next(_complaints(facts, process, alone, now_s), "")


def _complaints(facts: ServerFacts, process: int, alone: bool, now_s: float) -> Iterator[str]:
    if facts.version < VERSION_MIN:
        yield f"is PostgreSQL {facts.version // 10_000}: version 14 or newer is needed"
    if facts.process != process:
        yield (
            "is reached through a connection pooler, which may give each transaction another"
            " session: name the server itself in --store"
        )
    if facts.replica:
        yield "is a replica: name the primary too, and leave target_session_attrs=read-write"
    if facts.read_only:
        yield (
            "lets this role only read: ALTER ROLE ... SET default_transaction_read_only = off, or"
            " name another role"
        )
    if facts.encoding != "UTF8":
        yield (
            f"has a database with the encoding {facts.encoding}: make one with CREATE DATABASE ..."
            " ENCODING 'UTF8' TEMPLATE template0"
        )
    if not facts.fsync or not facts.full_page_writes:
        yield "loses data when its machine fails: set fsync = on and full_page_writes = on"
    if facts.synchronous_commit == "off":
        yield "acknowledges what is not on its disk: set synchronous_commit = on"
    if not alone:
        yield from waits_for_nobody(facts.synchronous_commit, facts.synchronous_standby_names)
    off_s = facts.clock_s - now_s
    if abs(off_s) > CLOCK_OFF_S_MAX:
        yield (
            f"has a clock that differs from this machine's by {abs(off_s):.0f} s: run an NTP"
            " service on both"
        )


def waits_for_nobody(synchronous_commit: str, standby_names: str) -> Iterator[str]:
    """Why a commit with these settings may be lost with its server, and what to set."""
    if not standby_names:
        yield (
            "names no synchronous standby, so what it acknowledges dies with it: set"
            " synchronous_standby_names (with Patroni synchronous_mode and"
            " synchronous_mode_strict), or start with --single-database"
        )
    if synchronous_commit not in {"on", "remote_apply"}:
        yield (
            f"does not wait for its standby's disk (synchronous_commit = {synchronous_commit}):"
            " set synchronous_commit = on"
        )
