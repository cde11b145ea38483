"""A whole peer for tests: the real node, batches, sessions and connections, on a virtual clock.

The store is the real database in memory whose commits a test lets happen, fail or hang; the
transports are strings. Nothing here opens a socket or waits.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from grenache_py.exchange.client_port.access import ALL_SCOPES, Grant
from grenache_py.exchange.client_port.feed import Feed
from grenache_py.exchange.client_port.gateway import Facts, Gateway, Principal, trades_behind
from grenache_py.exchange.client_port.session import Session
from grenache_py.exchange.daemon.admin import DaemonAdmin
from grenache_py.exchange.daemon.connections.client_connection import ClientConnection
from grenache_py.exchange.daemon.connections.peer_connection import PeerConnection
from grenache_py.exchange.daemon.connections.port_turns import PortTurns
from grenache_py.exchange.daemon.history import StoreHistory
from grenache_py.exchange.daemon.loop.commit_loop import CommitLoop
from grenache_py.exchange.daemon.loop.settling import Settling
from grenache_py.exchange.effects.batch import Dial
from grenache_py.exchange.effects.rows import Row, Snapshot
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.node import ExchangeNode, NodeConfig
from grenache_py.exchange.peers.handshake import PROTOCOL
from grenache_py.exchange.peers.peering import PeeringConfig
from grenache_py.exchange.rates import NO_LIMIT, Rate, RateLimits
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.storage import history
from tests.support.memory_database import MemoryDatabase

EVERYTHING = Grant(ALL_SCOPES)
START = 1_700_000_000.0
MARKET = Market.parse("BTC-USD:tick=0.01,lot=0.0001")


class MemoryStore:
    """The store's face on an in-memory database.

    Attributes:
        held: when a list, commits wait in it as functions until a test calls them.
        broken: when set, commits and opening fail with it.
    """

    size_bytes = 0

    def __init__(self) -> None:
        self._database = MemoryDatabase()
        self.held: list[Callable[[], None]] | None = None
        self.broken: StoreError | None = None
        self.committed: list[list[Row]] = []

    def open(self) -> Deferred[Snapshot]:
        return fail(self.broken) if self.broken else succeed(self._database.load())

    def commit(self, rows: list[Row]) -> Deferred[None]:
        done: Deferred[None] = Deferred()

        def happen() -> None:
            if self.broken:
                done.errback(self.broken)
                return
            self._database.commit(rows)
            self.committed.append(rows)
            done.callback(None)

        if self.held is None:
            happen()
        else:
            self.held.append(happen)
        return done

    def may_have_used(self, account: str, client_order_id: str) -> bool:
        return history.order_by_client_id(self._c, account, client_order_id) is not None

    @property
    def _c(self) -> Any:
        return self._database.connection

    def __getattr__(self, name: str) -> Any:
        query = getattr(history, name)
        return lambda *args, **kwargs: succeed(query(self._c, *args, **kwargs))


class Connection:
    """A client at the other end of a string transport."""

    def __init__(self, peer: Peer, grant: Grant, transport: StringTransport | None) -> None:
        self.peer = peer
        self.lines = ClientConnection(
            peer.clock, peer.commit_loop.client_line, peer.commit_loop.client_lost, peer.turns
        )
        client = Principal(grant, self.lines.send_queue)
        self.lines.session = Session(
            peer.gateway, client, peer.limits, peer.clock.seconds(), peer.method_failed
        )
        peer.commit_loop.client_opened(self.lines)
        if transport is not None:
            self.transport = transport
            self.lines.makeConnection(transport)

    def send(self, data: bytes) -> None:
        """Send bytes, and let the reactor turn."""
        self.lines.dataReceived(data)
        self.peer.turn()

    def received(self) -> list[Any]:
        """What has come since the last call, one value a line."""
        data = self.transport.value()
        self.transport.clear()
        assert data == b"" or data.endswith(b"\n")
        return [json.loads(line) for line in data.splitlines()]

    def ask(self, line: bytes | str) -> Any:
        """Send one line; return the one answer to it."""
        data = line.encode() if isinstance(line, str) else line
        self.send(data + b"\n")
        (answer,) = self.received()
        return answer

    def call(self, method: str, **params: Any) -> Any:
        """Call a method and return its result, or its error object."""
        request = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        answer = self.ask(json.dumps(request))
        assert answer["jsonrpc"] == "2.0" and answer["id"] == 7
        return answer["result"] if "result" in answer else answer["error"]

    def place(self, side: str, quantity: str, price: str, **more: Any) -> Any:
        """Place a limit order."""
        return self.call(
            "order.place", market="BTC-USD", side=side, quantity=quantity, price=price, **more
        )


class Peer:
    """One peer; ``commit_loop.node`` is there at once."""

    def __init__(
        self, *, rate: Rate = NO_LIMIT, account_rate: Rate = NO_LIMIT, store: Any = None
    ) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.store: Any = store or MemoryStore()
        self.identity = Identity.from_seed(b"\1" * 32)
        self.bugs: list[str] = []
        self.dialled: list[Dial] = []
        self.limits = RateLimits(rate, account_rate)
        self.turns = PortTurns(self.clock)
        self.shut_down: list[bool] = []
        self.markets: tuple[Market, ...] = (MARKET,)
        history = StoreHistory(self.store, self.identity.key)
        admin = DaemonAdmin(
            self.store,
            lambda: {"store": self.commit_loop.failed or "ok"},
            lambda level, namespace: None,
            lambda: self.shut_down.append(True),
        )
        feed = Feed({"BTC-USD": MARKET}, lambda copy: trades_behind(self.commit_loop.node, copy))
        facts = Facts(self.identity.key, "main", "0", START, False)
        self.tokens: dict[str, Grant] = {}
        settling = Settling(self.clock, feed)
        self.gateway = Gateway(feed, history, admin, facts, settling.wait, self.tokens.get)
        self.commit_loop = CommitLoop(
            self.store, self.clock, self.gateway, self._make_node, self.dialled.append
        )
        self.begin()
        self.turn()

    def begin(self) -> None:
        """Start with what the store holds."""
        Deferred.fromCoroutine(self.commit_loop.start())

    def method_failed(self, name: str, error: Exception) -> None:
        self.bugs.append(name)
        self.commit_loop.guarded.method_failed(name, error)

    def _make_node(self, snapshot: Snapshot, now: float) -> ExchangeNode:
        config = NodeConfig(PeeringConfig("main", strict=True), self.markets)
        return ExchangeNode(config, self.identity, snapshot, random.Random(1), now)

    def restart(self) -> None:
        """Begin again with what the store holds; clients that were connected are not served."""
        self.commit_loop._timer.cancel()
        self.commit_loop = CommitLoop(
            self.store, self.clock, self.gateway, self._make_node, self.dialled.append
        )
        failures: list[Failure] = []
        Deferred.fromCoroutine(self.commit_loop.start()).addErrback(failures.append)
        self.turn()
        for failure in failures:
            failure.raiseException()

    def turn(self, turns: int = 20) -> None:
        """Let the reactor turn, time standing still."""
        for _ in range(turns):
            self.clock.advance(0)

    def connect(self, grant: Grant = EVERYTHING) -> Connection:
        """A client connects."""
        return Connection(self, grant, StringTransport())

    def stream(self, grant: Grant) -> ClientConnection:
        """A client that has no transport yet."""
        return Connection(self, grant, None).lines

    def link(self, number: int = 1) -> tuple[PeerConnection, StringTransport]:
        """Another peer connects, its key proven, and says hello."""
        lines, transport = self.connection(number)
        boot = f"{number:032x}"
        hello = {"boot": boot, "network": "main", "protocol": PROTOCOL}
        message = {"jsonrpc": "2.0", "id": "hello", "method": "peer.hello", "params": hello}
        lines.dataReceived(json.dumps(message).encode() + b"\n")
        self.turn()
        return lines, transport

    def connection(self, number: int = 1, key: str = "") -> tuple[PeerConnection, StringTransport]:
        """Another peer connects, its key proven; it has said nothing."""
        peer_input = self.commit_loop.peer_input
        lines = PeerConnection(
            self.clock,
            number,
            f"192.0.2.{number}:7071",
            peer_input.link_opened,
            peer_input.peer_line,
            peer_input.link_lost,
            outbound=False,
        )
        transport = StringTransport()
        lines.makeConnection(transport)
        lines.proven(key or Identity.from_seed(bytes([100 + number]) * 32).key)
        self.turn()
        return lines, transport
