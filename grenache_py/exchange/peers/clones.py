"""
Two links that prove one key with two boot ids: a restart, or two machines with one identity.

Pure. Both links are asked whether they are still there, after both were proven: less would not
show it, for what a machine sent before a restart may still be on its way after it. The older
link is not used any more, and ends when nothing has been shown in time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.requests import Answered
from grenache_py.wire.jsonrpc import request_line

__all__ = ["CloneCheck"]

#: Both links have so long to show that the other side is still there.
_CHALLENGE_S = 5.0
#: Id of the ping on the older link.
_CHALLENGE = "still there?"


@attrs.define
class _Contest:
    """An older link's claim to a key that ``new`` proves too."""

    new: PeerLink
    deadline: float
    old_lives: bool = False
    new_lives: bool = False


class CloneCheck:
    """
    Claims that are not decided yet, by the number of the older link.

    Args:
        send: puts a line on a link, ready or not.
        ping: asks the newer link, which is ready.
        both_live: called with a key that two machines prove at once.
    """

    def __init__(
        self,
        send: Callable[[PeerLink, bytes], None],
        ping: Callable[[PeerLink, Answered, float], None],
        both_live: Callable[[str, float], None],
    ) -> None:
        self._send = send
        self._ping = ping
        self._both_live = both_live
        self._of: dict[int, _Contest] = {}

    def begin(self, old: PeerLink, new: PeerLink, now: float) -> None:
        """``new`` proved the key of ``old`` with another boot id."""
        contest = self._of[old.id] = _Contest(new, now + _CHALLENGE_S)
        self._send(old, request_line("peer.ping", {}, _CHALLENGE))

        def answered(result: object, error: object, then: float) -> None:
            contest.new_lives = result is not None
            self._judge(contest, then)

        self._ping(new, answered, now)

    def heard(self, link: PeerLink, message: dict[str, Any], now: float) -> None:
        """The older link said something: only the answer to the last ping matters."""
        if message.get("id") == _CHALLENGE and "result" in message:
            contest = self._of[link.id]
            contest.old_lives = True
            self._judge(contest, now)

    def _judge(self, contest: _Contest, now: float) -> None:
        if contest.old_lives and contest.new_lives:
            self._both_live(contest.new.key, now)

    def ended(self, link: PeerLink, now: float) -> list[tuple[PeerLink, str]]:
        """The links to close, with the reasons, when the time of ``link``'s contest is up."""
        contest = self._of.get(link.id)
        if contest is None or now < contest.deadline <= now + _CHALLENGE_S:
            return []
        ends = [(link, "replaced by a newer link")]
        if contest.old_lives:
            ends.append((contest.new, "an older link lives, this one does not"))
        return ends

    def forget(self, number: int) -> None:
        """The connection of this number is gone."""
        self._of.pop(number, None)
