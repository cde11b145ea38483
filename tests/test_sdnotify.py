"""What systemd would receive, on a socket of the test's own."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from grenache_py.sdnotify import Notifier, WatchdogService


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket systemd listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


@contextmanager
def notifier(address: str | Path, **environ: str) -> Iterator[Notifier]:
    """One that is closed at the end, whatever happens."""
    with closing(Notifier({"NOTIFY_SOCKET": str(address), **environ})) as systemd:
        yield systemd


def test_life_of_a_daemon(supervisor: socket.socket) -> None:
    with notifier(supervisor.getsockname()) as systemd:
        systemd.ready("listening on 30001")
        systemd.status("3 contacts\nREADY=1")
        systemd.alive()
        systemd.stopping()
    assert [supervisor.recv(999) for _ in range(4)] == [
        b"READY=1\nSTATUS=listening on 30001",
        b"STATUS=3 contacts READY=1",  # data cannot make an assignment of its own
        b"WATCHDOG=1",
        b"STOPPING=1",
    ]


def test_abstract_socket() -> None:
    name = f"grenache-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(5)
        with notifier(f"@{name}") as systemd:
            systemd.ready()
        assert listening.recv(999) == b"READY=1"


def test_without_systemd_nothing_happens() -> None:
    systemd = Notifier({})
    assert systemd.watchdog_interval_s is None
    systemd.ready("unheard")
    assert systemd._socket is None, "nothing was opened"


def test_a_socket_that_is_gone_or_full_does_not_hurt(tmp_path: Path) -> None:
    with notifier(tmp_path / "nobody") as systemd:
        systemd.ready()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "full"))
        with notifier(tmp_path / "full") as systemd:
            for _ in range(3000):
                systemd.alive()


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_interval(
    supervisor: socket.socket, environ: dict[str, str], interval_s: float | None
) -> None:
    with notifier(supervisor.getsockname(), **environ) as systemd:
        assert systemd.watchdog_interval_s == interval_s


def test_watchdog_beats_until_the_service_stops(supervisor: socket.socket) -> None:
    clock = Clock()
    with notifier(supervisor.getsockname(), WATCHDOG_USEC="20000000") as systemd:
        service = WatchdogService(systemd, clock)
        service.startService()
        clock.advance(10)
        service.stopService()
        clock.advance(10)
    supervisor.setblocking(False)
    assert [supervisor.recv(99), supervisor.recv(99)] == [b"WATCHDOG=1"] * 2
    with pytest.raises(BlockingIOError):
        supervisor.recv(99)
    assert clock.getDelayedCalls() == []


def test_no_watchdog_no_timer() -> None:
    clock = Clock()
    service = WatchdogService(Notifier({}), clock)
    service.startService()
    assert clock.getDelayedCalls() == []
    service.stopService()
