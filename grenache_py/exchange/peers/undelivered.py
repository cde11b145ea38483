"""
Messages for peers that are not linked yet: they wait while the peer is dialled.

Pure. Bounded in peers, in messages for each, and in time; whoever asked something that could not
be delivered is told so.
"""

from __future__ import annotations

from typing import NamedTuple

import attrs

from grenache_py.exchange.peers.requests import Answered, PeerParams

__all__ = ["PEERS_MAX", "Message", "Undelivered"]

#: Peers that messages wait for.
PEERS_MAX = 1_024
#: Messages that wait for one of them.
MESSAGES_MAX = 256
#: For how long they wait.
WAITING_S = 10.0


class Message(NamedTuple):
    """A request, or, without ``answered``, a notification."""

    method: str
    params: PeerParams
    answered: Answered | None


@attrs.define
class _Pile:
    until: float
    messages: list[Message] = attrs.Factory(list)


@attrs.define
class Undelivered:
    """What waits, by the key of the peer it is for."""

    _piles: dict[str, _Pile] = attrs.Factory(dict)

    def put(self, key: str, message: Message, now: float) -> bool:
        """Keep ``message`` until the peer is linked; False when there is no room."""
        pile = self._piles.get(key)
        if pile is None:
            if len(self._piles) >= PEERS_MAX:
                return False
            pile = self._piles[key] = _Pile(now + WAITING_S)
        if len(pile.messages) >= MESSAGES_MAX:
            return False
        pile.messages.append(message)
        return True

    def take(self, key: str) -> list[Message]:
        """What waited for a peer, in order; it is linked now."""
        pile = self._piles.pop(key, None)
        return pile.messages if pile is not None else []

    def expire(self, now: float) -> None:
        """Give up on peers that were not linked in time."""
        for key, pile in list(self._piles.items()):
            if not now < pile.until <= now + WAITING_S:
                del self._piles[key]
                for message in pile.messages:
                    if message.answered:
                        message.answered(None, None, now)
