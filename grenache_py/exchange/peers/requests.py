"""
Requests and answers over links: carrying out theirs, keeping count of ours.

Pure. Every request is answered (docs/failure-modes.rst#f20), with an error object when it cannot be
carried out; every request of ours is answered once, by the other side, by its deadline, or by the
end of its link. Params are decoded here, once, by the decoder of the message's row
(``message_table.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.errors import INVALID_PARAMS, INVALID_REQUEST, NO_SUCH_METHOD, OrderError
from grenache_py.exchange.peers.link import PeerLink, PendingRequest
from grenache_py.exchange.peers.message_table import Later, MessageTable, PeerParams, PeerResult
from grenache_py.exchange.peers.outgoing import Outgoing
from grenache_py.wire.jsonrpc import error_line, request_line, result_line

__all__ = ["Answered", "PeerParams", "PeerRequests", "PeerResult"]

#: Characters of a request's id.
ID_LENGTH_MAX = 64
#: What it costs to refuse a message that has no price of its own.
REFUSED_POINTS = 2
#: What an answer costs; entries in it are paid for one by one, as those of ``gossip.publish``.
ANSWER_POINTS = 2
#: How long an answer may take.
REQUEST_TIMEOUT_S = 10.0

#: Called with a result, or with an error object, or with neither when no answer came.
Answered: TypeAlias = Callable[[dict[str, Any] | None, dict[str, Any] | None, float], None]


class PeerRequests:
    """
    Both directions of questions, for all links.

    Args:
        penalise: (link, points, reason, now): counts a fault of a link.
    """

    def __init__(
        self,
        outgoing: Outgoing,
        penalise: Callable[[PeerLink, float, str, float], None],
        table: MessageTable,
    ) -> None:
        self._bound = table.bound
        self._rows = table.rows
        self._table = table
        self._outgoing = outgoing
        self._penalise = penalise
        self._next_id = 0

    def request(
        self, link: PeerLink, method: str, params: PeerParams, answered: Answered, now: float
    ) -> None:
        """
        Ask one neighbour. ``answered`` is called once: with the result, or with the error
        object, or with neither when the link ended, when ``REQUEST_TIMEOUT_S`` passed, or when
        the link has stalled (``stall_s`` of the message's row).
        """
        if link.full or link.closing:
            answered(None, None, now)
            return
        self._next_id += 1
        link.pending[self._next_id] = PendingRequest(
            method, answered, now, now + REQUEST_TIMEOUT_S, self._rows[method].stall_s
        )
        self._outgoing.send(link, request_line(method, params, self._next_id))

    def cancel(self, link: PeerLink, now: float) -> None:
        """The link is over: whoever waits for an answer is told that none will come."""
        pending, link.pending = link.pending, {}
        for each in pending.values():
            each.answered(None, None, now)

    def expire(self, link: PeerLink, now: float) -> None:
        """Give up on questions whose deadline has passed."""
        for number, pending in list(link.pending.items()):
            # Whoever learns that it waited in vain may close the link, which answers the rest.
            stalled = max(pending.asked, link.answered) + pending.stall_s <= now
            late = stalled or not now < pending.deadline <= now + REQUEST_TIMEOUT_S
            if late and link.pending.pop(number, None) is not None:
                pending.answered(None, None, now)

    def called(self, link: PeerLink, message: dict[str, Any], now: float) -> None:
        """Carry out a request or notification of the other side."""
        name, params = message["method"], message.get("params", {})
        bound = self._bound.get(name) if isinstance(name, str) else None
        if bound is None:
            self.refuse(link, message, NO_SUCH_METHOD, f"there is no method {str(name)[:60]!r}")
            link.points += REFUSED_POINTS
            self._penalise(link, -1.0, "unknown method", now)
            return
        if not isinstance(params, dict):
            self.refuse(link, message, INVALID_PARAMS, "params must be an object")
            link.points += REFUSED_POINTS
            self._penalise(link, -10.0, "params are no object", now)
            return
        row, call = bound
        try:
            decoded = params if row.decode is None else row.decode(params)
            link.points += self._table.points(row, decoded)
            result = call(link, decoded, now)
        except OrderError as error:
            self.refuse(link, message, error.code, error.message, error.data)
            return
        except RemoteProtocolError as error:
            self.refuse(link, message, INVALID_PARAMS, str(error))
            link.points += REFUSED_POINTS
            self._penalise(link, -10.0, f"{name}: {error}", now)
            return
        if "id" in message and not link.closing:
            number = _id(message)
            if isinstance(result, Later):
                result.begin(lambda came: self._came_later(link, message, came))
            elif callable(result):
                later = result
                self._outgoing.send_later(link, lambda: _counted(link, number, later()))
            else:
                self._outgoing.send(link, _counted(link, number, result or {}))

    def _came_later(
        self, link: PeerLink, message: dict[str, Any], came: dict[str, Any] | OrderError
    ) -> None:
        if isinstance(came, OrderError):
            self.refuse(link, message, came.code, came.message, came.data)
        else:
            self._outgoing.send(link, _counted(link, _id(message), came))

    def refuse(
        self,
        link: PeerLink,
        message: dict[str, Any],
        code: int,
        text: str,
        data: dict[str, Any] | None = None,
    ) -> None:
        """Answer a request with an error object; a notification gets none."""
        if "id" in message and "method" in message and not link.closing:
            self._outgoing.send(link, error_line(_id(message), code, text, data))

    def returned(self, link: PeerLink, message: dict[str, Any], now: float) -> None:
        """Take an answer of the other side; one that was not asked for means nothing."""
        number = message.get("id")
        pending = link.pending.pop(number, None) if isinstance(number, int) else None
        link.points += ANSWER_POINTS
        if pending is None:
            return  # late, or never asked: nothing to do
        if pending.stall_s < REQUEST_TIMEOUT_S:
            link.answered = now
        result, error = message.get("result"), message.get("error")
        if isinstance(result, dict):
            answer: tuple[dict[str, Any] | None, dict[str, Any] | None] = (result, None)
        else:
            answer = (None, error if isinstance(error, dict) else {"code": INVALID_REQUEST})
        try:
            pending.answered(*answer, now)
        except RemoteProtocolError as fault:
            self._penalise(link, -10.0, f"answer to {pending.method}: {fault}", now)


def _counted(link: PeerLink, number: Any, result: dict[str, Any]) -> bytes:
    line = result_line(number, result)
    link.answer_bytes += len(line)
    return line


def _id(message: dict[str, Any]) -> Any:
    number = message.get("id")
    # It is written into the answer, which must fit a line whatever the question was.
    if isinstance(number, str) and len(number) <= ID_LENGTH_MAX:
        return number
    return number if isinstance(number, int) and abs(number) < 2**64 else None
