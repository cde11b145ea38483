"""
The connection to one peer: its queue has a limit, and beyond it the link is given up.

Shell. A peer is never held up by its own queue (two peers that wait for each other would wait for
ever): when the queue overflows, its link is closed, and the two reconcile when they meet again
(docs/failure-modes.rst#f5).

Nothing that comes is read as a line before TLS has proven the other side's key, and that must
happen in time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from grenache_py.exchange.daemon.connections.channel_states import (
    CHANNEL_TRANSITIONS,
    ChannelEvent,
    ChannelState,
)
from grenache_py.exchange.daemon.connections.line_connection import LineConnection
from grenache_py.exchange.daemon.connections.link_turns import LinkTurns
from grenache_py.exchange.errors import NOT_AUTHORISED, TOO_LARGE
from grenache_py.exchange.peers.certificate import key_of
from grenache_py.exchange.peers.turns import Turn
from grenache_py.wire.jsonlines import LINE_BYTES_MAX
from grenache_py.wire.jsonrpc import error_line

__all__ = ["PROOF_S", "PeerConnection"]

#: Bytes that may wait for one peer; about 10,000 log entries.
PEER_QUEUE_BYTES_MAX = 8 * 1_048_576
#: Bytes that a link has not read, beyond which it has few turns when it asks for more than a line.
#: An honest one asks 16 questions at once, whose answers are 1 MiB.
PEER_UNREAD_BYTES = 2 * 1_048_576
#: Such a link has a turn in so many seconds, and is looked at so often.
UNREAD_TURN_S, UNREAD_LOOK_S = 1.0, 0.1
#: A link that is being closed is cut off after this time, whatever still waits.
PEER_LEAVE_S = 2.0
#: Seconds from the connection in which the other side must have proven a key.
PROOF_S = 5.0
#: Bytes of the first line, the hello. One that names 256 markets has about 8,000.
HELLO_BYTES_MAX = 16_384
#: What the other side reads that showed no key.
NO_KEY = (
    "A peer is known by its key: show a certificate with an ed25519 key of your own,"
    " or use: exchange peer-shell HOST:PORT"
)


@implementer(IHandshakeListener)
class PeerConnection(LineConnection):
    """
    One link, and the connection that may become one.

    Attributes:
        link: its number, as the node knows it.
        address: ``host:port`` of the other end.
        outbound: opened by us.
        key: of the other side, "" before TLS has proven it.
        channel_state: how far the connection has come.
        turn: what it may have carried out, and owes.
        turns: says when; set by who takes the lines.
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
        *,
        outbound: bool,
        unproven: Callable[[PeerConnection, str], None] = lambda connection, reason: None,
    ) -> None:
        """
        Args:
            opened: called when the key is proven; then ``take`` and at last ``lost``.
            unproven: called instead, with a sentence, when that did not happen.
        """
        super().__init__(clock)
        self.link = link
        self.address = address
        self.outbound = outbound
        self.key = ""
        self.channel_state = ChannelState.CONNECTED
        self.turn = Turn()
        self.turns: LinkTurns | None = None
        self._opened = opened
        self._take = take
        self._lost_to = lost
        self._unproven = unproven
        self._why = ""
        self._greeted = False
        self._turn_at = 0.0
        self._answered_before = 0
        self._expiry: IDelayedCall | None = None

    def happens(self, event: ChannelEvent) -> None:
        """The one place where the state of the channel changes."""
        self.channel_state = CHANNEL_TRANSITIONS.next(self.channel_state, event)

    # Before the proof.

    def expect_proof(self, abort: Callable[[], None]) -> None:
        """The connection is open: from now on the other side has ``PROOF_S``."""

        def too_slow() -> None:
            self._why = "no TLS handshake in 5 s: an older peer, or no peer"
            abort()

        self._expiry = self._clock.callLater(PROOF_S, too_slow)

    def connectionMade(self) -> None:
        if self._expiry is None:
            self.expect_proof(self.abort)
        self.happens(ChannelEvent.BEGIN)
        super().connectionMade()

    def handshakeCompleted(self) -> None:
        transport: Any = self.transport
        key = key_of(transport.getHandle())
        if key:
            self.proven(key)
            return
        self._why = "it has no certificate with an ed25519 key"
        if not self.outbound:
            self.send(error_line(None, NOT_AUTHORISED, NO_KEY))
        self.close()

    def proven(self, key: str) -> None:
        """TLS verified a signature of ``key`` over this very connection."""
        self.happens(ChannelEvent.PROVE)
        self._stop_expiry()
        self.key = key
        self._opened(self)

    def give_up(self, why: str) -> None:
        """Close at once what proved no key; ``why`` is what is reported."""
        self._why = why
        self.abort()

    def _stop_expiry(self) -> None:
        if self._expiry is not None and self._expiry.active():
            self._expiry.cancel()

    # What `LineConnection` calls.

    def line(self, line: bytes) -> None:
        line = line.strip()
        if line:
            if not self._greeted:
                self._greeted = True
                if len(line) > HELLO_BYTES_MAX:
                    message = f"A hello has at most {HELLO_BYTES_MAX} bytes; this link ends here."
                    self.send(error_line(None, TOO_LARGE, message))
                    self.close()
                    return
            self._take(self, line)

    def serve(self, inbox: deque[bytes]) -> None:
        turns, turn = self.turns, self.turn
        if turns is None or not inbox or not self.may_take():
            return
        now = self._clock.seconds()
        pause_s = turns.answers_wait_s(turn, now) or self._unread_wait_s(now)
        if pause_s:
            if self._again is None:
                self._again = self._clock.callLater(pause_s, self._work_again)
            return
        if turns.begin(turn):
            self._turn_at = now
            while inbox and not self._closing and turns.goes_on(turn) and self.may_take():
                line = inbox.popleft()
                turns.pay_line(turn, line)
                self.line(line)
        if inbox and not self._closing and self.may_take():
            turns.queue(self)

    def _unread_wait_s(self, now: float) -> float:
        """
        For how many seconds a link has to wait that asks for much and does not read it. It is not
        held up for good: two peers that wait for each other would wait for ever.
        """
        if self.send_queue.size <= PEER_UNREAD_BYTES:
            self._answered_before = self.turn.answered_bytes
        if self.turn.answered_bytes - self._answered_before <= LINE_BYTES_MAX:
            return 0.0
        return min(UNREAD_LOOK_S, max(0.0, self._turn_at + UNREAD_TURN_S - now))

    def _work_again(self) -> None:
        self._again = None
        self.work()

    def too_long(self) -> None:
        self._take(self, None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._why and reason.check(SSL.Error):
            self._why = _sentence(reason.value)
        super().connectionLost(reason)

    def lost(self, reason: str) -> None:
        self._stop_expiry()
        self.happens(ChannelEvent.CLOSE)
        if self.key:
            self._lost_to(self, reason)
        else:
            self._unproven(self, self._why or reason)

    # What the commit loop calls.

    def close(self) -> None:
        self.happens(ChannelEvent.CLOSE)
        self.flush()
        super().close()
        self._must_be_gone()

    def abort(self) -> None:
        self.happens(ChannelEvent.CLOSE)
        super().abort()

    def send(self, line: bytes) -> bool:
        """Queue a line; False if the link had to be given up because its queue is full."""
        self.send_queue.answer(line)
        if self.send_queue.size > PEER_QUEUE_BYTES_MAX:
            self.abort()
            return False
        return True


def _sentence(error: object) -> str:
    """What OpenSSL's list of errors means, as one sentence."""
    stack = getattr(error, "args", ((),))[0] if getattr(error, "args", None) else ()
    texts = [item[2] for item in stack if isinstance(item, tuple) and len(item) == 3 and item[2]]
    return f"TLS failed: {texts[-1]}" if texts else "TLS failed"
