"""
The node, and whether it may be asked: after a bug it is asked nothing more.

Shell: closes the gateway to clients while there is no node that may be asked.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from grenache_py.errors import LocalProtocolError
from grenache_py.exchange.client_port.gateway import Gateway, StepFailed
from grenache_py.exchange.daemon.loop.loop_states import NODE_TRANSITIONS, NodeEvent, NodeState
from grenache_py.exchange.effects.batch import Batch, CloseLink, Dial, Send
from grenache_py.exchange.errors import BUSY, SHUTTING_DOWN, OrderError

if TYPE_CHECKING:
    from grenache_py.exchange.effects.rows import Snapshot
    from grenache_py.exchange.node import ExchangeNode

__all__ = ["LOST", "MOVED", "UNDONE", "GuardedNode"]

#: What a client is told whose request was on its way to the disk when that failed.
LOST = (
    "The store failed while this was under way, so it may not have happened. Ask again; with the"
    " same client_order_id an order is never placed twice."
)
#: What clients are told: of what was not on its way yet when another daemon took over, after a bug,
#: while there is no node, and while the daemon stops.
MOVED = "This daemon serves no more, so this did not happen. Ask again where the home is served."
UNDONE = "The daemon failed while this was under way, so it did not happen. Ask again."
CLOSED = "The store has failed and is being opened again; nothing is accepted until it is back."
STOPPING = "This daemon is shutting down."


class GuardedNode:
    """
    Holds one `ExchangeNode` after another.

    Attributes:
        node: None before the store is open, and while it is being opened again.
        state: whether ``node`` may be asked.
        illegal_transitions: how often something happened that cannot in the state the commit
            loop was in; each is logged, and the node is made again.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        gateway: Gateway,
        make_node: Callable[[Snapshot, float], ExchangeNode],
        kick: Callable[[], None],
    ) -> None:
        """
        Args:
            kick: called when the node was asked something, or broke: a turn has to follow.
        """
        self.node: ExchangeNode | None = None
        self.state = NodeState.OPENING
        self.illegal_transitions = 0
        self._clock = clock
        self._gateway = gateway
        self._make_node = make_node
        self._kick = kick

    @property
    def stops(self) -> bool:
        """Whether the daemon is being stopped."""
        return self.state in {NodeState.STOPPING, NodeState.STOPPED}

    def make(self, snapshot: Snapshot) -> None:
        """The store was opened: make a node from what it holds."""
        if self.stops:
            return  # meanwhile
        node = self._make_node(snapshot, self._clock.seconds())
        node.outbox.followed = self._gateway.feed.follows
        self.node = self._gateway.node = node
        # A collection that walks 100,000 resting orders would stop everything for 0.1 s.
        gc.collect()
        gc.freeze()
        self._gateway.closed = None
        self._happens(NodeEvent.OPENED)
        self._kick()

    def ask(self, what: str, done: Callable[[ExchangeNode, float], None]) -> None:
        """
        Have something done by the node, if there is one that may be asked.

        Args:
            what: in a few words, for the log.
        """
        node, state = self.node, self.state
        if node is None or (state is not NodeState.SERVING and state is not NodeState.STOPPING):
            return
        try:
            done(node, self._clock.seconds())
        except Exception:  # no await in here: a bug of ours
            self.failed(what)
        else:
            self._kick()

    def client_lost(self, number: int) -> None:
        """A client's connection is gone; 0 for one that no order is tied to."""
        if number:
            self.ask("a lost client", lambda node, now: node.connection_lost(number))

    def clients_lost_but(self, numbers: Collection[int]) -> None:
        """The only connections of clients that orders may be tied to are these."""
        self.ask("lost clients", lambda node, now: node.connections_lost_but(numbers))

    def take_batch(self, now: float) -> Batch | None:
        """What was done since the last turn; None when only the disk knows what is true now."""
        node, state = self.node, self.state
        if node is None or (state is not NodeState.SERVING and state is not NodeState.STOPPING):
            return None
        try:
            return node.take_batch(now)
        except Exception:  # no await in here: a bug of ours
            self.log.failure("{what} failed inside the daemon", what="making a batch")
            return None

    def take_at_once(self) -> list[Send | CloseLink | Dial]:
        """What may leave before anything is committed; see `Peering.at_once`."""
        sends: list[Send | CloseLink | Dial] = []
        if self.node is not None and self.state is not NodeState.BROKEN:
            try:
                sends = self.node.peering.at_once()
            except Exception:  # no await in here: a bug of ours
                self.failed("relaying")
        return sends

    def method_failed(self, name: str, error: Exception) -> None:
        """
        A method of the client port raises ``error``, being handled now, which it must not.

        That is its own request's error, and costs nobody else anything, unless a step of the
        node may be half done.
        """
        if isinstance(error, StepFailed):
            self.failed(name, error.__cause__)
        else:
            self.log.failure("{method} failed", method=name)

    def failed(self, what: str, error: BaseException | None = None) -> None:
        """
        Have the node made again before anything more is asked of it, or written.

        Args:
            error: what happened; by default the exception that is being handled.
        """
        self.log.failure("{what} failed inside the daemon", Failure(error), what=what)
        self._happens(NodeEvent.RAISED)
        if self.state is NodeState.BROKEN:
            self._gateway.closed = OrderError(BUSY, UNDONE)
        self._kick()

    def drop(self) -> bool:
        """Forget the node and all that it did since the last batch; whether to make another."""
        self._happens(NodeEvent.DROPPED)
        self.node = None
        self._gateway.take_came()
        self._gateway.closed, self._gateway.from_store = OrderError(BUSY, CLOSED), False
        return self.state is NodeState.RECOVERING

    def refuse(self, error: OrderError, from_store: bool = False) -> None:
        """
        Tell clients this from now on, until there is a node again.

        Args:
            from_store: but what the store holds.
        """
        if not self.stops:
            self._gateway.closed, self._gateway.from_store = error, from_store

    def stop(self) -> None:
        """Let what came before be finished, and refuse what clients ask from now on."""
        self._happens(NodeEvent.STOP)
        self._gateway.closed = OrderError(SHUTTING_DOWN, STOPPING)

    def impossible(self) -> None:
        """A `LocalProtocolError` is being handled: the loop is in a state that cannot be."""
        self.illegal_transitions += 1
        self.failed("the commit loop")

    def _happens(self, event: NodeEvent) -> None:
        try:
            self.state = NODE_TRANSITIONS.next(self.state, event)
        except LocalProtocolError:
            self.impossible()  # RAISED is legal in every state
