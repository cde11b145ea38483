"""Turns at one port: a flood costs everybody else one short round at a time."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from grenache_py.exchange.daemon.connections.admission import HTTPPort
from grenache_py.exchange.daemon.connections.port_turns import (
    LOOKUPS_MAX,
    ROUND_REQUESTS_MAX,
    ROUND_S,
    PortTurns,
)
from grenache_py.wire.http.messages import Page
from tests.support.peer import Peer

LOOKUP = b'{"jsonrpc":"2.0","id":1,"method":"book.get","params":{"market":"BTC-USD"}}\n'


class SlowClock(Clock):
    """Carrying something out takes time, and the reactor visits sockets between two rounds."""

    def turn(self) -> None:
        """Call what is due, and not what that begins."""
        for call in [each for each in self.calls if each.getTime() <= self.seconds()]:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


class Flood:
    """A connection that has ``left`` things to do, each of which takes ``takes_s``."""

    def __init__(self, turns: PortTurns, clock: Clock, takes_s: float, left: int) -> None:
        self.turns, self.clock, self.takes_s, self.left = turns, clock, takes_s, left

    def work(self) -> None:
        while self.left and self.turns.begin(self):
            self.left -= 1
            self.clock.rightNow += self.takes_s
            self.turns.spend(1, 0)


def test_a_round_is_short_however_many_have_something_to_do() -> None:
    clock = SlowClock()
    turns = PortTurns(clock)
    floods = [Flood(turns, clock, 0.3 * ROUND_S, 100) for _ in range(50)]
    for flood in floods:
        flood.work()
    assert [flood.left for flood in floods] == [96] + 49 * [100]
    for _ in range(10):
        before = clock.seconds()
        clock.turn()
        assert clock.seconds() - before < 1.3 * ROUND_S
    came_first = [92] + 9 * [96]
    assert [flood.left for flood in floods] == came_first + 40 * [100]
    for _ in range(2_000):
        clock.turn()
    assert not any(flood.left for flood in floods), "nobody is forgotten"
    assert not clock.getDelayedCalls(), "and nothing turns for nobody"


def test_what_costs_no_time_is_counted() -> None:
    clock = SlowClock()
    turns = PortTurns(clock)
    flood = Flood(turns, clock, 0.0, 1_000)
    flood.work()
    assert flood.left == 1_000 - ROUND_REQUESTS_MAX
    clock.turn()
    assert flood.left == 1_000 - 2 * ROUND_REQUESTS_MAX


def test_who_has_gone_has_no_turn() -> None:
    clock = SlowClock()
    turns = PortTurns(clock)
    first, gone, last = (Flood(turns, clock, ROUND_S, 2) for _ in range(3))
    for flood in (first, gone, last):
        flood.work()
    turns.leave(gone)
    for _ in range(9):
        clock.turn()
    assert [flood.left for flood in (first, gone, last)] == [0, 2, 0]


def test_two_pages_are_made_in_a_round_however_many_ask() -> None:
    peer = Peer()
    made = list[str]()

    def page() -> Page:
        made.append("one")
        return Page(b"", "text/plain")

    port = HTTPPort(peer.clock, {"/metrics": page}, lambda _: None, ())
    transports = []
    for _ in range(10):
        connection, transport = port.buildProtocol(None), StringTransport()
        transports.append(transport)
        connection.makeConnection(transport)
        connection.dataReceived(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 3)
        assert len(made) <= 2
    assert len(made) == 2
    peer.clock.advance(0)
    assert len(made) == 30, "and then the others"
    assert {transport.value().count(b"200 OK") for transport in transports} == {3}
    assert transports[9].producerState == "producing"


def test_few_lookups_are_under_way_while_the_disk_is_at_work() -> None:
    """4,096 books were looked up in one commit, and then shown at once: a quarter of a second."""
    peer = Peer()
    greedy, other = peer.connect(), peer.connect()
    peer.store.held = []
    other.send(b"buy BTC-USD 1 @ 100\n")  # the commit that does not end
    greedy.send(LOOKUP * 200)
    assert greedy.lines.unreleased == LOOKUPS_MAX
    now = peer.clock.seconds()
    assert all(call.getTime() > now for call in peer.clock.getDelayedCalls()), "nothing spins"
    other.lines.dataReceived(b"ping\n")
    assert other.lines.unreleased == 2, "who asks one thing waits for nobody"
    while peer.store.held:
        peer.store.held.pop(0)()
        peer.turn(100)
    assert len(greedy.received()) == 200
    assert len(other.received()) == 2


def test_lookups_of_a_client_that_is_gone_hold_nobody_up() -> None:
    peer = Peer()
    gone, other = peer.connect(), peer.connect()
    peer.store.held = []
    other.send(b"buy BTC-USD 1 @ 100\n")
    gone.send(LOOKUP * 50)
    other.send(LOOKUP * 50)
    gone.lines.connectionLost()
    peer.store.held.pop(0)()
    peer.turn(100)
    assert len(other.received()) == 51
