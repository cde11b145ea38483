"""The UDP shell: datagrams in and out, one timer, a Deferred for each caller."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from grenache_py.dht.config import DHTConfig
from grenache_py.dht.errors import DHTNotRunning
from grenache_py.dht.items import PutItem
from grenache_py.dht.protocol import DATAGRAMS_A_TURN_MAX, DHTProtocol
from grenache_py.errors import LocalProtocolError
from grenache_py.wire import bencode
from grenache_py.wire.krpc import Address, compact_address
from tests.support.dht_nodes import ALICE, CLIENT_ID, NOW, OWN_ID, make_node

PING = b"d1:ad2:id20:%be1:q4:ping1:t2:aa1:y1:qe" % CLIENT_ID
PEER = compact_address(("10.5.5.5", 1337))


class Transport:
    """A UDP port that keeps what is written; ``broken`` makes it refuse."""

    def __init__(self) -> None:
        self.written: list[tuple[bytes, Address]] = []
        self.broken = False

    def write(self, data: bytes, address: Address) -> None:
        if self.broken:
            raise OSError("network is unreachable")
        self.written.append((data, address))

    def take(self) -> list[tuple[dict[bytes, Any], Address]]:
        taken = [(bencode.decode(data), address) for data, address in self.written]
        self.written.clear()
        return taken  # type: ignore[return-value]


class Shell:
    def __init__(self, config: DHTConfig | None = None) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.wanted = 0
        self.transport = Transport()
        self.protocol = DHTProtocol(make_node(config), self.clock, self._want)
        self.protocol.transport = self.transport
        self.protocol.startProtocol()

    def _want(self) -> None:
        self.wanted += 1

    def meet_alice(self) -> None:
        self.protocol.datagramReceived(PING, ALICE)
        for message, address in self.transport.take():
            if message[b"y"] == b"q":
                self.answer(message, address)
        self.clock.advance(0.5)  # now that it has company, it looks around
        for message, address in self.transport.take():
            self.answer(message, address)

    def answer(self, query: dict[bytes, Any], address: Address, **members: Any) -> None:
        body = {b"id": CLIENT_ID} | {key.encode(): value for key, value in members.items()}
        self.protocol.datagramReceived(
            bencode.encode({b"t": query[b"t"], b"y": b"r", b"r": body}), address
        )

    def only_query(self) -> dict[bytes, Any]:
        ((query, address),) = self.transport.take()
        assert address == ALICE
        return query


def results(waiter: Deferred[Any]) -> list[Any]:
    seen: list[Any] = []
    waiter.addBoth(seen.append)
    return seen


def test_a_query_is_answered_to_where_it_came_from() -> None:
    shell = Shell()
    shell.protocol.datagramReceived(PING, ALICE)
    answer, address = shell.transport.take()[0]
    assert address == ALICE
    assert answer == {b"r": {b"id": OWN_ID}, b"t": b"aa", b"y": b"r"}


def test_each_caller_of_a_shared_lookup_gets_the_answer() -> None:
    shell = Shell()
    shell.meet_alice()
    first = results(shell.protocol.lookup(b"name"))
    second = results(shell.protocol.lookup(b"name"))
    query = shell.only_query()
    assert (first, second) == ([], [])
    shell.answer(query, ALICE, values=[PEER])
    assert first == second == [["10.5.5.5:1337"]]


def test_cancelling_one_caller_leaves_the_other() -> None:
    shell = Shell()
    shell.meet_alice()
    cancelled, other = shell.protocol.lookup(b"name"), shell.protocol.lookup(b"name")
    seen = results(other)
    failure = results(cancelled)
    cancelled.cancel()
    assert failure[0].check(CancelledError)
    shell.answer(shell.only_query(), ALICE, values=[PEER])
    assert seen == [["10.5.5.5:1337"]]


def test_a_callback_may_start_the_next_operation() -> None:
    shell = Shell()
    shell.meet_alice()
    seen: list[Any] = []
    first = shell.protocol.lookup(b"one")
    first.addCallback(lambda _: shell.protocol.lookup(b"two").addCallback(seen.append))
    shell.answer(shell.only_query(), ALICE, nodes=b"")
    query = shell.only_query()
    assert query[b"a"][b"info_hash"] == b"two"
    shell.answer(query, ALICE, values=[PEER])
    assert seen == [["10.5.5.5:1337"]]


def test_errors_reach_the_caller_also_those_before_anything_was_sent() -> None:
    shell = Shell()
    (too_large,) = results(shell.protocol.put(PutItem(v=b"x" * 1001)))
    assert too_large.check(LocalProtocolError)
    (impossible,) = results(shell.protocol.announce(b"name", 0))
    assert impossible.check(LocalProtocolError)


def test_one_timer_ends_a_lookup_nobody_answers() -> None:
    shell = Shell()
    shell.meet_alice()
    seen = results(shell.protocol.lookup(b"name"))
    for _ in range(40):
        assert len(shell.clock.getDelayedCalls()) == 1
        shell.clock.advance(0.05)
    assert seen == [[]]


def test_the_timer_comes_sooner_when_something_is_due_sooner() -> None:
    shell = Shell()
    shell.meet_alice()
    shell.clock.advance(0.6)  # the rest of the round is over; the next is seconds away
    (timer,) = shell.clock.getDelayedCalls()
    assert timer.getTime() - shell.clock.seconds() > 2
    shell.protocol.lookup(b"name")
    first = shell.only_query()
    shell.clock.advance(0.5)
    again = shell.only_query()
    assert again[b"a"] == first[b"a"], "asked again in time"


def test_a_clock_set_back_an_hour_stops_nothing() -> None:
    shell = Shell()
    shell.meet_alice()
    seen = results(shell.protocol.lookup(b"name"))
    shell.transport.take()
    shell.clock.rightNow -= 3600
    shell.protocol.datagramReceived(PING, ALICE)  # anything that happens
    for _ in range(40):
        shell.clock.advance(0.05)
    assert seen == [[]]
    assert len(shell.clock.getDelayedCalls()) == 1


def test_a_send_that_fails_is_a_lost_datagram() -> None:
    shell = Shell()
    shell.meet_alice()
    shell.transport.broken = True
    seen = results(shell.protocol.lookup(b"name"))
    shell.protocol.datagramReceived(PING, ALICE)
    assert shell.protocol.send_errors == 2
    shell.transport.broken = False
    shell.clock.advance(0.5)  # sent again
    shell.answer(shell.only_query(), ALICE, values=[PEER])
    assert seen == [["10.5.5.5:1337"]]


def test_stopping_leaves_no_timer_and_no_waiter() -> None:
    shell = Shell()
    shell.meet_alice()
    waiter = shell.protocol.lookup(b"name")
    retried: list[Any] = []
    waiter.addErrback(lambda _: shell.protocol.lookup(b"again").addBoth(retried.append))
    shell.protocol.numPorts = 1
    shell.protocol.doStop()  # what Twisted calls when the port is closed
    assert shell.clock.getDelayedCalls() == []
    assert retried[0].check(DHTNotRunning), "and nothing begins any more"


def test_bootstrap_is_wanted_until_there_is_company() -> None:
    shell = Shell(DHTConfig(bootstrap_retry_min_s=0.5))
    for _ in range(10):
        shell.clock.advance(0.5)
    assert shell.wanted >= 2


@pytest.mark.parametrize("data", [b"", b"\0" * 65507, b"d1:rd2:idi5ee1:t2:aa1:y1:re"])
def test_rubbish_leaves_no_trace(data: bytes) -> None:
    shell = Shell()
    shell.protocol.datagramReceived(data, ALICE)
    assert shell.transport.take() == []


class Handle:
    """A socket with datagrams in it."""

    def __init__(self, *datagrams: bytes) -> None:
        self.datagrams = list(datagrams)

    def recvfrom(self, _: int) -> tuple[bytes, Address]:
        if not self.datagrams:
            raise BlockingIOError
        return self.datagrams.pop(0), ALICE


def test_all_that_has_come_is_read_but_no_more_than_a_turns_worth() -> None:
    shell = Shell()
    handle = Handle(*[PING] * (DATAGRAMS_A_TURN_MAX + 3))
    shell.protocol.read(handle)
    assert len(handle.datagrams) == 3
    shell.protocol.read(handle)
    assert not handle.datagrams
    answers = [message for message, _ in shell.transport.take() if message[b"y"] == b"r"]
    assert len(answers) == DATAGRAMS_A_TURN_MAX + 3


def test_a_bug_costs_one_datagram_and_not_the_port(logged_failures: list) -> None:
    shell = Shell()
    receive = shell.protocol.node.receive_datagram
    shell.protocol.node.receive_datagram = lambda *_: 1 / 0
    shell.protocol.read(Handle(PING))
    shell.protocol.node.receive_datagram = receive
    assert len(logged_failures.flush(ZeroDivisionError)) == 1
    shell.protocol.read(Handle(PING))
    assert shell.transport.take()[0][0][b"y"] == b"r"
