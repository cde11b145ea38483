"""One connection: memory is bounded whatever the other end does, and others are served."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from grenache_py.exchange.daemon.client_connection import UNREAD_BYTES_MAX
from grenache_py.exchange.daemon.line_connection import (
    FAREWELL_BYTES_MAX,
    LINES_PER_TURN_MAX,
    STALLED_S,
    UNRELEASED_MAX,
)
from grenache_py.exchange.daemon.peer_connection import PEER_LEAVE_S
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
    assert greedy.lines.unreleased == LINES_PER_TURN_MAX
    other.lines.dataReceived(b"ping\n")
    peer.turn(1)
    assert len(other.received()) == 1
    peer.turn(100)
    assert len(greedy.received()) == 1_000


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


def test_a_peer_that_talks_nonsense_is_told_and_kept() -> None:
    peer = Peer()
    lines, transport = peer.link()
    transport.clear()
    for line in (b"{", b'"\xc3"', b"[]", b"7", b'{"jsonrpc":"1.0"}'):
        lines.dataReceived(line + b"\n")
        peer.turn()
    errors = transport.value().splitlines()
    assert len(errors) == 5 and all(b'"error"' in error for error in errors)
    assert peer.commit_loop.peer_input.lines_refused == 5
    assert not transport.disconnecting


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
    assert all(lines.send(line) for _ in range(16))
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
