"""One connection: memory is bounded whatever the other end does, and others are served."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from itertools import pairwise
from typing import cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from grenache_py.epoll_set import EpollSet
from grenache_py.exchange.daemon.connections.client_connection import (
    UNREAD_BYTES_MAX,
    ClientConnection,
)
from grenache_py.exchange.daemon.connections.line_connection import (
    FAREWELL_BYTES_MAX,
    STALLED_S,
    UNRELEASED_MAX,
)
from grenache_py.exchange.daemon.connections.peer_connection import (
    PEER_LEAVE_S,
    UNREAD_LOOK_S,
    PeerConnection,
)
from grenache_py.exchange.daemon.connections.port_turns import ROUND_REQUESTS_MAX, PortTurns
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.turns import ANSWER_BYTES_AT_ONCE, ANSWER_BYTES_PER_S, Turn, Turns
from grenache_py.wire.jsonlines import LINE_BYTES_MAX
from tests.support.peer import Peer


def test_a_stream_of_bytes_one_by_one_is_served() -> None:
    client = Peer().connect()
    for byte in b'{"jsonrpc":"2.0","id":1,"method":"ping"}\r\nping\n\n  \n':
        client.send(bytes([byte]))
    assert [answer["id"] for answer in client.received()] == [1, None]


def test_a_hundred_thousand_pipelined_requests_wait_in_the_socket() -> None:
    peer = Peer()
    greedy, other = peer.connect(), peer.connect()
    peer.store.held = []
    for _ in range(20):
        if greedy.transport.producerState == "paused":
            break
        greedy.send(b"buy BTC-USD 1 @ 100\n" * 3_000)
    assert greedy.transport.producerState == "paused"
    assert greedy.lines.unreleased == UNRELEASED_MAX
    other.send(b"ping\n")
    answered = 0
    while peer.store.held:
        peer.store.held.pop(0)()
        peer.turn(200)
        answered += len(greedy.received())
        assert greedy.lines.unreleased <= UNRELEASED_MAX
    assert len(other.received()) == 1
    assert answered == 3_000
    assert greedy.transport.producerState == "producing"


def test_a_few_lines_in_one_turn_and_then_the_others() -> None:
    peer = Peer()
    greedy, other = peer.connect(), peer.connect()
    greedy.lines.dataReceived(b"ping\n" * 1_000)
    assert greedy.lines.unreleased == ROUND_REQUESTS_MAX
    other.lines.dataReceived(b"ping\n")
    peer.turn(1)
    assert len(other.received()) == 1
    peer.turn(100)
    assert len(greedy.received()) == 1_000


class Gathering:
    """Stands in for the set that reads sockets: reading is not over before it says so."""

    gathering = False
    serve: Callable[[], None]

    def read(self, transport: object, serve: Callable[[], None]) -> bool:
        self.serve = serve
        return True


def test_a_client_is_served_when_the_others_have_been_read_too() -> None:
    sockets, taken = Gathering(), list[bytes | None]()
    clock = Clock()
    connection = ClientConnection(
        clock,
        lambda _, line: taken.append(line),
        lambda _: None,
        PortTurns(clock),
        cast("EpollSet", sockets),
    )
    connection.makeConnection(StringTransport())
    sockets.gathering = True
    connection.dataReceived(b"ping\n")
    assert taken == []
    sockets.gathering = False
    sockets.serve()
    assert taken == [b"ping"]
    connection.dataReceived(b"ping\n")  # what the reactor reads
    assert len(taken) == 2


def test_a_batch_counts_as_the_requests_that_it_holds() -> None:
    """64 lines of 100 requests each were carried out in one turn; their answers took 48 MB."""
    peer = Peer()
    greedy, other = peer.connect(), peer.connect()
    one = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    batch = b"[" + b",".join([one] * 100) + b"]\n"
    greedy.lines.dataReceived(batch * 64)
    assert greedy.lines.unreleased == 100, "one of them a turn"
    other.lines.dataReceived(b"ping\n")
    peer.store.held = []
    peer.turn(1)
    assert len(other.received()) == 1
    for _ in range(200):
        peer.turn(1)
        assert greedy.lines.unreleased < UNRELEASED_MAX + 100
    assert len(greedy.received()) == 64, "nothing is refused"
    assert greedy.lines.unreleased == 0


def test_a_client_that_never_reads_is_not_read_from_and_then_cut_off() -> None:
    peer = Peer()
    deaf = peer.connect()
    deaf.lines.pauseProducing()  # what a transport does whose buffer is full
    for _ in range(40):
        if deaf.transport.producerState == "paused":
            break
        deaf.send(b"help\n" * 300)
    assert deaf.transport.producerState == "paused"
    assert deaf.lines.send_queue.size < UNREAD_BYTES_MAX + 100_000
    peer.clock.advance(STALLED_S - 1)
    assert not deaf.transport.disconnecting and not deaf.transport.disconnected
    peer.clock.advance(1)
    assert deaf.transport.disconnected
    assert peer.connect().ask("ping")["result"]


def test_a_client_that_reads_again_in_time_gets_everything() -> None:
    peer = Peer()
    client = peer.connect()
    client.lines.pauseProducing()
    client.send(b"ping\n" * 500)
    assert client.received() == []
    peer.clock.advance(STALLED_S - 1)
    client.lines.resumeProducing()
    peer.turn(100)
    assert len(client.received()) == 500
    peer.clock.advance(STALLED_S)
    assert not client.transport.disconnecting


def test_what_was_asked_before_the_end_of_input_is_answered() -> None:
    peer = Peer()
    client = peer.connect()
    peer.store.held = []
    client.lines.dataReceived(b"buy BTC-USD 1 @ 100\nping\n")
    client.lines.readConnectionLost()  # printf ... | nc
    peer.turn()
    assert not client.transport.disconnecting
    peer.store.held.pop(0)()
    peer.turn()
    assert len(client.received()) == 2
    assert client.transport.disconnecting


def test_a_page_is_made_of_whatever_the_store_answers() -> None:
    client = Peer().connect()
    reading: Deferred[tuple[bytes, ...]] = Deferred()

    async def pages() -> AsyncGenerator[list[bytes], None]:
        yield [b"first\n"]
        yield list(await reading)

    following = Deferred.fromCoroutine(client.lines.follow(pages()))
    # What CPython 3.11 unpacks on its way through anext(pages, None).
    reading.callback((b"second\n", b"third\n", b"fourth\n"))
    assert following.called
    assert client.transport.value() == b"first\nsecond\nthird\nfourth\n"


def test_a_client_that_vanishes_leaves_nothing_behind() -> None:
    peer = Peer()
    client = peer.connect()
    peer.store.held = []
    client.lines.dataReceived(b"buy BTC-USD 1 @ 100\norders\nwatch BTC-USD\n")
    client.lines.pauseProducing()
    client.lines.connectionLost(Failure(ConnectionDone()))
    peer.turn()
    peer.store.held.pop(0)()
    peer.turn()
    assert peer.commit_loop.clients == 0
    assert len(peer.gateway.feed) == 0
    delayed = [call for call in peer.clock.getDelayedCalls() if call.func is not None]
    assert len(delayed) == 1, "the node's own timer"


def proven(peer: Peer, number: int) -> tuple[PeerConnection, StringTransport, PeerLink]:
    """A link whose handshake is over."""
    lines, transport = peer.link(number)
    assert peer.commit_loop.node is not None
    peering = peer.commit_loop.node.peering
    link = peering.links[number]
    assert link.ready
    transport.clear()
    return lines, transport, link


@pytest.mark.parametrize("line", [b"{", b'"\xc3"', b"[]", b"7", b'{"jsonrpc":"1.0"}'])
def test_a_peer_that_talks_nonsense_is_told_and_pays_ten_points(line: bytes) -> None:
    peer = Peer()
    lines, transport, link = proven(peer, 1)
    lines.dataReceived(line + b"\n")
    peer.turn()
    assert peer.commit_loop.node is not None
    scores = peer.commit_loop.node.peering.scores
    assert scores.of(link.key, peer.clock.seconds()) == -10.0
    assert b'"error"' in transport.value() and not transport.disconnecting
    lines.dataReceived((line + b"\n") * 1_000_000)
    peer.turn()
    assert transport.disconnecting
    assert scores.banned(link.key, peer.clock.seconds())
    assert peer.commit_loop.peer_input.lines_refused == 11


def test_a_first_line_that_is_no_message_ends_the_link() -> None:
    peer = Peer()
    lines, transport = peer.connection()
    transport.clear()
    lines.dataReceived(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    peer.turn()
    assert transport.value().count(b'"error"') == 1
    assert transport.disconnecting


RECONCILE = b'{"jsonrpc":"2.0","id":1,"method":"sync.reconcile","params":{"frame":"AAACAA=="}}\n'


def at_each_visit(monkeypatch: pytest.MonkeyPatch, call: Callable[[], None]) -> None:
    """Have something done whenever the sockets were visited between two turns."""
    visit = Turns.visit

    def visiting(self: Turns) -> Turn | None:
        call()
        return visit(self)

    monkeypatch.setattr(Turns, "visit", visiting)


@pytest.mark.parametrize(
    ("orders", "turns"),
    [
        (0, [2] * 20),
        (20_000, [1, 0, 1, 0, 0] * 8),  # a debt of 300, then of 400
        (100_000, [1, *9 * [0], 1, *10 * [0]] * 2),  # a debt of 1,900, then of 2,000
    ],
)
def test_a_turn_of_a_link_ends_with_its_points(
    orders: int, turns: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 of them took 0.2 s with 20,000 orders, and nobody else was served."""
    peer = Peer()
    lines, _, _ = proven(peer, 1)
    assert peer.commit_loop.node is not None
    peer.commit_loop.node.peering.messages.orders_held = lambda: orders
    left = [40]
    at_each_visit(monkeypatch, lambda: left.append(len(lines._inbox)))
    lines.dataReceived(RECONCILE * 40)
    peer.turn()
    left.append(len(lines._inbox))
    answers = [before - after for before, after in pairwise(left)]
    assert answers[: len(turns)] == turns
    assert left[-1] == 0, "nothing is refused"


