"""Each wrong setting of a real server is refused in one line that says what to set."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.exchange.storage.test_postgresql import opened, raises
from tests.support.postgresql import NOBODY, Server

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
DEADLINE_S = 60.0


@contextmanager
def having(server: Server, **settings: str) -> Iterator[None]:
    """The server with other settings."""
    server.set(**settings)
    try:
        yield
    finally:
        for name in settings:
            server.ask(f"ALTER SYSTEM RESET {name}")
        server.ask("SELECT pg_reload_conf()")


@pytest.mark.parametrize(
    ("level", "advice"),
    [
        ("off", "acknowledges what is not on its disk: set synchronous_commit = on"),
        ("local", r"does not wait for its standby's disk \(synchronous_commit = local\): set"),
        ("remote_write", r"does not wait for its standby's disk .*: set synchronous_commit = on"),
    ],
)
def test_commits_that_wait_for_too_little(server: Server, level: str, advice: str) -> None:
    url = server.database()
    with (
        having(server, synchronous_standby_names="*", synchronous_commit=level),
        raises("refused", advice),
        opened(url, alone=False),
    ):
        pass


def test_a_clock_that_is_wrong(server: Server) -> None:
    from grenache_py.exchange.storage.postgresql.database import Claimant, PostgreSQLDatabase

    def database(ahead_s: float) -> PostgreSQLDatabase:
        claimant = Claimant("e" * 64, "1" * 32, "here")
        return PostgreSQLDatabase(url, claimant, lambda: time.time() + ahead_s, alone=True)

    url = server.database()
    for ahead_s in (-30.0, 30.0):
        with raises("refused", r"differs from this machine's by (29|30|31) s: run an NTP service"):
            database(ahead_s).open()
    with closing(database(0.0)) as good:
        good.open()


def test_another_collation_does_not_matter(server: Server) -> None:
    """All text is collated by bytes, so accounts and ids sort alike everywhere."""
    server.ask("CREATE DATABASE other ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0")
    with opened(server.url("other")) as database:
        assert database.number == 1


@contextmanager
def pooler(server: Server, folder: Path) -> Iterator[str]:
    """PgBouncer in front of a server, a transaction at a time; the address of a database there."""
    name = server.database().removeprefix("postgresql:///").partition("?")[0]
    folder.chmod(0o755)
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{name} = host={server.directory} user=exchange\n"
        f"[pgbouncer]\nunix_socket_dir = {server.directory}\nlisten_addr =\nlisten_port = 6432\n"
        "auth_type = any\npool_mode = transaction\n"
    )
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    running = subprocess.Popen(
        [str(PGBOUNCER), "-q", str(folder / "pgbouncer.ini")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user,
    )  # fmt: skip
    try:
        ends = time.monotonic() + DEADLINE_S
        while not (server.directory / ".s.PGSQL.6432").exists():
            assert running.poll() is None and time.monotonic() < ends
            time.sleep(0.05)
        yield f"postgresql:///{name}?host={server.directory}&port=6432&user=exchange"
    finally:
        running.kill()
        running.wait()


@pytest.mark.skipif(PGBOUNCER is None, reason="needs apt install pgbouncer")
def test_a_connection_pooler(server: Server) -> None:
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))  # which the servers' user can enter
    try:
        with (
            pooler(server, folder) as url,
            raises("refused", "is reached through a connection pooler.*name the server itself"),
            opened(url),
        ):
            pass
    finally:
        shutil.rmtree(folder)
