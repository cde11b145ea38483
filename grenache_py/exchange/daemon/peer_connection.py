"""
The connection to one peer: its queue has a limit, and beyond it the link is given up.

Shell. A peer is never held up by its own queue (two peers that wait for each other would wait for
ever): when the queue overflows, its link is closed, and the two reconcile when they meet again
(docs/failure-modes.rst#f5).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from grenache_py.exchange.daemon.line_connection import LineConnection
from grenache_py.exchange.daemon.link_turns import LinkTurns
from grenache_py.exchange.peers.turns import Turn

__all__ = ["PeerConnection"]

#: Bytes that may wait for one peer; about 20,000 log entries.
PEER_QUEUE_BYTES_MAX = 16 * 1_048_576


class PeerConnection(LineConnection):
    """
    One link.

    Attributes:
        link: its number, as the node knows it.
        address: ``host:port`` of the other end.
        turn: what it may have carried out, and owes.
        turns: says when; set by who takes the lines.
    """

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
        self.turn = Turn()
        self.turns: LinkTurns | None = None
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

    def serve(self, inbox: deque[bytes]) -> bool:
        turns, turn = self.turns, self.turn
        if turns is None or not inbox or not self.may_take():
            return False
        pause_s = turn.answers_wait_s(self._clock.seconds())
        if pause_s:
            if self._again is None:
                self._again = self._clock.callLater(pause_s, self._work_again)
            return False
        if turns.begin(turn):
            while inbox and not self._closing and turns.goes_on(turn) and self.may_take():
                line = inbox.popleft()
                turns.pay_line(turn, line)
                self.line(line)
        if inbox and not self._closing and self.may_take():
            turns.queue(self)
        return False

    def too_long(self) -> None:
        self._take(self, None)

    def lost(self, reason: str) -> None:
        self._lost_to(self, reason)

    def send(self, line: bytes) -> bool:
        """Queue a line; False if the link had to be given up because its queue is full."""
        self.send_queue.answer(line)
        if self.send_queue.size > PEER_QUEUE_BYTES_MAX:
            self.abort()
            return False
        return True