def test_clients_are_served_between_two_turns_and_other_links_do_not_wait_for_debts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer = Peer()
    greedy, _, _ = proven(peer, 1)
    modest, transport, _ = proven(peer, 2)
    client = peer.connect()
    assert peer.commit_loop.node is not None
    peer.commit_loop.node.peering.messages.orders_held = lambda: 100_000
    ping = b'{"jsonrpc":"2.0","id":7,"method":"peer.ping","params":{}}\n'
    late: list[int] = []

    def sockets() -> None:
        if len(late) < 50:
            late.append(len(modest._inbox))
            modest.dataReceived(ping)
            client.lines.dataReceived(b"ping\n")
            assert not client.lines._inbox

    at_each_visit(monkeypatch, sockets)
    greedy.dataReceived(RECONCILE * 30)
    assert len(greedy._inbox) == 29
    peer.turn()
    assert len(late) == 50 and max(late) <= 1, "its question waits for one turn of the other"
    assert transport.value().count(b'"id":7') == 50
    assert len(client.received()) == 50
    assert not greedy._inbox, "it had all idle time"


def test_what_a_link_asks_for_beyond_its_bytes_of_answers_waits() -> None:
    peer = Peer()
    lines, transport, link = proven(peer, 1)
    link.answer_bytes = ANSWER_BYTES_AT_ONCE + ANSWER_BYTES_PER_S // 2  # it had answers
    ping = b'{"jsonrpc":"2.0","id":7,"method":"peer.ping","params":{}}\n'
    lines.dataReceived(ping + ping)
    peer.turn()
    assert transport.value().count(b'"id":7') == 2, "the line that is paid for is answered"
    lines.dataReceived(ping)
    peer.turn()
    assert transport.value().count(b'"id":7') == 2
    peer.clock.advance(0.4)
    assert transport.value().count(b'"id":7') == 2
    peer.clock.advance(0.2)
    peer.turn()
    assert transport.value().count(b'"id":7') == 3


