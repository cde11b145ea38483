"""
The connections that one daemon serves: clients by their queue, peers by the number of their link.

Shell: closes them; each connection owns its socket.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from grenache_py.exchange.client_port.send_queue import SendQueue
from grenache_py.exchange.daemon.connections.channel_states import ChannelState
from grenache_py.exchange.daemon.connections.client_connection import ClientConnection
from grenache_py.exchange.daemon.connections.line_connection import LineConnection
from grenache_py.exchange.daemon.connections.peer_connection import PeerConnection

__all__ = ["ConnectionSets"]

#: Bytes that wait for all links together.
LINKS_UNREAD_BYTES_MAX = 64 * 1_048_576
#: How long to wait before looking again whether all have closed.
CLOSED_PAUSE_S = 0.02


class ConnectionSets:
    """
    Every connection that is open.

    Attributes:
        clients: by the queue of what waits for them, which is how subscriptions know them.
        links: by number, which is how the node knows them.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.clients: dict[SendQueue, ClientConnection] = {}
        self.links: dict[int, PeerConnection] = {}

    def flush_clients(self, queues: Iterable[SendQueue]) -> None:
        """Write what waits in these queues, of those that are still connected."""
        clients = self.clients
        for queue in queues:
            client = clients.get(queue)
            if client is not None:
                client.flush()

    def room_for_link(self, links_max: int) -> bool:
        """Whether one more link fits; the oldest that is being closed anyway is cut off for it."""
        if len(self.links) < links_max:
            return True
        for link in self.links.values():
            if link.channel_state is ChannelState.CLOSING and not link.aborted:
                link.abort()
                return True
        return False

    def bound_links(self) -> None:
        """While too much waits for all peers together, give up the link that has most of it."""
        total = sum(link.send_queue.size for link in self.links.values())
        while total > LINKS_UNREAD_BYTES_MAX:
            fullest = max(self.links.values(), key=lambda link: link.send_queue.size)
            waiting = fullest.send_queue.size
            if not waiting:
                return
            total -= waiting
            fullest.send_queue.clear()
            fullest.abort()
            self.log.warn(
                "the link to {peer} is given up: it does not read, and {waiting} bytes waited",
                peer=fullest.address,
                waiting=waiting,
            )

    def drop_links(self) -> None:
        """Close every link at once, dropping what is queued, and forget them."""
        links, self.links = self.links, {}
        for link in links.values():
            link.abort()

    def close(self) -> None:
        """Close each connection once everything queued for it is written."""
        for connection in self._all():
            connection.close()

    def abort(self) -> None:
        """Close at once those that have not closed by themselves."""
        for connection in self._all():
            connection.abort()

    async def all_closed(self) -> None:
        """Wait until every connection is gone."""
        while self.clients or self.links:
            await deferLater(self._clock, CLOSED_PAUSE_S)

    def _all(self) -> list[LineConnection]:
        return [*self.clients.values(), *self.links.values()]
