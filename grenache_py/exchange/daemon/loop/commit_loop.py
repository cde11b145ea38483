"""
The commit loop: input, one transaction, and only then what others may see of it.

Shell: owns a node, the store's commits and one timer. Lines are carried out in memory at once;
while a commit runs, what comes in waits for the next batch, which is group commit: the busier
the daemon, the more orders share one write to the disk. Everything that leaves goes through
here, in order, so nothing is visible before what it depends on is durable
(docs/design/distributed-core.rst#i6). What others signed depends on nothing here, and goes on at
once.

When a commit fails, what was not released is forgotten: clients are told, links are closed,
and the node is made again from the store, exactly as at start. There is one way to recover. It
is taken as well when a step of the node raises what it must not (a bug of ours): it may have done
half of something, and no half may reach the disk. A bug elsewhere is its own request's error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from grenache_py.deferreds import Background
from grenache_py.errors import LocalProtocolError
from grenache_py.exchange.client_port.feed import Staged
from grenache_py.exchange.client_port.gateway import Gateway, Principal
from grenache_py.exchange.condition.symptoms import OPENING
from grenache_py.exchange.daemon.connections.client_connection import ClientConnection
from grenache_py.exchange.daemon.connections.connection_sets import ConnectionSets
from grenache_py.exchange.daemon.connections.link_refusals import LinkRefusals
from grenache_py.exchange.daemon.connections.peer_connection import PeerConnection
from grenache_py.exchange.daemon.loop.answer_queue import AnswerQueue, QueuedAnswers
from grenache_py.exchange.daemon.loop.egress import Egress
from grenache_py.exchange.daemon.loop.guarded_node import LOST, MOVED, UNDONE, GuardedNode
from grenache_py.exchange.daemon.loop.loop_states import (
    TURN_TRANSITIONS,
    TurnEvent,
    TurnState,
)
from grenache_py.exchange.daemon.loop.node_timer import NodeTimer
from grenache_py.exchange.daemon.loop.peer_input import PeerInput
from grenache_py.exchange.daemon.loop.record_reads import RecordReads
from grenache_py.exchange.daemon.loop.recovery import Recovery
from grenache_py.exchange.daemon.loop.timings import Began, Timings
from grenache_py.exchange.effects.batch import Batch, Dial
from grenache_py.exchange.errors import BUSY, OrderError, StoreError

if TYPE_CHECKING:
    from grenache_py.exchange.effects.rows import Snapshot
    from grenache_py.exchange.node import ExchangeNode
    from grenache_py.exchange.storage.store import Store

__all__ = ["CommitLoop"]

# Members of an enumeration are looked up slowly, and these for each line.
_SCHEDULED, _COMMITTING_MORE = TurnState.SCHEDULED, TurnState.COMMITTING_MORE


class CommitLoop:
    """
    Drives one `ExchangeNode`.

    Attributes:
        lost: called, with the reason, when a node was dropped of which only the store knows what
            is true; then whoever is called begins anew. By default the store is opened again.
        guarded: the node, and whether it may be asked.
        peer_input: takes what comes from peers.
        commits, commit_rows: how many commits, and their rows.
        timings: how long things took.
        requests: lines of clients.
    """

    log = Logger()

    def __init__(
        self,
        store: Store,
        clock: IReactorTime,
        gateway: Gateway,
        make_node: Callable[[Snapshot, float], ExchangeNode],
        dial: Callable[[Dial], None],
    ) -> None:
        """
        Args:
            gateway: gets each new node, and is closed while there is none.
            dial: opens a connection, and calls `link_opened` or `link_failed` some time later.
        """
        self.commits = 0
        self.commit_rows = 0
        self.timings = Timings()
        self.requests = 0
        self._store = store
        self._clock = clock
        self._gateway = gateway
        self._turn_state = TurnState.IDLE
        self._background = Background(self.log)
        self._connections = ConnectionSets(clock)
        self.guarded = GuardedNode(clock, gateway, make_node, self.kick)
        self._recovery = Recovery(clock, self.start)
        self.lost: Callable[[str], None] = self._recover
        refusals = LinkRefusals(clock)
        self._egress = Egress(self.guarded, self._connections, clock, refusals, dial)
        relay_soon = self._egress.relay_soon
        self.peer_input = PeerInput(self.guarded, self._connections, clock, refusals, relay_soon)
        self._answers = AnswerQueue(self._background, self.kick, self.guarded.method_failed)
        self._reads = RecordReads(store, self.guarded, self._background)
        self._scheduled: IDelayedCall | None = None
        self._timer = NodeTimer(clock, self.guarded)
        self._idle: list[Deferred[None]] = []

    @property
    def node(self) -> ExchangeNode | None:
        """The node; None before the store is open, and while it is being opened again."""
        return self.guarded.node

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self._connections.clients)

    def room_for_link(self, links_max: int) -> bool:
        """Whether another peer may connect, when there are at most ``links_max`` links."""
        return self._connections.room_for_link(links_max)

    @property
    def failed(self) -> str:
        """Why the store cannot be used at the moment; "" while it can."""
        return self._recovery.reason

    async def start(self) -> None:
        """
        Open the store and make the node.

        Fails with:
            StoreError: the store cannot be opened.
        """
        self.begin(await self._store.open())

    def begin(self, snapshot: Snapshot) -> None:
        """Make the node from what the store holds. Raises ConfigError when it cannot be."""
        self.guarded.make(snapshot)
        connected = self._connections.clients.values()
        self.guarded.clients_lost_but({each.session.client.number for each in connected})
        self._recovery.reason = ""

    # Clients.

    def client_opened(self, connection: ClientConnection) -> None:
        """A client has connected."""
        self._connections.clients[connection.send_queue] = connection

    def client_line(self, connection: ClientConnection, line: bytes | None) -> None:
        """Carry out a line of a client; None for one that was too long."""
        session = connection.session
        self.requests += 1
        if line is None:
            answer = session.too_long()
        else:
            answer = session.receive(line, self._clock.seconds())
        connection.expect(answer)
        self._answers.waiting.append((connection, answer))
        if line is None or session.client.leaving:
            connection.close()
        self.kick()

    def turn_out(self, unwanted: Callable[[Principal], bool]) -> int:
        """Close the connections of clients that are not wanted any more; how many that were."""
        found = [c for c in self._connections.clients.values() if unwanted(c.session.client)]
        for connection in found:
            connection.close()
        return len(found)

    def client_lost(self, connection: ClientConnection) -> None:
        """A client is gone."""
        self._connections.clients.pop(connection.send_queue, None)
        self._gateway.feed.left(connection.send_queue)
        self.guarded.client_lost(connection.session.client.number)

    # The turn.

    def _turn_event(self, event: TurnEvent) -> TurnState | None:
        """Change the state; None when it cannot, and then the node is going to be made again."""
        try:
            self._turn_state = TURN_TRANSITIONS.next(self._turn_state, event)
        except LocalProtocolError:
            self.guarded.impossible()
            return None
        return self._turn_state

    def kick(self) -> None:
        """Something was done: have it written and released, together with what follows now."""
        state = self._turn_state
        if state is _SCHEDULED or state is _COMMITTING_MORE:
            return  # nearly always: one turn serves many lines
        if self._turn_event(TurnEvent.KICK) is _SCHEDULED:
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        self._scheduled = None
        if self._turn_event(TurnEvent.TURN) is None:
            return
        guarded = self.guarded
        if guarded.node is None:
            feed, answers = self._gateway.feed, self._answers.take()
            self._answers.seal(answers)
            told = feed.release(feed.stage(()))
            self._answers.release(answers)
            self._connections.flush_clients(told)
            self._is_idle()
            return
        now = self._clock.seconds()
        at_once = self._egress.take()
        batch = guarded.take_batch(now)
        if batch is None or (batch.rows and self._turn_event(TurnEvent.WRITE) is None):
            reason = "a fault inside the daemon, see above"
            self._drop_node(reason, self._answers.take(), UNDONE)
            return
        began = Began(now, self._gateway.take_came())
        committing = self._store.commit(batch.rows) if batch.rows else None
        # The disk works while copies go on, and the answers and notifications are made.
        self._egress.send(at_once)
        staged = self._gateway.feed.stage(batch.events)
        answers = self._answers.take()
        self._answers.seal(answers)
        peers, self.peer_input.unreleased = self.peer_input.unreleased, []
        if committing is None:
            self._release(batch, staged, answers, peers)
        else:
            committing.addCallbacks(
                self._committed,
                self._commit_failed,
                callbackArgs=(began, batch, staged, answers, peers),
                errbackArgs=(answers,),
            )
            committing.addErrback(lambda why: self.log.failure("releasing a batch failed", why))
        self._timer.arm()

    def _committed(
        self,
        _: None,
        began: Began,
        batch: Batch,
        staged: Staged,
        answers: QueuedAnswers,
        peers: list[PeerConnection],
    ) -> None:
        state = self._turn_event(TurnEvent.WRITTEN)
        if state is None:
            self._answers.waiting[:0] = answers  # the node is dropped in a moment, and they refused
            return
        self.commits += 1
        self.commit_rows += len(batch.rows)
        self.timings.committed(began, self._clock.seconds())
        if state is TurnState.SCHEDULED:  # something came while the disk was at work
            self._schedule()
        self._release(batch, staged, answers, peers)

    def _release(
        self, batch: Batch, staged: Staged, answers: QueuedAnswers, peers: list[PeerConnection]
    ) -> None:
        """Let others see what is durable now."""
        self._egress.send(batch.sends)
        for connection in peers:
            connection.unreleased -= 1
        for connection in dict.fromkeys(peers):
            connection.work()
        told = self._gateway.feed.release(staged)
        self._answers.release(answers)
        self._connections.flush_clients(told, (connection for connection, _ in answers))
        self._reads.begin(batch.reads)
        self._is_idle()

    # Failure.

    def _commit_failed(self, failure: Failure, answers: QueuedAnswers) -> None:
        self._turn_event(TurnEvent.WRITE_FAILED)
        if not failure.check(StoreError):
            self.log.failure("a commit failed as it must not", failure)
        if self.guarded.node is None:  # it was dropped while the disk was at work
            self._answers.refuse(answers, BUSY, LOST, outcome="unknown")
            self.kick()  # for those that came since
            return
        self._drop_node(failure.getErrorMessage(), answers, LOST)

    def begin_anew(self) -> None:
        """Have the node made again from the store, once all that was accepted is written."""

        async def begin() -> None:
            await self._when_idle()
            if self.guarded.node is not None and not self.guarded.stops:
                self._drop_node(OPENING, [], UNDONE)

        self._background.spawn("beginning anew", begin())

    def _drop_node(self, reason: str, answers: QueuedAnswers, told: str) -> None:
        """Forget what is not durable, tell everybody, and begin again from the store."""
        self._recovery.reason = reason
        if told is LOST:
            self.log.error("store failed, orders are refused: {reason}", reason=reason)
        recovers = self.guarded.drop()
        self._timer.cancel()
        self.peer_input.unreleased.clear()
        self._connections.drop_links()
        self._connections.flush_clients(self._gateway.feed.gap_all())
        outcome = "unknown" if told is LOST else "none"
        self._answers.refuse([*answers, *self._answers.take()], BUSY, told, outcome=outcome)
        self._is_idle()
        if recovers:
            self.lost(reason)

    def _recover(self, reason: str) -> None:
        self._background.spawn("open the store again", self._recovery.run())

    def drop(self, reason: str) -> None:
        """Forget the node, if there is one; what is being written has an unknown outcome."""
        if self.guarded.node is not None:
            self._drop_node(reason, [], MOVED)

    # The end.

    def _is_idle(self) -> None:
        if not self._idle or self._answers.waiting:
            return
        if self._turn_state is TurnState.IDLE or self._turn_state is TurnState.SCHEDULED:
            idle, self._idle = self._idle, []
            for waiting in idle:
                waiting.callback(None)

    def _when_idle(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self._idle.append(waiting)
        self.kick()
        return waiting

    async def finish(self, told: OrderError) -> None:
        """Refuse what comes from now on, finish what came before, say goodbye to the peers."""
        self.guarded.refuse(told)
        await self._finish()

    async def _finish(self) -> None:
        await self._when_idle()
        node = self.guarded.node
        if node is not None:
            node.goodbye(self._clock.seconds())
            await self._when_idle()

    async def stop(self) -> None:
        """Refuse what comes from now on, finish what came before, say goodbye to the peers."""
        if self.guarded.stops:
            return
        self.guarded.stop()
        self.guarded.clients_lost_but(())  # their orders end while peers can still be told
        await self._finish()
        self._connections.close()
        await self._background.stop()
        self._egress.stop()
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
            self._turn_event(TurnEvent.CANCELLED)
        self._timer.cancel()

    def when_all_closed(self) -> Deferred[None]:
        """
        Wait until every connection is gone.

        Fires with: None.
        Cancel: only this wait ends.
        """
        return Deferred.fromCoroutine(self._connections.all_closed())

    def abort_connections(self) -> None:
        """Close what has not closed by itself."""
        self._connections.abort()
