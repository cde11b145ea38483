"""
All links of one peer: by number, and the ready one of each neighbour by its key.

Pure. Every change of a link's state is made here, along the table ``LINK``.
"""

from __future__ import annotations

from collections.abc import Callable

from grenache_py.errors import LocalProtocolError
from grenache_py.exchange.peers.link import LINK, LinkEvent, LinkState, PeerLink
from grenache_py.exchange.peers.outgoing import Outgoing

__all__ = ["LinkTable"]


class LinkTable:
    """
    The links.

    Args:
        strict: raise LocalProtocolError for a change of state that ``LINK`` does not allow (for
            tests). Otherwise it is counted, and ends that one link.

    Attributes:
        links: by the shell's number.
        by_key: the ready link of each neighbour.
        on_gone: called with a link that was ready and is not any more.
        illegal: changes of state that were not allowed; each is a bug here.
    """

    def __init__(self, outgoing: Outgoing, strict: bool) -> None:
        self.links: dict[int, PeerLink] = {}
        self.by_key: dict[str, PeerLink] = {}
        self.on_gone: list[Callable[[PeerLink, float], None]] = []
        self.illegal = 0
        self._outgoing = outgoing
        self._strict = strict

    def ready(self) -> list[PeerLink]:
        """Links to talk on, in the order they became ready."""
        return list(self.by_key.values())

    def of(self, key: str) -> list[PeerLink]:
        """All links that prove ``key``, whatever their state."""
        return [link for link in self.links.values() if link.key == key]

    def accept(self, link: PeerLink, now: float) -> bool:
        """``link`` becomes the one that is used for its peer; False when that is illegal."""
        if not self._happened(link, LinkEvent.ACCEPT, now):
            return False
        self.by_key[link.key] = link
        return True

    def contest(self, link: PeerLink, now: float) -> bool:
        """A newer link proves the same key: ``link`` is not used any more."""
        return self._happened(link, LinkEvent.CONTEST, now)

    def close(self, link: PeerLink, reason: str, now: float) -> None:
        """End a link; ``reason`` is for the log. Nothing happens when it is closing already."""
        if not link.closing:
            self._outgoing.close(link.id, reason)
            self._happened(link, LinkEvent.CLOSE, now)

    def lost(self, number: int, now: float) -> PeerLink | None:
        """A connection is gone; the link it was, when it is known."""
        link = self.links.pop(number, None)
        if link is not None:
            self._happened(link, LinkEvent.LOSE, now)
        return link

    def _happened(self, link: PeerLink, event: LinkEvent, now: float) -> bool:
        """The one place where a link's state changes; False when ``event`` was illegal."""
        before, legal = link.state, True
        try:
            link.state = LINK.next(before, event)
        except LocalProtocolError as error:
            if self._strict:
                raise
            legal = False
            self.illegal += 1
            if before is not LinkState.CLOSING:
                self._outgoing.close(link.id, f"a bug of this peer: {error}")
                link.state = LinkState.CLOSING
        if before is LinkState.READY and link.state is not LinkState.READY:
            link.mesh = False
            del self.by_key[link.key]
            for gone in self.on_gone:
                gone(link, now)
        return legal
