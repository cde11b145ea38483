"""
The turn of the crank: input, one transaction, and only then what others may see of it.

Shell: owns a node, the store's commits and one timer. Lines are carried out in memory at once;
while a commit runs, what comes in waits for the next batch, which is group commit: the busier
the daemon, the more orders share one write to the disk. Everything that leaves goes through
here, in order, so nothing is visible before what it depends on is durable (I6).

When a commit fails, what was not released is forgotten: clients are told, links are closed,
and the node is made again from the store, exactly as at start. There is one way to recover. It
is taken as well when the node raises what it must not (a bug of ours): it may have done half of
something, and no half may reach the disk.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from grenache_py.deferreds import Background
from grenache_py.exchange.client_port.feed import Staged
from grenache_py.exchange.client_port.gateway import Gateway
from grenache_py.exchange.client_port.methods import METHODS
from grenache_py.exchange.client_port.send_queue import SendQueue
from grenache_py.exchange.client_port.session import INTERNAL, Answer
from grenache_py.exchange.daemon.client_connection import ClientConnection
from grenache_py.exchange.daemon.peer_connection import PeerConnection
from grenache_py.exchange.effects.batch import Batch, CloseLink, Send
from grenache_py.exchange.errors import (
    BUSY,
    INTERNAL_ERROR,
    SHUTTING_DOWN,
    TOO_LARGE,
    OrderError,
    StoreError,
)
from grenache_py.metrics import Histogram
from grenache_py.wire.jsonlines import LINE_BYTES_MAX
from grenache_py.wire.jsonrpc import Malformed, decode_message, error_line

if TYPE_CHECKING:
    from grenache_py.exchange.effects.rows import Snapshot
    from grenache_py.exchange.node import ExchangeNode
    from grenache_py.exchange.storage.store import Store

__all__ = ["CommitLoop"]

RETRY_S_MIN, RETRY_S_MAX = 0.5, 30.0
"""Between two tries to open a store that failed."""

COMMIT_BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)

LOST = (
    "The store failed while this was under way, so it may not have happened. Ask again; with the"
    " same client_order_id an order is never placed twice."
)
UNDONE = "The daemon failed while this was under way, so it did not happen. Ask again."
CLOSED = "The store has failed and is being opened again; nothing is accepted until it is back."
STOPPING = "This daemon is shutting down."


class CommitLoop:
    """
    Drives one `ExchangeNode`.

    Attributes:
        node: None before the first `start`, replaced after a failure of the store.
        failed: why the store cannot be used at the moment; "" while it can.
        commits, commit_seconds, commit_rows: how the disk does.
        requests: lines of clients.
        lines_refused: lines from peers that were no messages.
    """

    log = Logger()

    def __init__(
        self,
        store: Store,
        clock: IReactorTime,
        gateway: Gateway,
        make_node: Callable[[Snapshot, float], ExchangeNode],
        dial: Callable[[str], None],
    ) -> None:
        """
        Args:
            desk: gets each new node, and is closed while there is none.
            dial: opens a connection, and calls `link_opened` or `link_failed` some time later.
        """
        self.node: ExchangeNode | None = None
        self.failed = ""
        self.commits = 0
        self.commit_rows = 0
        self.commit_seconds = Histogram(COMMIT_BOUNDS_S)
        self.lines_refused = 0
        self.requests = 0
        self._store = store
        self._clock = clock
        self._gateway = gateway
        self._make_node = make_node
        self._dial = dial
        self._links: dict[int, PeerConnection] = {}
        self._clients: dict[SendQueue, ClientConnection] = {}
        self._queue: list[tuple[ClientConnection, Answer]] = []
        self._peers_to_release: list[PeerConnection] = []
        self._committing = False
        self._kicked = False
        self._broken = False  # the node raised what it must not
        self._stopping = False
        self._scheduled: IDelayedCall | None = None
        self._timer: IDelayedCall | None = None
        self._idle: list[Deferred[None]] = []
        self._background = Background(self.log)

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    @property
    def links(self) -> int:
        """How many peers are connected."""
        return len(self._links)

    async def start(self) -> None:
        """
        Open the store and make the node.

        Fails with:
            StoreError: the store cannot be opened.
        """
        snapshot = await self._store.open()
        node = self._make_node(snapshot, self._clock.seconds())
        self.node = self._gateway.node = node
        # A collection that walks 100,000 resting orders would stop everything for 0.1 s.
        gc.collect()
        gc.freeze()
        self._gateway.closed = None
        self.failed = ""
        self.kick()

    # Clients.

    def client_opened(self, connection: ClientConnection) -> None:
        """A client has connected."""
        self._clients[connection.send_queue] = connection

    def client_line(self, connection: ClientConnection, line: bytes | None) -> None:
        """Carry out a line of a client; None for one that was too long."""
        session = connection.session
        self.requests += 1
        if line is None:
            answer = session.too_long()
        else:
            answer = session.receive(line, self._clock.seconds())
        connection.expect(answer)
        self._queue.append((connection, answer))
        if line is None or session.client.leaving:
            connection.close()
        self.kick()

    def client_lost(self, connection: ClientConnection) -> None:
        """A client is gone."""
        self._clients.pop(connection.send_queue, None)
        self._gateway.feed.left(connection.send_queue)

    # Peers.

    def link_opened(self, connection: PeerConnection, outbound: bool) -> None:
        """A connection to a peer is there, opened by us (``outbound``) or by it."""
        if self.node is None or self._stopping:
            connection.abort()
            return
        link, address = connection.link, connection.address
        self._links[link] = connection
        self._have("a new link", lambda node, now: node.link_opened(link, outbound, address, now))

    def link_failed(self, address: str, reason: str) -> None:
        """A connection that was asked for cannot be made."""
        self._have("a failed dial", lambda node, now: node.link_failed(address, reason, now))

    def peer_line(self, connection: PeerConnection, line: bytes | None) -> None:
        """Carry out a line of a peer; None for one that was too long."""
        if self.node is None or connection.link not in self._links:
            return
        if line is None:
            message = f"A line has at most {LINE_BYTES_MAX} bytes; this link ends here."
            connection.send(error_line(None, TOO_LARGE, message))
            connection.flush()
            connection.close()
            return
        try:
            message_object = decode_message(line)
        except Malformed as error:
            self.lines_refused += 1
            connection.send(error_line(error.id, error.code, error.message, error.data))
            connection.flush()
            return
        connection.unreleased += 1
        self._peers_to_release.append(connection)
        link = connection.link
        self._have(
            f"a message of peer {connection.address}",
            lambda node, now: node.link_message(link, message_object, now),
        )

    def link_lost(self, connection: PeerConnection, reason: str) -> None:
        """A connection to a peer is gone."""
        link = connection.link
        if self._links.pop(link, None) is not None:
            self._have("the end of a link", lambda node, now: node.link_closed(link, now))

    def discovered(self, addresses: list[str]) -> None:
        """Grapes named these addresses of peers."""
        self._have("addresses of peers", lambda node, now: node.discovered(addresses, now))

    # The node.

    def _have(self, what: str, done: Callable[[ExchangeNode, float], None]) -> None:
        """Have something done by the node, if there is one."""
        node = self.node
        if node is None or self._broken:
            return
        try:
            done(node, self._clock.seconds())
        except Exception:  # no await in here: a bug of ours
            self._node_failed(what)
        else:
            self.kick()

    def method_failed(self, name: str) -> None:
        """A method of the client port raises, being handled now, what it must not."""
        if METHODS[name].scope in {"", "read"}:
            self.log.failure("{method} failed", method=name)  # it changed nothing
        else:
            self._node_failed(name)

    def _node_failed(self, what: str) -> None:
        """Have the node made again before anything more is asked of it, or written."""
        self.log.failure("{what} failed inside the daemon", what=what)
        self._broken = True
        self._gateway.closed = OrderError(BUSY, UNDONE)
        self.kick()

    # The crank.

    def kick(self) -> None:
        """Something was done: have it written and released, together with what follows now."""
        self._kicked = True
        if self._scheduled is None and not self._committing:
            self._scheduled = self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        self._scheduled = None
        self._kicked = False
        node = self.node
        if node is None:
            queue = self._take_queue()
            self._seal(queue)
            self._release_answers(queue)
            self._is_idle()
            return
        now = self._clock.seconds()
        try:
            batch = None if self._broken else node.take_batch(now)
        except Exception:  # no await in here: a bug of ours; only the disk knows what is true now
            self.log.failure("{what} failed inside the daemon", what="making a batch")
            batch = None
        if batch is None:
            self._fail("a fault inside the daemon, see above", self._take_queue(), UNDONE)
            return
        committing: Deferred[None] | None = None
        if batch.rows:
            self._committing = True
            committing = self._store.commit(batch.rows)
        # The disk works while the answers and notifications are made.
        staged = self._gateway.feed.stage(batch.events)
        queue = self._take_queue()
        self._seal(queue)
        peers, self._peers_to_release = self._peers_to_release, []
        if committing is None:
            self._release(batch, staged, queue, peers)
        else:
            committing.addCallbacks(
                self._committed,
                self._commit_failed,
                callbackArgs=(now, batch, staged, queue, peers),
                errbackArgs=(queue,),
            )
            committing.addErrback(
                lambda failure: self.log.failure("releasing a batch failed", failure)
            )
        self._arm()

    def _seal(self, queue: list[tuple[ClientConnection, Answer]]) -> None:
        for _, answer in queue:
            try:
                answer.seal()
            except Exception:  # no await in here: a bug of ours, which must not stop the crank
                self.log.failure("an answer could not be made")
                answer.refuse(INTERNAL_ERROR, INTERNAL)

    def _take_queue(self) -> list[tuple[ClientConnection, Answer]]:
        queue, self._queue = self._queue, []
        return queue

    def _committed(
        self,
        _: None,
        began: float,
        batch: Batch,
        staged: Staged,
        queue: list[tuple[ClientConnection, Answer]],
        peers: list[PeerConnection],
    ) -> None:
        self._committing = False
        self.commits += 1
        self.commit_rows += len(batch.rows)
        self.commit_seconds.observe(max(0.0, self._clock.seconds() - began))
        self._release(batch, staged, queue, peers)
        if self._kicked:  # while the disk was at work
            self.kick()

    def _release(
        self,
        batch: Batch,
        staged: Staged,
        queue: list[tuple[ClientConnection, Answer]],
        peers: list[PeerConnection],
    ) -> None:
        links = self._links
        grown: dict[PeerConnection, None] = {}
        for send in batch.sends:
            if isinstance(send, Send):
                connection = links.get(send.link)
                if connection is not None and connection.send(send.line):
                    grown[connection] = None
            elif isinstance(send, CloseLink):
                connection = links.get(send.link)
                if connection is not None:
                    self.log.debug(
                        "closing the link to {peer}: {reason}",
                        peer=connection.address,
                        reason=send.reason,
                    )
                    connection.flush()
                    connection.close()
            else:
                self._dial(send.address)
        for connection in grown:
            connection.flush()
        for connection in peers:
            connection.unreleased -= 1
        for connection in dict.fromkeys(peers):
            connection.work()
        told = self._gateway.feed.release(staged)
        self._release_answers(queue)
        for send_queue in told:
            client = self._clients.get(send_queue)
            if client is not None:
                client.flush()
        self._is_idle()

    def _release_answers(self, queue: list[tuple[ClientConnection, Answer]]) -> None:
        clients: dict[ClientConnection, None] = {}
        for connection, answer in queue:
            if answer.waits:
                self._background.spawn("an answer", self._finish(connection, answer))
            elif answer.ready is None:
                answer.release()
            clients[connection] = None
        for connection in clients:
            self._deliver(connection)

    def _deliver(self, connection: ClientConnection) -> None:
        connection.deliver()
        for pages in connection.take_pages():
            self._background.spawn("telling what was missed", connection.follow(pages))

    async def _finish(self, connection: ClientConnection, answer: Answer) -> None:
        done = False
        try:
            await answer.finish()
            done = True
        finally:
            if not done:  # cancelled, or a bug that is being logged
                answer.refuse(INTERNAL_ERROR, INTERNAL)
                if not self._stopping:
                    self._node_failed("a method")
        if answer.ready is None:  # it placed an order, which has to become durable
            self._queue.append((connection, answer))
            self.kick()
        else:
            self._deliver(connection)

    def _arm(self) -> None:
        """Have the one timer go off at the node's next deadline."""
        if self.node is None:
            return
        deadline = self.node.next_deadline()
        timer = self._timer
        if timer is not None and timer.active():
            if timer.getTime() <= deadline:
                return  # too early does no harm: it will be armed again then
            timer.cancel()
        delay = max(0.0, deadline - self._clock.seconds())
        self._timer = self._clock.callLater(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._have("clock work", lambda node, now: node.tick(now))  # the turn arms the timer again

    # Failure of the store, and the end.

    def _commit_failed(
        self, failure: Failure, queue: list[tuple[ClientConnection, Answer]]
    ) -> None:
        self._committing = False
        if not failure.check(StoreError):
            self.log.failure("a commit failed as it must not", failure)
        self._fail(failure.getErrorMessage(), queue)

    def _fail(
        self, reason: str, queue: list[tuple[ClientConnection, Answer]], told: str = LOST
    ) -> None:
        """Forget what is not durable, tell everybody, and begin again from the store."""
        self.failed = reason
        if told is LOST:
            self.log.error("store failed, orders are refused: {reason}", reason=reason)
        self._forget_node(OrderError(BUSY, CLOSED))
        unreleased = [*queue, *self._take_queue()]
        for _, answer in unreleased:
            answer.refuse(BUSY, told)
        self._release_answers(unreleased)
        self._is_idle()
        if not self._stopping:
            self._background.spawn("open the store again", self._recover())

    def _forget_node(self, told: OrderError) -> None:
        self.node = None
        self._broken = False
        self._gateway.closed = told
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        links, self._links = self._links, {}
        self._peers_to_release.clear()
        for link in links.values():
            link.abort()
        for send_queue in self._gateway.feed.gap_all():
            if send_queue in self._clients:
                self._clients[send_queue].flush()

    async def _recover(self) -> None:
        pause = RETRY_S_MIN
        while True:
            await deferLater(self._clock, pause)
            try:
                await self.start()
            except StoreError as error:
                if str(error) != self.failed:
                    self.failed = str(error)
                    self.log.error("store still failed: {reason}", reason=self.failed)
                pause = min(RETRY_S_MAX, pause * 2)
            else:
                self.log.info("store is back, orders are accepted again")
                return

    def _is_idle(self) -> None:
        if self._idle and not self._committing and not self._queue:
            idle, self._idle = self._idle, []
            for waiting in idle:
                waiting.callback(None)

    def _when_idle(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self._idle.append(waiting)
        self.kick()
        return waiting

    async def stop(self) -> None:
        """Refuse what comes from now on, finish what came before, say goodbye to the peers."""
        if self._stopping:
            return
        self._stopping = True
        self._gateway.closed = OrderError(SHUTTING_DOWN, STOPPING)
        await self._when_idle()
        if self.node is not None:
            self.node.goodbye(self._clock.seconds())
            await self._when_idle()
        for connection in [*self._clients.values(), *self._links.values()]:
            connection.close()
        await self._background.stop()
        for call in (self._scheduled, self._timer):
            if call is not None and call.active():
                call.cancel()
        self._scheduled = self._timer = None

    def when_all_closed(self) -> Deferred[None]:
        """
        Wait until every connection is gone.

        Fires with: None.
        Cancel: only this wait ends.
        """
        return Deferred.fromCoroutine(self._all_closed())

    async def _all_closed(self) -> None:
        while self._clients or self._links:
            await deferLater(self._clock, 0.02)

    def abort_connections(self) -> None:
        """Close what has not closed by itself."""
        for connection in [*self._clients.values(), *self._links.values()]:
            connection.abort()
