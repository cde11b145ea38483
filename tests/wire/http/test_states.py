"""Whatever comes, a connection's state changes only as the table says."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from grenache_py.exchange.daemon.connections.port_turns import PortTurns
from grenache_py.exchange.daemon.http_port.http import HTTPConnection
from grenache_py.exchange.daemon.http_port.static_pages import static_pages
from grenache_py.rpc.limits import ServerLimits
from grenache_py.wire.http.states import HTTP_TRANSITIONS, HTTPEvent, HTTPState
from tests.fuzz.target_http_reader import SEEDS
from tests.grape.test_http import Client, make_grape, post
from tests.rpc.http.test_wire import post as rpc_post
from tests.rpc.http.test_wire import serve

BYTES = st.sampled_from(
    [*SEEDS, post("/lookup", "svc"), rpc_post(b'["r","k",0]'), b"GET / HT", b"\r\n", b"x" * 10_000]
)
#: One step is one thing that happens to a connection; it may take the state through two changes.
STEPS = st.lists(
    st.one_of(BYTES, st.sampled_from(["half", "pause", "resume", "answer", "stop", "late"])),
    max_size=12,
)


def reachable(state: HTTPState) -> set[HTTPState]:
    """The states that the table leads to from ``state``, and itself."""
    found, todo = {state}, [state]
    while todo:
        before = todo.pop()
        for event in HTTPEvent:
            if HTTP_TRANSITIONS.allows(before, event):
                after = HTTP_TRANSITIONS.next(before, event)
                if after not in found:
                    found.add(after)
                    todo.append(after)
    return found


def drive(connection, transport, steps, answer, stop, late) -> None:
    state = connection.state
    assert state is HTTPState.READING
    for step in steps:
        if transport.disconnecting or transport.disconnected:
            break
        if isinstance(step, bytes):
            connection.dataReceived(step)
        elif step == "half":
            if hasattr(connection, "readConnectionLost"):
                connection.readConnectionLost()
        elif step in ("pause", "resume"):
            getattr(connection, f"{step}Producing")()
        else:
            {"answer": answer, "stop": stop, "late": late}[step]()
        assert connection.state in reachable(state), (step, state)
        state = connection.state
        gone = transport.disconnecting or transport.disconnected
        assert gone or state is not HTTPState.CLOSING
    connection.connectionLost(Failure(ConnectionDone()))
    assert connection.state is HTTPState.CLOSED
    answer()
    assert connection.state is HTTPState.CLOSED


@settings(max_examples=150)
@given(STEPS)
def test_the_grape(steps: list) -> None:
    grape = make_grape()
    client = Client(grape.site, grape.clock)

    def answer() -> None:
        if grape.dht.pending:
            grape.dht.pending.pop().callback([])

    drive(
        client.connection,
        client.transport,
        steps,
        answer,
        client.connection.finish,
        lambda: grape.clock.pump([1.0] * 15),
    )


@settings(max_examples=150)
@given(STEPS)
def test_the_rpc_server(steps: list) -> None:
    waiting: list[Deferred] = []
    clock = Clock()
    limits = ServerLimits(pipelined_max=3, body_bytes_max=100)
    wire = serve(lambda _: waiting.append(Deferred()) or waiting[-1], limits, clock)
    connection = wire.protocol

    def late() -> None:
        clock.advance(limits.idle_timeout_s + 1)
        connection.sweep(clock.seconds())

    def answer() -> None:
        if waiting:
            waiting.pop().callback(1)

    drive(connection, wire, steps, answer, connection.shut, late)


@settings(max_examples=150)
@given(st.lists(BYTES, max_size=8))
def test_the_exchange(steps: list) -> None:
    clock = Clock()
    connection = HTTPConnection(clock, static_pages(), lambda _: None, PortTurns(clock))
    transport = StringTransport()
    connection.makeConnection(transport)
    drive(connection, transport, steps, lambda: None, lambda: None, lambda: None)
