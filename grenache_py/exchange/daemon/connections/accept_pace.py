"""
How fast connections are accepted at one port, so that a flood of them is not all that is done.

Shell: changes the listening port it is given. Twisted accepts a hundred connections in one turn of
the reactor, and more in the next; to make and close one costs about as much as an order. Here it
is one a turn, and those beyond the rate wait in the kernel, in the order in which they came.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReactorTime

from grenache_py.exchange.peers.door import TOTAL_RATE
from grenache_py.exchange.rates import Rate, TokenBucket

__all__ = ["ACCEPT_RATES", "AcceptPace"]

#: Connections accepted at one port, by whom it is for. The clients of a daemon that was restarted
#: all come back at once; of strangers no more than can begin to prove a key.
ACCEPT_RATES = {"client": Rate(400, 400), "http": Rate(400, 400), "peer": TOTAL_RATE}


class AcceptPace:
    """The pace of one TCP port; other kinds of ports are left alone: files guard a UNIX socket."""

    def __init__(self, port: IListeningPort, clock: IReactorTime, rate: Rate) -> None:
        self._clock = clock
        self._port: Any = port
        self._bucket = TokenBucket(rate, clock.seconds())
        self._pause: IDelayedCall | None = None
        if type(port) is tcp.Port:
            self._accept = port.doRead
            port.doRead = self._accept_one  # type: ignore[method-assign]

    def _accept_one(self) -> None:
        wait_ms = self._bucket.take(self._clock.seconds())
        if wait_ms:
            self._port.stopReading()
            self._pause = self._clock.callLater(wait_ms / 1000, self._resume)
            return
        self._port.numberAccepts = 1
        self._accept()

    def _resume(self) -> None:
        self._pause = None
        self._port.startReading()

    def stop(self) -> None:
        """Accept no more; call it when the port stops listening."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
