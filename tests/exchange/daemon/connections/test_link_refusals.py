"""A peer that does not fit is told of on both sides: seldom, but every time it is counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from grenache_py.exchange.daemon.connections.link_refusals import (
    LINES_PER_HOUR_MAX,
    TELL_EVERY_S,
    LinkRefusals,
)
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.peers.handshake import Handshake, HandshakeError, PeerHello


@pytest.fixture
def told() -> Iterator[list[str]]:
    lines: list[str] = []

    def seen(event: LogEvent) -> None:
        if event["log_level"] == LogLevel.warn:
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(seen)
    yield lines
    globalLogPublisher.removeObserver(seen)


REASONS = [
    ("this is network 'main', the other side is on 'test'", "network"),
    ("market BTC-USD has tick 0.01 and lot 0.0001 here, tick 1 and lot 1 there", "market"),
    ("no common protocol version: [1, 1] here, [2, 2] there", "protocol"),
    ("this is not an answer to peer.hello or peer.prove", "port"),
    ("something else", "other"),
]


@pytest.mark.parametrize(("reason", "kind"), REASONS)
@pytest.mark.parametrize("prefix", ["", "refused by the other side: "])
def test_a_refusal_is_one_line_an_hour_and_always_counted(
    prefix: str, reason: str, kind: str, told: list[str]
) -> None:
    clock = Clock()
    refusals = LinkRefusals(clock)
    for port in range(20):
        refusals.closed(f"10.0.0.7:{port}", prefix + reason)
    assert told == [f"no link with 10.0.0.7:0: {prefix}{reason}"]
    assert refusals.counts == {kind: 20}
    clock.advance(TELL_EVERY_S)
    refusals.closed("10.0.0.7:99", prefix + reason)
    refusals.closed("10.0.0.8:99", prefix + reason)
    assert len(told) == 3
    assert (refusals.last != "") == (kind != "other")


def test_strangers_cannot_fill_the_log_or_memory(told: list[str]) -> None:
    refusals = LinkRefusals(Clock())
    for number in range(5_000):
        network = f"this is network 'main', the other side is on '{number}'"
        refusals.closed(f"10.{number >> 8}.{number & 255}.7:5", network)
    assert len(told) == len(refusals._told) == LINES_PER_HOUR_MAX
    assert refusals.counts == {"network": 5_000}


def test_what_happens_every_day_is_not_told(told: list[str]) -> None:
    refusals = LinkRefusals(Clock())
    refusals.closed("10.0.0.7:5", "there is a link to this peer already")
    refusals.closed("10.0.0.7:5", "the other side said goodbye")
    assert not told and not refusals.counts


def test_what_a_handshake_is_refused_for_has_a_kind(told: list[str]) -> None:
    """The texts are the handshake's own: changing one there must not lose its kind here."""
    market = Market.parse("BTC-USD:tick=0.01,lot=0.0001")

    def hello(network: str, tick: str, protocol: tuple[int, int]) -> PeerHello:
        units = {market.symbol: (tick, "0.0001")}
        return PeerHello(boot="b" * 32, network=network, protocol=protocol, markets=units)

    refusals = LinkRefusals(Clock())
    mine = hello("main", "0.01", (1, 1))
    for theirs, kind in (
        (hello("test", "0.01", (1, 1)), "network"),
        (hello("main", "1", (1, 1)), "market"),
        (hello("main", "0.01", (2, 2)), "protocol"),
    ):
        with pytest.raises(HandshakeError) as refused:
            Handshake(mine, False, 0.0)._meet(theirs)
        refusals.closed("10.0.0.7:5", str(refused.value))
        assert refusals.counts[kind] == 1


def test_a_client_at_the_peer_port_is_told_of(told: list[str]) -> None:
    refusals = LinkRefusals(Clock())
    with pytest.raises(HandshakeError) as refused:
        Handshake(PeerHello("b" * 32, "main", (1, 1)), False, 0.0).receive(
            {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        )
    refusals.closed("192.0.2.1:7071", str(refused.value))
    (line,) = told
    assert line.startswith("no link with 192.0.2.1:7071: this is the port for other peers")
    assert refusals.counts == {"port": 1}
