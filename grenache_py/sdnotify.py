"""
Tell systemd how this daemon is: ready, stopping, alive, and one line of status.

Shell: one datagram socket. Protocol: sd_notify(3), a datagram of ``KEY=value`` lines to
the socket named in ``NOTIFY_SOCKET``. Nothing happens where that is not set, so the
daemons call it without asking whether systemd is there.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

__all__ = ["Notifier", "WatchdogService"]


class Notifier:
    """
    One daemon's way to tell systemd something.

    Sending never blocks and never raises: a daemon must not fail because its
    supervisor's socket does. The first failure is logged.
    """

    log = Logger()

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """
        Args:
            environ: Where ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` are
                looked up; the process's own environment when None.
        """
        environ = os.environ if environ is None else environ
        address = environ.get("NOTIFY_SOCKET", "")
        # "@name" is how the environment writes the NUL an abstract socket's name begins with.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        self._failed = False
        self.watchdog_interval_s = self._watchdog_interval(environ)

    def _watchdog_interval(self, environ: Mapping[str, str]) -> float | None:
        """How often `alive` is due, in seconds: half of what systemd allows; None: not asked."""
        usec = environ.get("WATCHDOG_USEC", "")
        pid = environ.get("WATCHDOG_PID", "")
        if not self._address or not usec.isdecimal() or int(usec) == 0:
            return None
        if pid and pid != str(os.getpid()):
            return None  # meant for our parent
        return int(usec) / 1e6 / 2

    def ready(self, status: str = "") -> None:
        """Ports are bound and the store is open: what waits for this unit may start."""
        self._send("READY=1", *self._status(status))

    def reloading(self, now_us: int) -> None:
        """
        Settings are being read again; `ready` says that it is over.

        Args:
            now_us: the machine's monotonic clock, by which systemd tells this from earlier ones.
        """
        self._send("RELOADING=1", f"MONOTONIC_USEC={now_us}")

    def stopping(self, status: str = "") -> None:
        """The shutdown has begun."""
        self._send("STOPPING=1", *self._status(status))

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._send(*self._status(text))

    def alive(self) -> None:
        """The loop turns; systemd restarts the daemon when this is not heard in time."""
        self._send("WATCHDOG=1")

    def _status(self, text: str) -> list[str]:
        # A line break would begin a new assignment.
        return [f"STATUS={' '.join(text.splitlines())}"] if text else []

    def _send(self, *lines: str) -> None:
        if not self._address or not lines:
            return
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except (OSError, ValueError) as error:
            if not self._failed:
                self._failed = True
                self.log.warn("cannot notify systemd: {error}", error=str(error))

    def close(self) -> None:
        """Close the socket; a later message opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class WatchdogService(Service):
    """
    Says ``alive`` from the reactor, at half of systemd's interval, if systemd asks for it.

    A loop that is blocked says nothing, and systemd restarts the daemon.
    """

    name = "systemd watchdog"

    def __init__(self, notifier: Notifier, clock: IReactorTime) -> None:
        self._notifier = notifier
        self._call = LoopingCall(notifier.alive)
        self._call.clock = clock

    def startService(self) -> None:
        super().startService()
        if self._notifier.watchdog_interval_s is not None:
            self._call.start(self._notifier.watchdog_interval_s)

    def stopService(self) -> None:
        super().stopService()
        if self._call.running:
            self._call.stop()