def test_a_link_that_reads_nothing_of_much_that_it_asked_for_has_a_turn_a_second() -> None:
    peer = Peer()
    lines, _, link = proven(peer, 1)
    lines.pauseProducing()
    for _ in range(3):
        lines.send(b"x" * 1_000_000)  # more than PEER_UNREAD_BYTES
    ping = b'{"jsonrpc":"2.0","id":7,"method":"peer.ping","params":{}}\n'

    def left(seconds: float) -> int:
        """Lines that wait for a turn after so long."""
        peer.clock.advance(seconds)
        peer.turn()
        return len(lines._inbox)

    lines.dataReceived(ping)
    assert left(0) == 0, "much waits for it, but of what others said"
    link.answer_bytes = 2 * LINE_BYTES_MAX
    lines.dataReceived(ping)
    assert left(0) == 0
    lines.dataReceived(ping * 3)
    assert [left(0), left(0.5), left(0.3)] == [3, 3, 3]
    assert left(0.3) == 0, "it is not held up for good"
    lines.dataReceived(ping * 3)
    assert left(0.2) == 3
    lines.resumeProducing()  # it reads
    assert left(UNREAD_LOOK_S) == 0


def test_a_peer_with_a_line_that_is_too_long_is_told_and_left() -> None:
    peer = Peer()
    lines, transport = peer.link()
    lines.dataReceived(b"x" * 70_000)
    peer.turn()
    assert b"-32007" in transport.value()
    assert transport.disconnecting


