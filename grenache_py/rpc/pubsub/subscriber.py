"""
The subscriber: messages of one publisher, or of the next when that one is gone.

Service: finds a publisher, connects, and does so again until it is stopped.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from grenache_py.deferreds import Background, DeadlinePassed, OneShot, deadline, every
from grenache_py.link.answers import check_name
from grenache_py.link.client import Link
from grenache_py.link.errors import LinkError
from grenache_py.rpc.addresses import ServiceAddresses
from grenache_py.rpc.connecting import NotConnected, TLSFor, TransportSettings, connect
from grenache_py.rpc.errors import NoPeerFound, PeerLost, PeerUnreachable
from grenache_py.rpc.limits import CLOSE_TIMEOUT_S
from grenache_py.rpc.pubsub.connections import SubscriberSocket
from grenache_py.rpc.pubsub.reconnect import ReconnectSchedule
from grenache_py.rpc.sockets import Connections

__all__ = ["Subscriber"]


class Subscriber(Service):
    """
    Receives what one publisher announced under a name sends, and finds another when it is gone.

    Args:
        link: finds the publishers.
        name: the service name, which is the topic.
        on_message: called with each message, ``str`` or ``bytes``; with ``json`` what it holds.
        reactor: connects, and keeps the time.
        connect_timeout_s: what one publisher gets to accept the connection.
        silence_s: a connection that has been silent so long is pinged, and given up when the
            ping is not answered in as long again.
        message_bytes_max: a larger message ends the connection.
        json: the messages are JSON; one that is not is logged and left out.
        tls: for publishers in secure mode, as for RPCClient.
        rng: picks the publisher; the system's generator if None.
    """

    _log = Logger()

    def __init__(
        self,
        link: Link,
        name: str,
        on_message: Callable[[Any], None],
        reactor: Any,
        *,
        connect_timeout_s: float = 3.0,
        silence_s: float = 30.0,
        message_bytes_max: int = 16_777_216,
        json: bool = False,
        tls: TLSFor | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._name = check_name(name)
        self._on_message = on_message
        self._json = json
        self._reactor = reactor
        self._settings = TransportSettings(tls, connect_timeout_s, message_bytes_max)
        self._silence_s = silence_s
        rng = rng or random.SystemRandom()
        self._addresses = ServiceAddresses(link, rng, reactor)
        self._schedule = ReconnectSchedule(rng)
        self._background = Background(self._log)
        self._connections = Connections()
        self._connected: OneShot[str] = OneShot()
        self._socket: SubscriberSocket | None = None

    def __repr__(self) -> str:
        return f"<Subscriber {self._name!r}, {self.address or 'not connected'}>"

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
        Fails with:
            CancelledError: the subscriber was stopped first.
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
        if not self._connected.happened:
            self._connected.fail(CancelledError())
        await self._connections.when_empty(self._reactor, 2 * CLOSE_TIMEOUT_S)

    async def _run(self) -> None:
        while True:
            try:
                await self._connect_and_receive()
            except (NoPeerFound, PeerUnreachable, LinkError) as error:
                if not self._schedule.failures:
                    self._log.info("{name}: {error}", name=self._name, error=str(error))
            await deferLater(self._reactor, self._schedule.next_pause())

    async def _connect_and_receive(self) -> None:
        address, socket = await self._addresses.try_in_turn(self._name, self._open)
        self._socket = socket
        self._schedule.connected()
        # In a turn of its own: whoever waits may stop this subscriber at once.
        told = self._reactor.callLater(0, self._connected.fire, address)
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
            if told.active():
                told.cancel()
            else:
                self._connected = OneShot()
            await watching.stop()
        self._addresses.suspect(address)
        self._log.info("{name}: {address} is gone", name=self._name, address=address)

    async def _open(self, address: str) -> tuple[str, SubscriberSocket]:
        bare = address.removeprefix("tcp://")

        def make() -> SubscriberSocket:
            return SubscriberSocket(
                bare, self._settings, self._reactor, self._connections, self._receive
            )

        timeout_s = self._settings.connect_timeout_s
        socket: SubscriberSocket = await connect(self._reactor, address, self._settings, make)
        try:
            await deadline(socket.opened, timeout_s, self._reactor, "the handshake")
        except PeerLost as error:
            raise NotConnected(str(error)) from None
        except DeadlinePassed as error:
            socket.transport.abortConnection()
            raise NotConnected(str(error)) from None
        except CancelledError:
            socket.transport.abortConnection()
            raise
        return address, socket

    def _receive(self, message: Any) -> None:
        if self._json:
            try:
                message = msgspec.json.decode(message)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                self._log.warn("{name}: not JSON: {error}", name=self._name, error=str(error))
                return
        try:
            self._on_message(message)
        except Exception:  # the program's own code; nothing is awaited here
            self._log.failure("a message of {name} was not handled", name=self._name)
