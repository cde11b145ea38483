"""What idle homes cost a peer, counted as work: no clock is asked."""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType
from typing import Any

import pytest

from benchmarks.exchange.idle_homes import Crowd
from grenache_py.exchange.home import heartbeat
from grenache_py.exchange.home.own_lease import SLOT_S
from grenache_py.exchange.peers.mesh import D_HIGH
from grenache_py.exchange.replication import head_exchange
from grenache_py.exchange.replication.lease_exchange import HIGH

HOMES, LINKS = 100, 12
#: So many that pulses show that they live.
PULSING = 400


def crowd_of(homes: int, links: int) -> Crowd:
    """A peer with links to neighbours that told it of so many homes, all silent by now."""
    crowd = Crowd(homes, links, real=False)
    crowd.gather(beats=2)
    return crowd


def test_a_heartbeat_is_pushed_over_the_mesh_and_announced_to_some_others() -> None:
    crowd = crowd_of(HOMES, LINKS)
    crowd.live(10)
    gossip, before = crowd.node.peering.gossip, crowd.node.peering.gossip.published
    _, sent = crowd.spent(10)
    beats = 10 * HOMES / crowd.period_s
    assert gossip.published - before < beats * D_HIGH
    assert sent < 100_000
    assert all(origin.visible for origin in crowd.node.replica.origins.values())
    crowd.fall_silent()
    assert 25 <= crowd.until_hidden() <= 27, "the lease, and what clocks may differ by"


def work(crowd: Crowd, seconds: float) -> tuple[int, Counter[str]]:
    """Bytecodes that run in some virtual seconds, and how often each function is called."""
    bytecodes, calls = 0, Counter[str]()

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal bytecodes
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            calls[f"{frame.f_code.co_filename}:{frame.f_lineno}"] += 1
        elif event == "opcode":
            bytecodes += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        crowd.clock.run_until(crowd.clock.now + seconds)
    finally:
        sys.settrace(before)
    return bytecodes, calls


def long_dead(homes: int) -> Crowd:
    """A crowd whose homes have died together, and are asked about every ten minutes by now."""
    crowd = crowd_of(homes, LINKS)
    crowd.clock.run_until(crowd.clock.now + 320.0)
    return crowd


def test_a_pulse_costs_a_few_hashes_and_a_line_for_many() -> None:
    crowd = crowd_of(PULSING, LINKS)
    assert crowd.pulsing
    crowd.live(20)
    published = crowd.node.peering.gossip.published
    _, sent = crowd.spent(10)
    pulses, lines = PULSING / SLOT_S, HIGH
    assert sent < HIGH * 16 * pulses + 150 * (lines + LINKS), "16 bytes of base64 each, and lines"
    assert crowd.node.peering.gossip.published == published, "the logs rest"
    bytecodes, _ = work(crowd, 10.0)
    assert bytecodes < 10 * (pulses * 1_500 + 40_000), "the stand-ins' included"
    assert all(origin.visible for origin in crowd.node.replica.origins.values())
    crowd.fall_silent()
    assert 25 <= crowd.until_hidden() <= 30


def test_half_a_quiet_minute_costs_the_same_among_five_times_as_many_homes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(head_exchange, "HEADS_PER_S_MAX", 5)
    monkeypatch.setattr(heartbeat, "BEATING_HOMES_MAX", 100)
    (few, _), (many, calls) = (work(long_dead(homes), 31.0) for homes in (200, 1_000))
    assert many < 1.2 * few
    [(most, times)] = calls.most_common(1)
    assert times < 1_000, most
