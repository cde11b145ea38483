"""The pure rooms of rpc: frames, the table of what is in flight, whom to ask, the outbox."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from grenache_py.rpc.connecting import NotConnected, connect
from grenache_py.rpc.errors import BadFrame, NotSendable, RPCFailure, TooManyRequests
from grenache_py.rpc.frames import (
    Destinations,
    RequestTable,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
    split_address,
)
from grenache_py.rpc.pubsub.subscriber_queue import ReconnectSchedule, SubscriberQueue

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@given(json_values, json_values)
def test_requests_and_replies_survive_the_journey(payload, rid) -> None:
    request = decode_request(encode_request("r1", "rest:util:net", payload))
    assert (request.rid, request.key, request.payload) == ("r1", "rest:util:net", payload)
    assert json.loads(encode_request("r1", "k", payload)) == ["r1", "k", payload]
    assert decode_reply(encode_reply(rid, None, payload)) == (rid, None, payload)
    echoed, error, data = decode_reply(encode_reply(rid, "no", payload))
    assert (echoed, str(error), data) == (rid, "no", payload)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"[]", (None, None, None)),
        (b'["r"]', ("r", None, None)),
        (b'["r","k"]', ("r", "k", None)),
        (b'["r","k","p","more"]', ("r", "k", "p")),
        (b' [ 7 , {"a":1} , [ ] ] ', (7, {"a": 1}, [])),
    ],
)
def test_missing_members_are_null_as_with_node(body, expected) -> None:
    request = decode_request(body)
    assert (request.rid, request.key, request.payload) == expected


@pytest.mark.parametrize(
    "body", [b"", b"{bad", b"null", b"0", b'"text"', b"{}", b"\xff", b"[" * 9999]
)
def test_what_is_no_request_is_said_to_be_none(body) -> None:
    with pytest.raises(BadFrame, match="a request is the JSON array"):
        decode_request(body)
    with pytest.raises(BadFrame, match="a reply is the JSON array"):
        decode_reply(body)


def test_replies_of_odd_servers() -> None:
    assert decode_reply(b'["r",""]') == ("r", None, None), "Node reads an empty text as success"
    assert decode_reply(b'["r",null]') == ("r", None, None)
    assert str(decode_reply(b'["r",{"code":5},1]')[1]) == '{"code":5}'
    with pytest.raises(BadFrame):
        decode_reply(b"[]")


@pytest.mark.parametrize(
    "payload",
    [
        object(),
        {object(): 1},
        "\ud800",
        math.nan,
        [1, {"a": -math.inf}],
        {"a": (math.inf, None)},
    ],
)
def test_what_json_cannot_say_is_not_sent(payload) -> None:
    with pytest.raises(NotSendable, match="cannot be sent as JSON"):
        encode_request("r", "k", payload)
    with pytest.raises(NotSendable, match="cannot be sent as JSON"):
        encode_reply("r", None, payload)


@pytest.mark.parametrize("address", ["a_b:1", "a..b:1", f"{'a' * 64}:1"])
def test_a_peer_whose_host_name_is_none_cannot_be_reached(address: str) -> None:
    """Another one is tried then; an announced address is whatever its grape says."""
    connecting = Deferred.fromCoroutine(connect(MemoryReactorClock(), address, None, 1.0, Protocol))
    SynchronousTestCase().failureResultOf(connecting, NotConnected)


def test_an_error_without_text_is_still_an_error() -> None:
    assert RPCFailure("").message == "error"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("tcp://10.0.0.1:80", ("10.0.0.1", 80)),
        ("[::1]:80", ("::1", 80)),
        ("grape.example:65535", ("grape.example", 65535)),
    ],
)
def test_addresses(address, expected) -> None:
    assert split_address(address) == expected


@pytest.mark.parametrize("address", ["", ":80", "a", "a:", "a:0", "a:65536", "a b:1", "http://a:1"])
def test_what_is_no_address_is_said_to_be_none(address) -> None:
    with pytest.raises(BadFrame, match="address of a peer"):
        split_address(address)


table_steps = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 9), st.integers(0, 20)),
    st.tuples(st.just("take"), st.integers(0, 9), st.none()),
    st.tuples(st.just("wait"), st.none(), st.integers(0, 5)),
)


@given(st.lists(table_steps, max_size=120))
def test_the_table_agrees_with_a_dictionary(script) -> None:
    table: RequestTable[str] = RequestTable(entries_max=6)
    naive: dict[int, tuple[int, str]] = {}
    now = 0
    for n, (action, rid, number) in enumerate(script):
        if action == "wait":
            now += number
            late = {who for deadline, who in naive.values() if deadline <= now}
            naive = {rid: entry for rid, entry in naive.items() if entry[0] > now}
            assert set(table.expired(now)) == late
        elif action == "add":
            if len(naive) >= 6:
                with pytest.raises(TooManyRequests):
                    table.add(rid, "x", now + number)
            else:
                naive[rid] = (now + number, f"waiter {n}")
                table.add(rid, f"waiter {n}", now + number)
        else:
            expected = naive.pop(rid, (0, None))[1]
            assert table.take(rid) == expected
        assert len(table) == len(naive)
        expected_next = min((deadline for deadline, _ in naive.values()), default=None)
        assert table.next_deadline() == expected_next


def test_answered_requests_do_not_pile_up_until_their_deadlines() -> None:
    table: RequestTable[int] = RequestTable(entries_max=10)
    for n in range(10_000):
        table.add(n, n, 60.0)
        table.take(n)
    assert len(table._deadlines) < 100


def test_an_id_that_cannot_be_a_key_was_never_ours() -> None:
    table: RequestTable[int] = RequestTable(entries_max=1)
    assert table.take({"a": 1}) is None


def test_dead_addresses_are_tried_last_and_forgiven() -> None:
    addresses = [f"h:{n}" for n in range(1, 9)]
    destinations = Destinations(random.Random(1), cool_down_s=1)
    first = {destinations.order(addresses, 0)[0] for _ in range(200)}
    assert first == set(addresses), "every address has its turn"
    for address in addresses[:7]:
        destinations.failed(address, 0)
    assert destinations.order(addresses, 0.5)[0] == "h:8"
    assert sorted(destinations.order(addresses, 0.5)) == addresses
    destinations.succeeded("h:1")
    assert {one for _ in range(99) for one in destinations.order(addresses, 0.5)[:2]} == {
        "h:1",
        "h:8",
    }
    assert {destinations.order(addresses, 1)[0] for _ in range(200)} == set(addresses)


def test_suspects_are_bounded() -> None:
    destinations = Destinations(random.Random(1), suspects_max=3)
    for n in range(100):
        destinations.failed(f"h:{n}", 0)
    assert len(destinations._suspects) == 3


@given(st.lists(st.one_of(st.binary(max_size=30), st.none()), max_size=60))
def test_the_outbox_keeps_the_newest_in_order_within_its_limits(script) -> None:
    outbox = SubscriberQueue(frames_max=5, bytes_max=40)
    expected: list[bytes] = []
    sent = taken = 0
    for frame in script:
        if frame is None:
            assert outbox.take() == (expected.pop(0) if expected else None)
            continue
        sent += 1
        expected.append(frame)
        outbox.add(frame)
        while len(expected) > 5 or sum(map(len, expected)) > 40:
            expected.pop(0)
            taken += 1
        assert outbox.dropped == taken
        assert len(outbox) == len(expected)
    drained = []
    while (frame := outbox.take()) is not None:
        drained.append(frame)
    assert drained == expected


def test_pauses_before_reconnecting_grow_and_start_again() -> None:
    schedule = ReconnectSchedule(random.Random(1))
    pauses = [schedule.next_pause() for _ in range(12)]
    assert 0.125 <= pauses[0] <= 0.25
    assert all(7.5 <= pause <= 15 for pause in pauses[7:])
    schedule.connected()
    assert schedule.next_pause() <= 0.25