def test_a_peer_that_does_not_read_is_given_up_when_its_queue_is_full() -> None:
    peer = Peer()
    lines, transport = peer.link()
    lines.pauseProducing()
    line = b"x" * 1_000_000
    assert all(lines.send(line) for _ in range(8))
    assert not lines.send(line)
    assert transport.disconnected


def test_a_closed_link_is_gone_when_its_last_words_are_out() -> None:
    peer = Peer()
    lines, transport = peer.link()
    transport.clear()
    lines.unreleased += 1
    lines.send(b"last words\n")
    lines.close()
    assert not transport.disconnecting
    lines.unreleased -= 1
    lines.flush()
    assert transport.value() == b"last words\n"
    assert transport.disconnecting


def test_a_peer_that_is_thrown_out_and_does_not_read_is_cut_off() -> None:
    peer = Peer()
    lines, transport = peer.link()
    lines.pauseProducing()
    lines.send(b"last words\n")
    lines.close()
    peer.clock.advance(PEER_LEAVE_S)
    assert transport.disconnected


def test_a_peer_that_never_says_its_farewell_is_cut_off() -> None:
    """Over TLS the transport waits for it: not for ever, and it is read from meanwhile."""
    peer = Peer()
    lines, transport = peer.link()
    lines.close()
    assert transport.disconnecting and transport.producerState == "producing"
    assert not transport.disconnected
    peer.clock.advance(PEER_LEAVE_S)
    assert transport.disconnected


def test_who_answers_a_farewell_with_a_flood_is_cut_off_at_once() -> None:
    peer = Peer()
    lines, transport = peer.link()
    lines.close()
    lines.dataReceived(b"x" * FAREWELL_BYTES_MAX)
    assert not transport.disconnected
    lines.dataReceived(b"x")
    assert transport.disconnected


def test_a_client_that_has_left_and_stays_is_cut_off() -> None:
    peer = Peer()
    client = peer.connect()
    client.send(b"x" * 70_000)
    assert client.transport.disconnecting
    peer.clock.advance(STALLED_S)
    assert client.transport.disconnected


def test_what_waits_for_a_connection_is_dropped_with_it() -> None:
    """Links that did not read and came back again and again cost 20 MB a second."""
    peer = Peer()
    cut, gone = peer.connect(), peer.connect()
    for client in (cut, gone):
        client.lines.pauseProducing()
        client.send(b"help\n" * 100)
        assert client.lines.send_queue.size
    cut.lines.abort()
    gone.lines.connectionLost()
    assert (cut.lines.send_queue.size, gone.lines.send_queue.size) == (0, 0)
