"""
The connections that one daemon serves: clients by their queue, peers by the number of their link.

Shell: closes them; each connection owns its socket.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from grenache_py.exchange.client_port.send_queue import SendQueue
from grenache_py.exchange.daemon.connections.channel_states import ChannelState
from grenache_py.exchange.daemon.connections.client_connection import ClientConnection
from grenache_py.exchange.daemon.connections.line_connection import LineConnection
from grenache_py.exchange.daemon.connections.peer_connection import PeerConnection

__all__ = ["ConnectionSets"]

#: Bytes that wait for all links together, and for all clients.
LINKS_UNREAD_BYTES_MAX = 32 * 1_048_576
CLIENTS_UNREAD_BYTES_MAX = 256 * 1_048_576
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

    def flush_clients(
        self, queues: Collection[SendQueue], answered: Iterable[ClientConnection] = ()
    ) -> None:
        """Write what waits in these queues, of those that are still connected; bound the rest."""
        clients = self.clients
        for queue in queues:
            client = clients.get(queue)
            if client is not None:
                client.flush()
        if any(queue.size for queue in queues) or any(one.send_queue.size for one in answered):
            self._bound_clients()

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
        for link, waiting in _fullest(self.links.values(), LINKS_UNREAD_BYTES_MAX):
            link.abort()
            self.log.warn(
                "the link to {peer} is given up: it does not read, and {waiting} bytes waited",
                peer=link.address,
                waiting=waiting,
            )

    def _bound_clients(self) -> None:
        """While too much waits for all clients together, give up the one that has most of it."""
        for client, waiting in _fullest(self.clients.values(), CLIENTS_UNREAD_BYTES_MAX):
            client.abort()
            self.log.warn(
                "a client at {address} is given up: it does not read, and {waiting} bytes waited",
                address=client.session.client.source or "a UNIX socket",
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


_Kind = TypeVar("_Kind", bound=LineConnection)


def _fullest(connections: Collection[_Kind], bytes_max: int) -> Iterator[tuple[_Kind, int]]:
    """Empty the fullest queues until no more than ``bytes_max`` wait; whose, and how much."""
    total = sum(each.send_queue.size for each in connections)
    while total > bytes_max:
        fullest = max(connections, key=lambda each: each.send_queue.size)
        waiting = fullest.send_queue.size
        total -= waiting
        fullest.send_queue.clear()
        yield fullest, waiting
