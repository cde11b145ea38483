"""
What SIGHUP and SIGUSR1 do to a daemon: neither ends it.

Service. Takes the two signals while it runs; each is handed to the reactor, which answers it
between two events as everything else.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service

__all__ = ["Signals"]


class Signals(Service):
    """
    Calls a function for each signal.

    From its making on, one that comes before the start is ignored: twistd writes its pid file
    before anything is started, and logrotate sends what it finds there a SIGHUP.
    """

    name = "signals"

    def __init__(self, reactor: Any, calls: dict[signal.Signals, Callable[[], None]]) -> None:
        """
        Args:
            reactor: calls them.
            calls: by signal.
        """
        self._reactor = reactor
        self._calls = calls
        self._ignore()

    def startService(self) -> None:
        super().startService()
        for number, call in self._calls.items():
            signal.signal(number, self._taken(call))

    def _taken(self, call: Callable[[], None]) -> Callable[..., None]:
        return lambda *_: self._reactor.callFromThread(call)

    def stopService(self) -> None:
        super().stopService()
        self._ignore()  # not what was before: a reload during the stop must not cut it short

    def _ignore(self) -> None:
        for number in self._calls:
            signal.signal(number, signal.SIG_IGN)
