"""
What comes from peers: links that open and close, their lines, and addresses of others.

Shell: has the node take each, and keeps which connections wait for that to be durable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime

from grenache_py.exchange.daemon.connections.connection_sets import ConnectionSets
from grenache_py.exchange.daemon.connections.link_refusals import LinkRefusals
from grenache_py.exchange.daemon.connections.link_turns import LinkTurns
from grenache_py.exchange.daemon.connections.peer_connection import PeerConnection
from grenache_py.exchange.daemon.loop.guarded_node import GuardedNode
from grenache_py.exchange.daemon.loop.loop_states import NodeState
from grenache_py.exchange.errors import TOO_LARGE
from grenache_py.exchange.signed_log.merkle import Signed, Wire
from grenache_py.wire.jsonlines import LINE_BYTES_MAX
from grenache_py.wire.jsonrpc import Malformed, decode_message, error_line

if TYPE_CHECKING:
    from grenache_py.exchange.node import ExchangeNode

__all__ = ["PeerInput"]

#: What it costs to refuse a line that is no message.
MALFORMED_POINTS = 2


class PeerInput:
    """
    Hands the node what peers send.

    Attributes:
        lines_refused: lines that were no messages.
        unreleased: connections with a line whose consequences are not durable yet, one for
            each line; whoever commits takes the list and leaves an empty one.
    """

    def __init__(
        self,
        guarded: GuardedNode,
        connections: ConnectionSets,
        clock: IReactorTime,
        refusals: LinkRefusals,
        relay_soon: Callable[[], None],
    ) -> None:
        """
        Args:
            relay_soon: called when a line may have brought what waits for no commit.
        """
        self.lines_refused = 0
        self.refusals = refusals
        self.unreleased: list[PeerConnection] = []
        self._guarded = guarded
        self._connections = connections
        self._clock = clock
        self._turns = LinkTurns(clock)
        self._relay_soon = relay_soon

    def link_opened(self, connection: PeerConnection) -> None:
        """A connection to a peer is there, and its key proven."""
        if self._guarded.state is not NodeState.SERVING:
            connection.abort()
            return
        link, address, key = connection.link, connection.address, connection.key
        outbound = connection.outbound
        self._connections.links[link] = connection
        connection.turns = self._turns
        self._guarded.ask(
            "a new link", lambda node, now: node.link_opened(link, outbound, address, key, now)
        )

    def link_failed(self, address: str, reason: str) -> None:
        """A connection that was asked for cannot be made."""
        self._guarded.ask("a failed dial", lambda node, now: node.link_failed(address, reason, now))

    def peer_line(self, connection: PeerConnection, line: bytes | None) -> None:
        """Carry out a line of a peer; None for one that was too long."""
        node = self._guarded.node
        if node is None or connection.link not in self._connections.links:
            return
        if line is None:
            message = f"A line has at most {LINE_BYTES_MAX} bytes; this link ends here."
            connection.send(error_line(None, TOO_LARGE, message))
            connection.flush()
            connection.close()
            return
        repeats = node.peering.link_repeats(connection.link, line, self._clock.seconds())
        if repeats is not None:
            self._turns.pay(connection.turn, *repeats)
            return  # nothing follows from it: no turn
        try:
            message_object = decode_message(line)
        except Malformed as error:
            refused = node.peering.links.get(connection.link)
            if refused is None or refused.closing:
                return  # the one before ended it
            self.lines_refused += 1
            connection.send(error_line(error.id, error.code, error.message, error.data))
            connection.flush()
            self._turns.pay(connection.turn, MALFORMED_POINTS, 0)
            bad = connection.link
            self._guarded.ask(
                "a line that is no message",
                lambda node, now: node.peering.not_a_message(bad, now),
            )
            return
        connection.unreleased += 1
        self.unreleased.append(connection)
        link, turn, pay = connection.link, connection.turn, self._turns.pay
        self._guarded.ask(
            f"a message of peer {connection.address}",
            lambda node, now: pay(turn, *node.link_message(link, message_object, now)),
        )
        if node.peering.has_at_once:
            self._relay_soon()

    def link_lost(self, connection: PeerConnection, reason: str) -> None:
        """A connection to a peer is gone."""
        link = connection.link
        self._turns.leave(connection)
        if self._connections.links.pop(link, None) is not None:
            self._guarded.ask("the end of a link", lambda node, now: node.link_closed(link, now))

    def record_found(self, signed: Signed) -> str:
        """A grape gave an address record; the key of the peer that signed it, "" for none."""
        found = [""]

        def take(node: ExchangeNode, now: float) -> None:
            found[0] = node.peering.record_found(signed, now)

        self._guarded.ask("an address record", take)
        return found[0]

    def own_record(self) -> Wire | None:
        """This peer's own address record, once it is signed."""
        node = self._guarded.node
        return None if node is None else node.peering.peer_exchange.own_record()

    def lonely(self) -> bool:
        """Whether there is no link."""
        node = self._guarded.node
        return node is None or not node.peering.by_key

    def discovered(self, addresses: list[str]) -> None:
        """Grapes named these addresses of peers."""
        self._guarded.ask("addresses of peers", lambda node, now: node.discovered(addresses, now))
