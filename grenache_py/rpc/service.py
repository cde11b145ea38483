"""
The servers of requests, the publishers and the subscribers of a Grenache network.

Service: each of these listens or connects, keeps itself announced, and stops in
order. They are Twisted services and can be used without an application too: ``await
server.start()``, ``await server.stop()``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Literal

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from websockets.frames import Frame, Opcode

from grenache_py.deferreds import Background, DeadlinePassed, OneShot, deadline, every
from grenache_py.errors import ConfigError, LocalProtocolError
from grenache_py.link.announcing import EVERY_S_DEFAULT
from grenache_py.link.answers import check_name
from grenache_py.link.client import Link
from grenache_py.link.errors import LinkError
from grenache_py.rpc.errors import NoPeerFound, PeerLost, RPCFailure
from grenache_py.rpc.http import HTTPServerFactory
from grenache_py.rpc.limits import ServerLimits
from grenache_py.rpc.peer import Destinations
from grenache_py.rpc.protocol import ERR_INTERNAL, Answering, Connections, Handler
from grenache_py.rpc.pubsub import Outbox, ReconnectSchedule
from grenache_py.rpc.streams import ServerStream
from grenache_py.rpc.transports import NotConnected, TLSFor, connect
from grenache_py.rpc.websocket import (
    CLOSE_TIMEOUT_S,
    GOING_AWAY,
    PublisherSocket,
    RPCServerSocket,
    SubscriberSocket,
    WebSocketServerFactory,
)

__all__ = ["Publisher", "RPCServer", "StreamHandler", "Subscriber"]

#: Reads and writes a stream; the answer is finished when it returns.
StreamHandler = Callable[[ServerStream], Any]


class _Listening(Service):
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


class RPCServer(_Listening):
    """
    Answers requests over HTTP or WebSocket and announces where it does.

    Args:
        link: announces it; None for a server that is found in another way.
        names: the service name, or several.
        handler: called with a :class:`~grenache_py.rpc.peer.Request`; returns a result that JSON
            can express, or a Deferred or coroutine of one; raises
            :class:`~grenache_py.rpc.errors.RPCFailure` to answer with an error.
        reactor: listens, and keeps the time.
        endpoint: Twisted endpoint or its string, such as ``tcp:1337`` or, for secure mode,
            ``ssl:1337:privateKey=key.pem:certKey=cert.pem``. Port 0 picks one.
        transport: ``"http"`` or ``"ws"``.
        stream_handler: called with a :class:`~grenache_py.rpc.streams.ServerStream` for each
            request that is a stream (HTTP only); without it streams are read as requests.
        limits: what clients may do.
        announce_port: the port to announce, where it differs from the one listened on.
        announce_every_s: seconds between announcements.
    """

    def __init__(
        self,
        link: Link | None,
        names: str | Sequence[str],
        handler: Handler,
        reactor: Any,
        *,
        endpoint: str | IStreamServerEndpoint = "tcp:0",
        transport: Literal["http", "ws"] = "http",
        stream_handler: StreamHandler | None = None,
        limits: ServerLimits | None = None,
        announce_port: int | None = None,
        announce_every_s: float = EVERY_S_DEFAULT,
    ) -> None:
        limits = limits or ServerLimits()
        super().__init__(link, names, reactor, endpoint, limits, announce_port, announce_every_s)
        if transport not in ("http", "ws"):
            raise LocalProtocolError(f'a transport is "http" or "ws", not {transport!r}')
        if stream_handler is not None and transport != "http":
            raise LocalProtocolError("streams are a matter of HTTP, not of WebSocket")
        self._transport = transport
        self._stream_handler = stream_handler
        self._answering = Answering(handler, reactor, limits)

    @property
    def answered(self) -> int:
        """Requests answered so far, errors included."""
        return self._answering.answered

    def _make_factory(self) -> Factory:
        limits, clock, answering = self._limits, self._reactor, self._answering
        if self._transport == "http":
            streams = self._run_stream if self._stream_handler is not None else None
            return HTTPServerFactory(answering, limits, clock, streams)
        return WebSocketServerFactory(lambda: RPCServerSocket(answering, limits, clock), limits)

    def _run_stream(self, stream: ServerStream, reply: Any) -> None:
        self._background.spawn(f"stream {stream.action}", self._stream(stream, reply))

    async def _stream(self, stream: ServerStream, reply: Any) -> None:
        assert self._stream_handler is not None
        try:
            result = self._stream_handler(stream)
            if result is not None:
                await result
        except RPCFailure as error:
            reply.fail(stream.rid, error.message)
        except PeerLost:
            pass
        except BaseException:
            reply.fail(stream.rid, ERR_INTERNAL)
            raise
        else:
            stream.outgoing.finish()

    async def _sweep(self) -> None:
        now = self._reactor.seconds()
        for connection in self._factory.connections:
            if self._transport == "http":
                connection.sweep(now)
            else:
                connection.sweep(now, self._limits.idle_timeout_s)

    async def _finish(self) -> None:
        await self._answering.drain()

    def _close_connections(self) -> None:
        self._answering.stop()
        for connection in self._factory.connections:
            if self._transport == "http":
                connection.shut()
            else:
                connection.close(GOING_AWAY, "shutting down")


class Publisher(_Listening):
    """
    Sends messages to everybody who is subscribed, over WebSocket.

    A subscriber that does not keep up loses the oldest of the messages that wait for it.

    Args:
        link: announces it.
        name: the service name, which is the topic: a publisher has one.
        reactor: listens, and keeps the time.
        endpoint: Twisted endpoint or its string; port 0 picks one.
        queue_messages_max, queue_bytes_max: what may wait for one subscriber.
        limits: what subscribers may do.
        announce_port: the port to announce, where it differs from the one listened on.
        announce_every_s: seconds between announcements.
    """

    def __init__(
        self,
        link: Link | None,
        name: str,
        reactor: Any,
        *,
        endpoint: str | IStreamServerEndpoint = "tcp:0",
        queue_messages_max: int = 1000,
        queue_bytes_max: int = 1_048_576,
        limits: ServerLimits | None = None,
        announce_port: int | None = None,
        announce_every_s: float = EVERY_S_DEFAULT,
    ) -> None:
        super().__init__(
            link, name, reactor, endpoint, limits or ServerLimits(), announce_port, announce_every_s
        )
        self._queue_limits = (queue_messages_max, queue_bytes_max)

    @property
    def subscribers(self) -> int:
        """How many are subscribed now."""
        return sum(one.is_open for one in self._sockets())

    @property
    def dropped(self) -> int:
        """Messages that did not reach a subscriber because it was too slow, over all of them."""
        return sum(one.outbox.dropped for one in self._sockets())

    def publish(self, message: str | bytes) -> int:
        """Send ``message`` to every subscriber, text or binary; return how many there are."""
        if isinstance(message, str):
            frame = Frame(Opcode.TEXT, message.encode()).serialize(mask=False)
        else:
            frame = Frame(Opcode.BINARY, bytes(message)).serialize(mask=False)
        reached = 0
        for socket in self._sockets():
            if socket.is_open:
                socket.publish(frame)
                reached += 1
        return reached

    def _sockets(self) -> list[PublisherSocket]:
        return list(self._factory.connections) if self._factory is not None else []

    def _make_factory(self) -> Factory:
        def make() -> PublisherSocket:
            return PublisherSocket(self._limits, self._reactor, Outbox(*self._queue_limits))

        return WebSocketServerFactory(make, self._limits)

    async def _sweep(self) -> None:
        now = self._reactor.seconds()
        for socket in self._sockets():
            socket.sweep(now, self._limits.idle_timeout_s / 2)

    def _close_connections(self) -> None:
        for socket in self._sockets():
            socket.close(GOING_AWAY, "shutting down")


class Subscriber(Service):
    """
    Receives what one publisher announced under a name sends, and finds another when it is gone.

    Args:
        link: finds the publishers.
        name: the service name, which is the topic.
        on_message: called with each message, ``str`` or ``bytes``.
        reactor: connects, and keeps the time.
        connect_timeout_s: what one publisher gets to accept the connection.
        silence_s: a connection that has been silent so long is pinged, and given up when the
            ping is not answered in as long again.
        message_bytes_max: a larger message ends the connection.
        tls: for publishers in secure mode, as for RPCClient.
        rng: picks the publisher; the system's generator if None.
    """

    _log = Logger()

    def __init__(
        self,
        link: Link,
        name: str,
        on_message: Callable[[str | bytes], None],
        reactor: Any,
        *,
        connect_timeout_s: float = 3.0,
        silence_s: float = 30.0,
        message_bytes_max: int = 16_777_216,
        tls: TLSFor | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._link = link
        self._name = check_name(name)
        self._on_message = on_message
        self._reactor = reactor
        self._connect_timeout_s = connect_timeout_s
        self._silence_s = silence_s
        self._message_bytes_max = message_bytes_max
        self._tls = tls
        rng = rng or random.SystemRandom()
        self._destinations = Destinations(rng)
        self._schedule = ReconnectSchedule(rng)
        self._background = Background(self._log)
        self._connections = Connections()
        self._connected: OneShot[str] = OneShot()
        self._socket: SubscriberSocket | None = None

    @property
    def address(self) -> str | None:
        """The publisher that is connected now, or None."""
        return self._socket.address if self._socket is not None else None

    def start(self) -> None:
        """Find a publisher and stay connected to one until stopped."""
        self._background.spawn(f"subscription to {self._name}", self._run())

    def stop(self) -> Deferred[None]:
        """
        Close the connection.

        Fires with: None.
        Cancel: not supported.
        """
        return Deferred.fromCoroutine(self._stop())

    def when_connected(self) -> Deferred[str]:
        """
        Wait for a connection, or get the present one.

        Fires with: the publisher's address.
        Cancel: only this wait ends.
        """
        return self._connected.when()

    def startService(self) -> None:
        super().startService()
        self.start()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return self.stop()

    async def _stop(self) -> None:
        await self._background.stop()
        await self._connections.when_empty(self._reactor, 2 * CLOSE_TIMEOUT_S)

    async def _run(self) -> None:
        while True:
            try:
                await self._connect_and_receive()
            except (NoPeerFound, LinkError, NotConnected, PeerLost) as error:
                if not self._schedule.failures:
                    self._log.info("{name}: {error}", name=self._name, error=str(error))
            await deferLater(self._reactor, self._schedule.next_pause())

    async def _connect_and_receive(self) -> None:
        addresses = await self._link.lookup(self._name, fresh=self._schedule.failures > 0)
        if not addresses:
            raise NoPeerFound(f"nobody is announced as {self._name!r}")
        address = self._destinations.order(addresses, self._reactor.seconds())[0]
        try:
            socket = await self._open(address)
        except (NotConnected, PeerLost):
            self._destinations.failed(address, self._reactor.seconds())
            self._link.forget(self._name, address)
            raise
        self._destinations.succeeded(address)
        self._socket = socket
        self._schedule.connected()
        self._connected.fire(address)
        self._log.info("subscribed to {name} at {address}", name=self._name, address=address)
        watching = Background(self._log)

        async def watch() -> None:
            socket.sweep(self._reactor.seconds(), self._silence_s)

        watching.spawn(
            "watch a subscription",
            every(lambda: self._silence_s / 4, self._reactor, self._log, "watching", watch),
        )
        try:
            await socket.lost
        except CancelledError:
            socket.close()
            raise
        finally:
            self._socket = None
            self._connected = OneShot()
            await watching.stop()
        self._destinations.failed(address, self._reactor.seconds())
        self._log.info("{name}: {address} is gone", name=self._name, address=address)

    async def _open(self, address: str) -> SubscriberSocket:
        bare = address.removeprefix("tcp://")

        def make() -> SubscriberSocket:
            return SubscriberSocket(
                bare,
                self._tls is not None,
                self._reactor,
                self._message_bytes_max,
                self._connections,
                self._receive,
            )

        timeout_s = self._connect_timeout_s
        socket: SubscriberSocket = await connect(self._reactor, address, self._tls, timeout_s, make)
        try:
            await deadline(socket.opened, timeout_s, self._reactor, "the handshake")
        except DeadlinePassed as error:
            socket.transport.abortConnection()
            raise NotConnected(str(error)) from None
        except CancelledError:
            socket.transport.abortConnection()
            raise
        return socket

    def _receive(self, message: str | bytes) -> None:
        try:
            self._on_message(message)
        except Exception:  # the program's own code; nothing is awaited here
            self._log.failure("a message of {name} was not handled", name=self._name)
