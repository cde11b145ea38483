"""A client that asks again, because an answer was lost, changes nothing by it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from grenache_py.exchange.storage import snapshot
from tests.support.peer import Connection, Peer


@pytest.mark.parametrize("restarts", [False, True])
def test_a_replace_sent_again_after_a_partial_fill_leaves_as_much_as_the_first(
    restarts: bool,
) -> None:
    peer = Peer()
    client = peer.connect()
    client.place("sell", "10", "100", client_order_id="a")
    client.place("buy", "4", "100")
    again = {"client_order_id": "a", "quantity": "10", "price": "101"}
    first = client.call("order.replace", **again)
    assert (first["remaining"], first["quantity"], first["quantity_before"]) == ("6", "6", "4")
    for _ in range(3):
        if restarts:
            peer.restart()
            client = peer.connect()
        same = client.call("order.replace", **again)
        assert (same["order_id"], same["remaining"]) == (first["order_id"], "6")
    # Likewise once more of it has traded, and for more than one replace.
    client.place("buy", "1", "101")
    assert client.call("order.replace", **again)["remaining"] == "5"
    more = client.call("order.replace", client_order_id="a", quantity="20")
    assert (more["remaining"], more["quantity_before"]) == ("15", "5")
    assert client.call("order.replace", client_order_id="a", quantity="20") == more
    # The order's own id names that order alone.
    other = client.call("order.replace", order_id=more["order_id"], quantity="14")
    assert (other["remaining"], other["quantity"]) == ("14", "14")
    # What is traded of all of them cannot be taken back.
    assert client.call("order.replace", client_order_id="a", quantity="5")["code"] == -32602


def test_a_replace_that_names_the_replaced_order_is_refused_when_sent_again() -> None:
    client = Peer().connect()
    sold = client.place("sell", "10", "100")
    client.place("buy", "4", "100")
    again = {"order_id": sold["order_id"], "quantity": "12"}
    assert client.call("order.replace", **again)["remaining"] == "8"
    assert client.call("order.replace", **again)["code"] == -32009
    assert [o["remaining"] for o in client.call("order.list")["orders"]] == ["8"]


IDS = st.sampled_from("abc")
LOTS = st.integers(1, 12)
PRICES = st.integers(98, 102)
SIDES = st.sampled_from(["buy", "sell"])
COMMANDS = st.one_of(
    st.tuples(st.just("place"), IDS, SIDES, LOTS, PRICES),
    st.tuples(st.just("replace"), IDS, st.none() | LOTS, st.none() | PRICES),
    st.tuples(st.just("cancel"), IDS),
    st.tuples(st.just("hit"), SIDES, LOTS, PRICES),
)


def say(client: Connection, number: int, command: tuple[Any, ...]) -> Any:
    """Carry out one command; ``number`` is the same whenever it is said again."""
    name, *more = command
    if name == "hit":
        side, lots, price = more
        return client.place(
            side,
            str(lots),
            str(price),
            time_in_force="ioc",
            client_order_id=f"hit{number}",
        )
    if name == "place":
        own, side, lots, price = more
        return client.place(side, str(lots), str(price), client_order_id=own)
    if name == "cancel":
        return client.call("order.cancel", client_order_id=more[0])
    own, lots, price = more
    wanted = {"quantity": None if lots is None else str(lots), "price": price and str(price)}
    return client.call("order.replace", client_order_id=own, **wanted)


def stands(client: Connection) -> list[tuple[Any, ...]]:
    orders = client.call("order.list", status="all", limit=1000)["orders"]
    return [
        (o["client_order_id"], o["side"], o["price"], o["remaining"], o["filled"]) for o in orders
    ]


@settings(max_examples=120, deadline=None)
@given(st.lists(COMMANDS, max_size=10))
@example(
    [
        ("place", "a", "sell", 10, 100),
        ("hit", "buy", 4, 100),
        ("replace", "a", 10, 101),
        ("hit", "buy", 2, 101),
    ]
)
def test_every_request_with_a_client_order_id_may_be_sent_again(
    commands: list[tuple[Any, ...]],
) -> None:
    """At once, and the newest for each order also after whatever traded since."""
    once, again = Peer().connect(), Peer().connect()
    newest: dict[str, tuple[int, tuple[Any, ...]]] = {}
    for number, command in enumerate(commands):
        once.peer.clock.advance(0.001)
        again.peer.clock.advance(0.001)
        first = say(once, number, command)
        for _ in range(2):
            repeated = say(again, number, command)
            assert (
                "code" in first
                or "code" in repeated
                or (repeated["client_order_id"] == first["client_order_id"])
            )
        if command[0] != "hit" and "code" not in first:
            newest[command[1]] = (number, command)
        for earlier in newest.values():
            say(again, *earlier)
        assert stands(once) == stands(again)


def forget_closed_orders(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> Connection:
    """Start again with none of the closed orders in memory; they are in the store."""
    monkeypatch.setattr(snapshot, "CLOSED_ORDERS_MAX", 0)
    peer.restart()
    return peer.connect()


def test_an_order_closed_long_ago_is_found_by_the_clients_own_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer = Peer()
    client = peer.connect()
    client.place("sell", "1", "100", client_order_id="mine")
    filled = client.place("buy", "1", "100", client_order_id="taken")
    client = forget_closed_orders(peer, monkeypatch)
    assert client.call("order.get", client_order_id="taken") == filled
    for change in ("order.cancel", "order.replace"):
        more = {"quantity": "2"} if change == "order.replace" else {}
        error = client.call(change, client_order_id="taken", **more)
        assert (error["code"], error["data"]["status"]) == (-32009, "filled")
        assert error["data"]["order_id"] == filled["order_id"]
    assert client.call("order.get", client_order_id="never")["code"] == -32001
    assert client.call("order.get", client_order_id="taken", account="bob")["code"] == -32001
