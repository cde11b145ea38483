"""
What servers and publishers share: listen, be announced, close in order.

Service: owns one port, the announcements of its names and a sweep over its connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from grenache_py.deferreds import Background, DeadlinePassed, deadline, every
from grenache_py.errors import ConfigError, LocalProtocolError
from grenache_py.link.answers import check_name
from grenache_py.link.client import Link
from grenache_py.rpc.limits import CLOSE_TIMEOUT_S, ServerLimits

__all__ = ["Listening"]


class Listening(Service):
    """Listens on one endpoint and keeps names announced at its port."""

    _log = Logger()

    def __init__(
        self,
        link: Link | None,
        names: str | Sequence[str],
        reactor: Any,
        endpoint: str | IStreamServerEndpoint,
        limits: ServerLimits,
        announce_port: int | None,
        announce_every_s: float,
    ) -> None:
        self._link = link
        self._names = [check_name(one) for one in ([names] if isinstance(names, str) else names)]
        self._reactor = reactor
        self._endpoint = endpoint
        self._limits = limits
        self._announce_port = announce_port
        self._announce_every_s = announce_every_s
        self._listening: IListeningPort | None = None
        self._factory: Any = None
        self._background = Background(self._log)
        self._announcements: list[Any] = []

    def __repr__(self) -> str:
        names = ", ".join(map(repr, self._names)) or "without a name"
        where = f"port {self.port}" if self._listening is not None else "not listening"
        return f"<{type(self).__name__} {names}, {where}>"

    @property
    def port(self) -> int:
        """The TCP port that is listened on, 0 while there is none."""
        if self._listening is None:
            return 0
        return int(getattr(self._listening.getHost(), "port", 0))  # a UNIX socket has none

    def start(self) -> Deferred[int]:
        """
        Listen, then announce every name until stopped.

        Fires with: the port, once it is listened on.
        Fails with:
            ConfigError: the endpoint cannot be listened on; the message says why.
        Cancel: not supported.
        """
        return Deferred.fromCoroutine(self._start())

    def stop(self) -> Deferred[None]:
        """
        Announce no more, listen no more, finish what is being answered, close.

        Fires with: None, within ``limits.stop_grace_s`` and a little.
        Cancel: not supported.
        """
        return Deferred.fromCoroutine(self._stop())

    def when_announced(self) -> Deferred[None]:
        """
        Wait until every name has been announced once; `start` must have fired.

        Fires with: None.
        Fails with:
            CancelledError: the server was stopped first.
        Cancel: only this wait ends.
        """

        async def wait() -> None:
            for announcement in list(self._announcements):
                await announcement.when_announced()

        return Deferred.fromCoroutine(wait())

    def startService(self) -> None:
        super().startService()
        failures: list[Any] = []
        self.start().addErrback(failures.append)
        if failures:  # a port in use is known at once, and must end the program that asked for it
            failures[0].raiseException()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return self.stop()

    async def _start(self) -> int:
        if self._listening is not None:
            raise LocalProtocolError("this server has been started before")
        self._factory = self._make_factory()
        endpoint = self._endpoint
        if isinstance(endpoint, str):
            try:
                endpoint = serverFromString(self._reactor, endpoint)
            except (ValueError, TypeError, LookupError, OSError) as error:
                raise ConfigError(f"{self._endpoint!r} is not an endpoint: {error}") from None
        try:
            self._listening = await endpoint.listen(self._factory)
        except CannotListenError as error:
            raise ConfigError(f"cannot listen on {self._endpoint!r}: {error.socketError}") from None
        self._background.spawn(
            "close idle connections",
            every(lambda: 5.0, self._reactor, self._log, "closing idle connections", self._sweep),
        )
        if self._link is not None:
            announced = self._announce_port or self.port
            self._announcements = [
                self._link.start_announcing(name, announced, self._announce_every_s)
                for name in self._names
            ]
        return self.port

    async def _stop(self) -> None:
        for announcement in self._announcements:
            announcement.stop()
        self._announcements = []
        if self._listening is None:
            return
        listening, self._listening = self._listening, None
        await maybeDeferred(listening.stopListening)
        try:
            await deadline(self._finish(), self._limits.stop_grace_s, self._reactor, "finishing")
        except DeadlinePassed:
            self._log.warn("stopping with requests unanswered")
        await self._background.stop()
        self._close_connections()
        await self._factory.connections.when_empty(self._reactor, 2 * CLOSE_TIMEOUT_S)

    async def _sweep(self) -> None:
        raise NotImplementedError

    async def _finish(self) -> None:
        """Wait for what is being answered."""

    def _make_factory(self) -> Factory:
        raise NotImplementedError

    def _close_connections(self) -> None:
        raise NotImplementedError
