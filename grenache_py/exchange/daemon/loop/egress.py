"""
What the node sends leaves here: lines go onto links, links are closed, peers are dialled.

Shell: writes to the connections of peers, and owns one timer. What waits for no commit leaves
whatever the disk is doing (docs/design/gossip.rst#at-once).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from grenache_py.exchange.daemon.connections.connection_sets import ConnectionSets
from grenache_py.exchange.daemon.connections.link_refusals import LinkRefusals
from grenache_py.exchange.daemon.connections.peer_connection import PeerConnection
from grenache_py.exchange.daemon.loop.guarded_node import GuardedNode
from grenache_py.exchange.effects.batch import CloseLink, Dial, Send

__all__ = ["Egress"]


class Egress:
    """Carries out what leaves a node for other peers."""

    def __init__(
        self,
        guarded: GuardedNode,
        connections: ConnectionSets,
        clock: IReactorTime,
        refusals: LinkRefusals,
        dial: Callable[[Dial], None],
    ) -> None:
        self._guarded = guarded
        self._connections = connections
        self._clock = clock
        self._refusals = refusals
        self._dial = dial
        self._timer: IDelayedCall | None = None

    def relay_soon(self) -> None:
        """Have what waits for no commit leave once the sockets that have data were read."""
        if self._timer is None:
            self._timer = self._clock.callLater(0, self.relay)

    def relay(self) -> None:
        """Send what waits for no commit."""
        self.send(self.take())

    def take(self) -> list[Send | CloseLink | Dial]:
        """What waits for no commit, to be sent by the caller."""
        self.stop()
        return self._guarded.take_at_once()

    def stop(self) -> None:
        """Send nothing more by a timer."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def send(self, sends: Iterable[Send | CloseLink | Dial]) -> None:
        """Carry out ``sends``, in order."""
        links = self._connections.links
        grown: dict[PeerConnection, None] = {}
        for send in sends:
            if isinstance(send, Send):
                connection = links.get(send.link)
                if connection is not None and connection.send(send.line):
                    grown[connection] = None
            elif isinstance(send, CloseLink):
                connection = links.get(send.link)
                if connection is not None:
                    self._refusals.closed(connection.address, send.reason)
                    connection.flush()
                    connection.close()
            else:
                self._dial(send)
        for connection in grown:
            connection.flush()
        if grown:
            self._connections.bound_links()
