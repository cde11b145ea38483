"""
The DHT on a UDP socket.

Shell: owns one transport and one timer. Datagrams and time go into the node, its
effects come out here: datagrams are sent, ended operations fire their Deferreds.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.udp import Port
from twisted.logger import Logger

from grenache_py.dht.counters import DHTStatus
from grenache_py.dht.errors import DHTNotRunning
from grenache_py.dht.items import GetResult, PutItem
from grenache_py.dht.node import DATAGRAM_BYTES_MAX, DHTNode
from grenache_py.dht.traversals import Operation
from grenache_py.errors import GrenacheError

__all__ = ["DHTPort", "DHTProtocol"]

#: Then the reactor's other readers have their turn.
DATAGRAMS_A_TURN_MAX = 64

T = TypeVar("T")


class DHTPort(Port):
    """A UDP port whose protocol reads the socket itself: several datagrams, then one flush."""

    protocol: DHTProtocol

    def doRead(self) -> None:
        self.protocol.read(self.socket)


class DHTProtocol(DatagramProtocol):
    """
    A node on the network.

    Every operation fails with DHTNotRunning while the port is not open, and with
    CancelledError when it is closed under it.

    Args:
        node: The core.
        clock: Time and the timer. Its seconds should be wall-clock time (Twisted's
            reactors' are), so that tokens survive a restart.
        want_bootstrap: Called with no arguments when the node wants to join; the answer
            is a call of `bootstrap`.
    """

    noisy = False
    log = Logger()

    def __init__(
        self, node: DHTNode, clock: IReactorTime, want_bootstrap: Callable[[], None]
    ) -> None:
        self.node = node
        self._clock = clock
        self._want_bootstrap = want_bootstrap
        self._timer: IDelayedCall | None = None
        self._timer_due = 0.0
        self._latest = clock.seconds()
        self._set_back_s = 0.0
        self._socket: socket.socket | None = None
        self._flushing = False
        self.send_errors = 0

    # --- what the grape calls ---------------------------------------------------------------

    def lookup(self, info_hash: bytes) -> Deferred[list[str]]:
        """
        Find who announced themselves under ``info_hash`` (a name's UTF-8 bytes).

        Equal lookups that overlap share one traversal and one list: do not change it.

        Fires with: at most 100 "ip:port" in random order, possibly none.
        Fails with:
            DHTOverloaded: too many operations are under way.
        Cancel: the traversal goes on for those who share it.
        """
        return self._started(lambda now: self.node.lookup(info_hash, now))

    def announce(self, info_hash: bytes, port: int) -> Deferred[int]:
        """
        Announce (this node's IP address as others see it, ``port``).

        Fires with: how many other nodes stored it, at least 1; 1 too where there is no
            other node and this one did.
        Fails with:
            NoNodesToQuery: others answered, and none let us store it.
            AllQueriesFailed: nobody did; ``krpc_error`` says why.
            LocalProtocolError: ``port`` is not in 1..65535.
            DHTOverloaded: too many operations are under way.
        Cancel: what was sent was sent.
        """
        return self._started(lambda now: self.node.announce(info_hash, port, now))

    def put(self, item: PutItem) -> Deferred[bytes]:
        """
        Store a value.

        Fires with: its target, 20 bytes.
        Fails with: as `announce`, LocalProtocolError for a value or member that cannot be.
        Cancel: what was sent was sent.
        """
        return self._started(lambda now: self.node.put(item, now))

    def get(
        self, target: bytes, salt: bytes = b"", use_cache: bool = True
    ) -> Deferred[GetResult | None]:
        """
        Fetch a value.

        Fires with: the value, or None when nobody has it.
        Fails with:
            DHTOverloaded: too many operations are under way.
        Cancel: the queries under way are not taken back.
        """
        return self._started(lambda now: self.node.get(target, now, salt=salt, use_cache=use_cache))

    def bootstrap(self, addresses: list[tuple[str, int]]) -> None:
        """Join through these literal addresses."""
        self.node.bootstrap(addresses, self._now())
        self._flush()

    def status(self) -> DHTStatus:
        """The node at a glance."""
        return self.node.status()

    # --- what Twisted calls -----------------------------------------------------------------

    def startProtocol(self) -> None:
        assert self.transport is not None
        # Twisted's write() checks and looks up what is known here already; at a hundred
        # thousand datagrams a second that is a third of the time.
        handle = getattr(self.transport, "getHandle", None)
        if handle is not None:
            self._socket = handle()
        self._flush()

    def stopProtocol(self) -> None:
        self._socket = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        for operation in self.node.running():
            for waiter in operation.context or ():
                waiter.cancel()

    def datagramReceived(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self.node.receive_datagram(data, addr, self._now())
        if answer is not None:
            self._send(answer, addr)
        self._flush_if_needed()

    def read(self, handle: socket.socket) -> None:
        """Take what has come to the socket, up to a turn's worth, and then act on all of it."""
        now = self._now()
        receive = self.node.receive_datagram
        try:
            for _ in range(DATAGRAMS_A_TURN_MAX):
                data, address = handle.recvfrom(DATAGRAM_BYTES_MAX)
                answer = receive(data, address, now)
                if answer is not None:
                    self._send(answer, address)
        except OSError:  # usually: that was all
            pass
        except Exception:  # a bug, which must not cost us the port
            self.log.failure("a datagram failed")
        self._flush_if_needed()

    # --- inside -----------------------------------------------------------------------------

    def _flush_if_needed(self) -> None:
        if self.node.has_effects() or self._timer is None:
            self._flush()

    def _started(self, start: Callable[[float], Operation]) -> Deferred[T]:
        waiter: Deferred[T] = Deferred(_not_cancelled)
        if self.transport is None:
            waiter.errback(DHTNotRunning())
            return waiter
        try:
            operation = start(self._now())
        except GrenacheError as problem:
            waiter.errback(problem)
            return waiter
        if operation.context is None:
            operation.context = [waiter]
        else:
            operation.context.append(waiter)
        self._flush()
        return waiter

    def _now(self) -> float:
        """
        The clock's time, but never less than it was.

        When the clock is set back, what was due a moment later would be due hours later:
        to the node time goes on, and the timer, which waits for the old hour, is made anew.
        """
        now = self._clock.seconds()
        if now < self._latest:
            self._set_back_s += self._latest - now
            if self._timer is not None and self._timer.active():
                self._timer.cancel()
            self._timer = None
        self._latest = now
        return now + self._set_back_s

    def _tick(self) -> None:
        self._timer = None
        self.node.tick(self._now())
        self._flush()

    def _flush(self) -> None:
        """Carry out the node's effects and set the timer; a callback may start operations."""
        if self._flushing:
            return
        self._flushing = True
        node = self.node
        sent = False
        try:
            while node.has_effects():
                datagrams, finished, bootstrap_wanted = node.take_effects()
                sent = sent or bool(datagrams)
                for data, address in datagrams:
                    self._send(data, address)
                for operation in finished:
                    _fire(operation)
                if bootstrap_wanted:
                    self._want_bootstrap()
        finally:
            self._flushing = False
        if sent or self._timer is None:  # nothing else brings a deadline nearer
            self._set_timer(node.next_deadline())

    def _set_timer(self, due: float) -> None:
        delay_s = max(0.0, due - self._now())
        timer = self._timer
        if timer is None:
            if self.transport is not None:
                self._timer = self._clock.callLater(delay_s, self._tick)
                self._timer_due = due
        elif due < self._timer_due:
            timer.reset(delay_s)
            self._timer_due = due

    def _send(self, data: bytes, address: tuple[str, int]) -> None:
        try:
            if self._socket is not None:
                self._socket.sendto(data, address)
            elif self.transport is not None:
                self.transport.write(data, address)
        except OSError:
            # A full buffer, no route, too large: to the DHT all of these are a lost datagram.
            self.send_errors += 1


def _fire(operation: Operation) -> None:
    for waiter in operation.context or ():
        if waiter.called:
            continue
        if operation.error is not None:
            waiter.errback(operation.error)
        else:
            waiter.callback(operation.result)


def _not_cancelled(waiter: Deferred[T]) -> None:
    """Others may wait for the same operation: only this Deferred ends."""
