"""A primary and its synchronous standby that change places, as Patroni would have them do."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support import postgresql
from tests.support.postgresql import NOBODY, START_S, Server, make_primary, make_standby
from tests.support.roads import Road, Roads
from tests.support.waiting import until

__all__ = ["DATABASE", "NO_DISKS", "Pair"]

DATABASE = "home"
#: Why no disk can be filled here; "" where one can.
NO_DISKS = "" if os.geteuid() == 0 and shutil.which("mount") else "mounting a disk needs root"
DISK_BYTES = 8 << 30  # of memory, and only what is used of it
_LOOKS = 100
_SETTINGS = """
synchronous_standby_names = '*'
wal_retrieve_retry_interval = 200ms
"""


class Pair:
    """
    Two servers. The lost one is made anew as the standby of the other.

    Neither ever commits without the other, as with Patroni's strict synchronous mode.

    Attributes:
        servers: both; their places never change.
        primary, standby: as they are now.
    """

    def __init__(self, stack: ExitStack, roads: Roads) -> None:
        """
        Args:
            stack: ends what is started here.
        """
        self._roads = roads
        self._doors = stack.enter_context(postgresql.place())
        places = [stack.enter_context(postgresql.place()) for _ in range(2)]
        if not NO_DISKS:
            for place in places:
                stack.enter_context(_disk(place))
        #: By place: how its server is reached by the other.
        self._replication = {place: self.door(place.name, place) for place in places}
        self.primary = make_primary(places[0])
        stack.callback(lambda: [server.stop() for server in self.servers])
        self.servers = (self.primary, Server(places[1]))
        self.primary.start()
        self.primary.ask(f"CREATE DATABASE {DATABASE}")
        self.standby = self.servers[1]
        self.renew()
        self.primary.set(synchronous_standby_names="*")

    def door(self, name: str, server: Path) -> tuple[Path, Road]:
        """A directory whose socket is a road to the server in another."""
        directory = self._doors / name
        directory.mkdir()
        road = self._roads.lead(str(directory / ".s.PGSQL.5432"), str(server / ".s.PGSQL.5432"))
        directory.chmod(0o755)
        return directory, road

    @property
    def replication(self) -> Road:
        """The road that the standby takes to the primary."""
        return self._replication[self.primary.directory][1]

    def in_step(self) -> bool:
        """Whether commits are waited for, and by whom they should be."""
        found = self.primary.ask("SELECT state, sync_state FROM pg_stat_replication")
        return ("streaming", "sync") in found

    def fail_over(self, promoted: bool) -> None:
        """
        The primary is lost: the standby is it from now on, and has no standby yet.

        Args:
            promoted: it was already.
        """
        if not promoted:
            self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    def renew(self) -> None:
        """Make the lost server the standby."""
        lost = self.standby.directory
        shutil.rmtree(lost / "data", ignore_errors=True)
        door, _ = self._replication[self.primary.directory]
        make_standby(lost, self.primary, door)
        with (lost / "data" / "postgresql.conf").open("a") as file:
            file.write(_SETTINGS)
        self.standby.start()

    def fill(self) -> None:
        """
        Leave nothing of the primary's disk.

        A disk is not made smaller than what is on it, and the server may write after we looked.
        """
        for attempt in range(_LOOKS):
            found = os.statvfs(self.primary.directory)
            used = (found.f_blocks - found.f_bfree) * found.f_frsize
            try:
                _resize(self.primary.directory, used)
                break
            except subprocess.CalledProcessError:
                if attempt == _LOOKS - 1:
                    raise

    def make_room(self) -> None:
        """
        Give it back, and wait until the primary answers, started again if that ended it.

        It may find that it cannot go on after there is room again.
        """
        _resize(self.primary.directory, DISK_BYTES)
        until("the primary answers", self._primary_answers, deadline_s=START_S)

    def _primary_answers(self) -> bool:
        if not self.primary.runs():
            self.primary.start()
        return self.primary.answers()


@contextmanager
def _disk(place: Path) -> Iterator[None]:
    _mount(
        "-t",
        "tmpfs",
        "-o",
        f"size={DISK_BYTES},mode=0700,uid={NOBODY},gid={NOBODY}",
        "tmpfs",
        str(place),
    )
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _resize(place: Path, size: int) -> None:
    _mount("-o", f"remount,size={size}", str(place))


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True, text=True)
