"""
The root of a daemon's services: how it starts, says that it is ready, fails and stops.

Service. The grape and the exchange both run under a `Daemon`, so that they behave the same
under twistd, twist and systemd.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import attrs
from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from grenache_py.deferreds import DeadlinePassed, deadline
from grenache_py.errors import ConfigError
from grenache_py.plain_text import harmless
from grenache_py.sdnotify import Notifier, WatchdogService
from grenache_py.signals import Signals

__all__ = ["Daemon", "OnSignal", "Reread", "at", "exit_readably", "place"]

#: Seconds a stop may take before the process ends anyway. Engines of containers wait for 10.
STOP_TIMEOUT_S = 8.0


@contextmanager
def exit_readably(name: str) -> Iterator[None]:
    """
    End the process with one line on stderr and exit code 1 if an operator's mistake comes up.

    For ``makeService`` and ``Options.postOptions``: twistd would print a traceback for the
    former, and the whole help before the error for the latter.

    Args:
        name: The command, which begins the line.
    """
    try:
        yield
    except (ConfigError, CannotListenError) as error:
        raise CannotStart(_complain(name, error)) from None


class CannotStart(SystemExit, Exception):
    """
    The daemon cannot start; the line that says why has been written.

    A SystemExit, so that the runners end with code 1 and no traceback. An Exception too,
    so that a twistd in the background gives the line to the one that the operator sees.
    """

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.code = 1


def _complain(name: str, error: BaseException | None) -> str:
    line = harmless(f"{name}: {_sentence(error)}")
    # Twisted has put a log in the place of sys.stderr by now, perhaps.
    with suppress(OSError, ValueError):  # full, closed or without a reader
        print(line, file=sys.__stderr__, flush=True)
    return line


def _sentence(error: BaseException | None) -> str:
    if isinstance(error, CannotListenError):
        # TCP and UDP say interface and port; a UNIX socket says its path as the port.
        host = error.interface
        where = error.port if host is None else at(host or "*", error.port)
        return f"cannot listen on {where}: {getattr(error.socketError, 'strerror', None) or error}"
    return " ".join(str(error).splitlines())


def at(host: str, port: int) -> str:
    """Return ``host:port``, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def place(listening: IListeningPort) -> str:
    """Return where a port listens, for people: host and port, or a UNIX socket's path."""
    address: Any = listening.getHost()
    if hasattr(address, "port"):
        return at(address.host, address.port)
    name = getattr(address, "name", address)
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


@attrs.frozen
class Reread:
    """
    What came of reading the settings again.

    Attributes:
        done: what is in force now, each in a few words.
        later: names of settings that have changed and take a restart.
    """

    done: tuple[str, ...] = ()
    later: tuple[str, ...] = ()


@attrs.frozen
class OnSignal:
    """
    What an operator may ask of a daemon that runs, by a signal.

    Attributes:
        reread: reads the settings again. Raises ConfigError, and changes nothing, when they are
            wrong.
        reopen: opens the log files anew. Raises ConfigError when one cannot be.
        toggle_debug: writes all of the log, or as much as before; tells which, while it is all.
    """

    reread: Callable[[], Reread]
    reopen: Callable[[], None]
    toggle_debug: Callable[[Callable[[bool], None]], None]


