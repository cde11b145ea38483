"""
The connection to one peer: its queue has a limit, and beyond it the link is given up.

Shell. A peer is never held up by its own queue (two peers that wait for each other would wait for
ever): when the queue overflows, its link is closed, and the two reconcile when they meet again
(docs/failure-modes.rst#f5).
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from grenache_py.exchange.daemon.line_connection import LineConnection

__all__ = ["PeerConnection"]

#: Bytes that may wait for one peer; about 20,000 log entries.
PEER_QUEUE_BYTES_MAX = 16 * 1_048_576
#: A link that is being closed is cut off after this time, whatever still waits.
PEER_LEAVE_S = 2.0


class PeerConnection(LineConnection):
    """
    One link.

    Attributes:
        link: its number, as the node knows it.
        address: ``host:port`` of the other end.
    """

    leave_s = PEER_LEAVE_S

    def __init__(
        self,
        clock: IReactorTime,
        link: int,
        address: str,
        opened: Callable[[PeerConnection], None],
        take: Callable[[PeerConnection, bytes | None], None],
        lost: Callable[[PeerConnection, str], None],
    ) -> None:
        super().__init__(clock)
        self.link = link
        self.address = address
        self._opened = opened
        self._take = take
        self._lost_to = lost

    def connectionMade(self) -> None:
        super().connectionMade()
        self._opened(self)

    def line(self, line: bytes) -> None:
        line = line.strip()
        if line:
            self._take(self, line)

    def too_long(self) -> None:
        self._take(self, None)

    def lost(self, reason: str) -> None:
        self._lost_to(self, reason)

    def close(self) -> None:
        super().close()
        self._must_be_gone()

    def send(self, line: bytes) -> bool:
        """Queue a line; False if the link had to be given up because its queue is full."""
        self.send_queue.answer(line)
        if self.send_queue.size > PEER_QUEUE_BYTES_MAX:
            self.abort()
            return False
        return True
