"""Log entries as text: what is written is read back alike, and nothing else is believed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.errors import OrderError
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.order import LiveOrder, Order, Trade
from grenache_py.exchange.signed_log.entries import (
    TRADES_PER_ENTRY_MAX,
    Entry,
    check_order_id,
    order_body,
    order_from_body,
    order_id,
    state_body,
    trade_body,
    trade_from_body,
)

MARKET = Market.parse("BTC-USD:tick=0.01,lot=0.0001")
HOME, OTHER = "a" * 64, "b" * 64
STAMP = (1_790_000_000_000, 3)
ORDER = Order(
    "c" * 32, HOME, "BTC-USD", "buy", "stop_limit", "gtd", 1_025, 990, 15_000, True, 1_800, *STAMP
)  # fmt: skip
TRADE = Trade(
    "d" * 32, "BTC-USD", 1_025, 15_000, "sell", "e" * 32, "f" * 32, HOME, OTHER, 1_790
)  # fmt: skip


def an_entry(**other: Any) -> dict[str, Any]:
    """A complete entry as JSON values."""
    body = order_body(ORDER, MARKET)
    live = LiveOrder.of(ORDER, "")
    live.version, live.open, live.reserved, live.filled = 4, 3, 2, 1
    beat = {"lease_ms": 20_000, "live": 1, "fingerprint": "0" * 64}
    entry: dict[str, Any] = {
        "home": HOME,
        "epoch": 1,
        "seq": 1,
        "prev": "0" * 64,
        "time": list(STAMP),
        "order": msgspec.to_builtins(body),
        "trades": [msgspec.to_builtins(trade_body(TRADE, MARKET))],
        "states": [msgspec.to_builtins(state_body(live, MARKET))],
        "beat": beat,
    }
    return {**entry, **other}


def decoded(entry: dict[str, Any]) -> Entry:
    return Entry.decode(msgspec.json.encode(entry).decode())


def changed(member: str, value: object) -> dict[str, Any]:
    """The entry with one member, named as ``trades.0.price``, replaced."""
    entry = an_entry()
    *path, last = member.split(".")
    place: Any = entry
    for step in path:
        place = place[int(step) if isinstance(place, list) else step]
    place[int(last) if isinstance(place, list) else last] = value
    return entry


def test_what_is_written_is_read_back_alike() -> None:
    entry = decoded(an_entry())
    assert Entry.decode(entry.encode()) == entry
    assert entry.order is not None
    assert order_from_body(entry.order, HOME, MARKET) == ORDER
    assert trade_from_body(entry.trades[0], MARKET) == TRADE
    state = entry.states[0]
    assert (state.order_id, state.version) == (ORDER.order_id, 4)
    assert (state.open, state.reserved, state.filled) == ("0.0003", "0.0002", "0.0001")


def test_a_plain_order_has_neither_price_nor_stop_nor_expiry() -> None:
    plain = Order(
        "c" * 32, HOME, "BTC-USD", "sell", "market", "ioc", None, None, 7, False, None, *STAMP
    )  # fmt: skip
    body = order_body(plain, MARKET)
    assert (body.price, body.stop, body.expires) == (None, None, None)
    assert order_from_body(body, HOME, MARKET) == plain


@pytest.mark.parametrize(
    ("member", "value", "word"),
    [
        ("home", "A" * 64, "hexadecimal"),
        ("prev", "g" * 64, "hexadecimal"),
        ("order.id", "C" * 32, "hexadecimal"),
        ("trades.0.id", "x" * 32, "hexadecimal"),
        ("trades.0.maker", "x" * 32, "hexadecimal"),
        ("trades.0.taker", "x" * 32, "hexadecimal"),
        ("trades.0.maker_home", "x" * 64, "hexadecimal"),
        ("trades.0.taker_home", "x" * 64, "hexadecimal"),
        ("states.0.0", "x" * 32, "hexadecimal"),
        ("beat.fingerprint", "x" * 64, "hexadecimal"),
        ("order.quantity", "1e3", "decimal"),
        ("order.price", "-1", "decimal"),
        ("order.stop", "01", "decimal"),
        ("trades.0.price", "1.", "decimal"),
        ("trades.0.quantity", ".5", "decimal"),
        ("states.0.2", "1 1", "decimal"),
        ("states.0.3", "0x1", "decimal"),
        ("states.0.4", "+1", "decimal"),
    ],
)
def test_every_text_is_what_it_must_be(member: str, value: str, word: str) -> None:
    with pytest.raises(RemoteProtocolError, match=word):
        decoded(changed(member, value))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("home", "a" * 63),
        ("epoch", 0),
        ("epoch", 2**53 + 1),
        ("seq", 0),
        ("seq", 2**53 + 1),
        ("time", [-1, 0]),
        ("time", [0, 2**53 + 1]),
        ("order.id", "c" * 31),
        ("order.market", ""),
        ("order.market", "M" * 33),
        ("order.quantity", ""),
        ("order.side", "both"),
        ("states.0.1", -1),
        ("beat.lease_ms", -1),
        ("more", 1),
    ],
)
def test_every_member_has_its_range(member: str, value: object) -> None:
    with pytest.raises(RemoteProtocolError, match="bad log entry"):
        decoded(changed(member, value))


def test_an_entry_has_a_limit_of_trades_and_of_states() -> None:
    trade, state = an_entry()["trades"][0], an_entry()["states"][0]
    entry = decoded(an_entry(trades=[trade] * TRADES_PER_ENTRY_MAX, states=[state] * 64))
    assert (len(entry.trades), len(entry.states)) == (TRADES_PER_ENTRY_MAX, 64)
    for more in (
        {"trades": [trade] * (TRADES_PER_ENTRY_MAX + 1)},
        {"states": [state] * 65},
    ):
        with pytest.raises(RemoteProtocolError):
            decoded(an_entry(**more))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"\\ud800"', '{"home":"\ud800"}'])
def test_what_is_no_entry_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError, match="bad log entry"):
        Entry.decode(text)


def test_an_order_id_is_the_hash_of_every_field() -> None:
    """Otherwise a home could publish two orders under one id."""
    fields: dict[str, Any] = {
        "home": HOME, "market": "BTC-USD", "side": "buy", "type": "limit", "quantity": "1",
        "time": STAMP, "price": "2", "stop": None, "time_in_force": "gtc", "post_only": False,
        "expires": None,
    }  # fmt: skip
    first = order_id(**fields)
    assert len(first) == 32
    others = {
        "home": OTHER, "market": "ETH-USD", "side": "sell", "type": "stop_limit", "quantity": "2",
        "time": (STAMP[0], 4), "price": "1", "stop": "2", "time_in_force": "ioc", "post_only": True,
        "expires": 5,
    }  # fmt: skip
    ids = {order_id(**{**fields, name: value}) for name, value in others.items()}
    assert len(ids | {first}) == len(fields) + 1


def test_an_id_that_is_not_the_hash_of_its_order_is_refused() -> None:
    body = order_body(ORDER, MARKET)
    right = order_id(
        HOME, body.market, body.side, body.type, body.quantity, body.time, body.price, body.stop,
        body.time_in_force, body.post_only, body.expires,
    )  # fmt: skip
    check_order_id(msgspec.structs.replace(body, id=right), HOME)
    with pytest.raises(RemoteProtocolError, match=body.id):
        check_order_id(body, HOME)
    with pytest.raises(RemoteProtocolError, match=right):
        check_order_id(msgspec.structs.replace(body, id=right), OTHER)


def test_an_order_tells_the_tick_and_lot_of_its_home() -> None:
    body = order_body(ORDER, Market.parse("BTC-USD:tick=0.010,lot=0.00010"))
    assert (body.tick, body.lot) == ("0.01", "0.0001")
    assert not body.differs(MARKET)
    assert order_from_body(body, HOME, MARKET) == ORDER
    for other in ("BTC-USD:tick=0.005,lot=0.0001", "BTC-USD:tick=0.01,lot=0.0005"):
        assert body.differs(Market.parse(other))
        with pytest.raises(OrderError, match=r"its tick is 0\.01 and its lot 0\.0001"):
            order_from_body(body, HOME, Market.parse(other))
    with pytest.raises(RemoteProtocolError, match="not a decimal number"):
        spelled = msgspec.structs.replace(body, tick="0.010")
        decoded(an_entry(order=msgspec.to_builtins(spelled)))


def test_an_order_of_version_0_1_0_tells_no_tick_and_is_read() -> None:
    """Stores and logs hold such orders; their ids are those of today."""
    body = order_body(ORDER, MARKET)
    old = msgspec.structs.replace(body, tick=None, lot=None)
    entry = an_entry(order=msgspec.to_builtins(old))
    assert "tick" not in msgspec.json.encode(old).decode()
    assert decoded(entry).order == old
    assert order_from_body(old, HOME, MARKET) == ORDER


def test_amounts_that_this_market_cannot_express_are_refused() -> None:
    body = order_body(ORDER, MARKET)
    for wrong in ({"price": "1.005"}, {"stop": "1.005"}, {"quantity": "0.00001"}):
        with pytest.raises(OrderError):
            order_from_body(msgspec.structs.replace(body, **wrong), HOME, MARKET)
    trade = trade_body(TRADE, MARKET)
    for wrong in ({"price": "1.005"}, {"quantity": "0.00001"}):
        with pytest.raises(OrderError):
            trade_from_body(msgspec.structs.replace(trade, **wrong), MARKET)