class Daemon(MultiService):
    """
    Runs ``main`` and speaks for it: to the log, to the operator, to systemd.

    A ConfigError or a used port ends the process with one readable line and exit code 1,
    whether it comes up while starting or later on the way to being ready. After a stop by
    SIGTERM the exit code is 0.
    """

    log = Logger()

    def __init__(
        self,
        name: str,
        main: IService,
        reactor: Any,
        *,
        when_ready: Callable[[], Deferred[str]] = lambda: succeed(""),
        notifier: Notifier | None = None,
        on_signal: OnSignal | None = None,
    ) -> None:
        """
        Args:
            name: The command, as the operator knows it.
            on_signal: what SIGHUP and SIGUSR1 ask for; None leaves both to the system.
            when_ready: Called once ``main`` was started. Fires, with a line of status,
                when the ports are bound and the store is open; fails with ConfigError.
        """
        super().__init__()
        self._command = name
        self._reactor = reactor
        self._when_ready = when_ready
        self._notifier = Notifier() if notifier is None else notifier
        self._on_signal = on_signal
        self._status: str | None = None  # of a daemon that is ready
        if on_signal is not None:  # first: who reads that a port is open may send one
            calls = {signal.SIGHUP: self._hang_up, signal.SIGUSR1: self._toggle_debug}
            Signals(reactor, calls).setServiceParent(self)
        main.setServiceParent(self)
        WatchdogService(self._notifier, reactor).setServiceParent(self)

    def privilegedStartService(self) -> None:
        with exit_readably(self._command):
            super().privilegedStartService()

    def startService(self) -> None:
        # Twisted installs its own handlers while it begins to run.
        self._reactor.callWhenRunning(signal.signal, signal.SIGTERM, self._told_to_stop)
        with exit_readably(self._command):
            super().startService()
        self._when_ready().addCallbacks(self._is_ready, self._not_ready)

    def _is_ready(self, status: str) -> None:
        self._status = status
        self._notifier.ready(status)

    def _hang_up(self) -> None:
        """SIGHUP: take up what the operator changed."""
        assert self._on_signal is not None
        try:
            self._on_signal.reopen()
        except ConfigError as error:
            self.log.error("{reason}; the old one is written on", reason=str(error))
        if self._status is None or not self.running:
            self.log.warn("SIGHUP comes while this starts or stops: settings are not read again")
            return
        self._notifier.reloading(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)
        try:
            self._reread(self._on_signal)
        finally:
            self._notifier.ready(self._status)

    def _reread(self, on_signal: OnSignal) -> None:
        try:
            result = on_signal.reread()
        except ConfigError as error:
            self.log.error(
                "settings were not read again, and nothing is changed: {reason}",
                reason=_sentence(error),
            )
            return
        self.log.info("settings read again: {done}", done="; ".join(result.done) or "none changed")
        if result.later:
            self.log.warn(
                "these settings have changed too, and take a restart: {later}",
                later=", ".join(result.later),
            )

    def _toggle_debug(self) -> None:
        """SIGUSR1: everything into the log, or as before."""
        assert self._on_signal is not None
        self._on_signal.toggle_debug(self._tell_of_debug)

    def _tell_of_debug(self, everything: bool) -> None:
        if everything:
            self.log.info("everything is logged now, until the next SIGUSR1")
        else:
            self.log.info("logged is again what was before SIGUSR1")

    def _told_to_stop(self, number: int, frame: object) -> None:
        """Stop; with Twisted's handler twistd and twist would die of the signal in the end."""
        self._reactor.callFromThread(self._stop_reactor)

    def _stop_reactor(self) -> None:
        with suppress(ReactorNotRunning):  # told twice
            self._reactor.stop()

    def _not_ready(self, failure: Failure) -> None:
        if not self.running:
            return  # stopped on the way there
        if failure.check(ConfigError, CannotListenError):
            _complain(self._command, failure.value)
        else:
            self.log.failure("{command} cannot start", failure=failure, command=self._command)
        # Nothing else makes twistd and twist end with another code than 0 or a signal's.
        self._reactor.addSystemEventTrigger("after", "shutdown", _leave, 1)
        self._reactor.callWhenRunning(self._reactor.stop)

    def stopService(self) -> Deferred[None]:
        self._notifier.stopping()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        Service.stopService(self)
        stopping = [
            maybeDeferred(child.stopService).addErrback(self._not_stopped)
            for child in reversed(list(self))
        ]
        try:
            await deadline(DeferredList(stopping), STOP_TIMEOUT_S, self._reactor, "stopping")
        except DeadlinePassed as error:
            self.log.error("{error}: leaving all the same", error=str(error))
        self._notifier.close()

    def _not_stopped(self, failure: Failure) -> None:
        if not failure.check(CancelledError):  # by the deadline, which says so itself
            self.log.failure("{command} did not stop cleanly", failure, command=self._command)


def _leave(code: int) -> NoReturn:
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            with suppress(OSError, ValueError):  # full, closed or without a reader
                stream.flush()
    os._exit(code)
