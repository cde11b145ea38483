"""The rules at faults, by lines only: no socket, no sleep."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from grenache_py.trading import calls
from grenache_py.trading.core import Core
from grenache_py.trading.errors import (
    AnswerTimeout,
    InvalidRequest,
    NotAuthorised,
    NotConnected,
    OrderClosed,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
    UnknownMarket,
    UnknownOrder,
)
from tests.trading.script import AHEAD_MS, Script, report

PLACE = calls.place("btc/usd", "buy", "1", "100", client_order_id="a")
IOC = calls.place("BTC-USD", "buy", "1", "100", client_order_id="i", time_in_force="ioc")


def methods(requests: list[dict[str, Any]]) -> list[str]:
    return [request["method"] for request in requests]


def test_a_call_is_answered_with_a_typed_value() -> None:
    script = Script(account="maker").live()
    pending = script.ask(PLACE)
    (request,) = script.sent()
    assert request["params"] == {
        "market": "BTC-USD", "side": "buy", "quantity": "1", "price": "100", "account": "maker",
        "client_order_id": "a", "valid_until": int(110_000 + AHEAD_MS),
    }  # fmt: skip
    script.answer(request, report())
    order = pending.value()
    assert (order.price, order.status, order.average_price) == (Decimal(100), "new", None)
    assert script.core.deadline() is not None


def test_every_order_gets_a_name_of_its_own() -> None:
    script = Script().live()
    for _ in range(3):
        script.ask(calls.place("BTC-USD", "buy", 1, 100))
    names = [request["params"]["client_order_id"] for request in script.sent()]
    assert len(set(names)) == 3 and all(len(name) < 64 for name in names)


def test_after_a_cut_calls_are_sent_again_in_their_order_under_their_names() -> None:
    script = Script().live()
    pending = [
        script.ask(PLACE),
        script.ask(calls.cancel("other")),
        script.ask(calls.get_ticker("BTC-USD")),
        script.ask(IOC),
    ]
    first = script.sent()
    script.cut()
    again = script.greet()
    assert again == first, "the same ids, the same valid_until"
    script.answer(again[0], report())
    assert pending[0].value().client_order_id == "a"
    assert [each.done for each in pending] == [True, False, False, False]
    assert script.core.calls.sent_again == 4


def test_an_order_is_not_wanted_later_than_its_caller_waits() -> None:
    script = Script().live()
    script.ask(calls.place("BTC-USD", "buy", 1, 100, timeout_s=3))
    assert script.sent()[0]["params"]["valid_until"] == int(103_000 + AHEAD_MS)
    script.ask(IOC)
    assert script.sent()[0]["params"]["wait_ms"] == 1000


@pytest.mark.parametrize(
    "call", [IOC, calls.place("BTC-USD", "buy", 1, type="market", client_order_id="m")]
)
def test_a_daemon_that_knows_no_valid_until_gets_no_immediate_order_again(
    call: calls.MethodCall[Any],
) -> None:
    script = Script()
    script.features = []
    script.live()
    pending = script.ask(call)
    assert "valid_until" not in script.sent()[0]["params"]
    script.cut()
    with pytest.raises(OutcomeUnknown) as error:
        pending.value()
    assert error.value.client_order_id == call.client_order_id
    assert script.greet() == []


def test_a_replace_whose_answer_is_lost_is_unknown_and_not_sent_again() -> None:
    script = Script().live()
    pending = script.ask(calls.replace("a", price="101"))
    script.sent()
    script.cut()
    with pytest.raises(OutcomeUnknown, match=r"order\.replace of a may have happened") as error:
        pending.value()
    assert (error.value.method, error.value.client_order_id) == ("order.replace", "a")
    assert script.greet() == []


@pytest.mark.parametrize("placed_after", [False, True])
def test_cancel_all_is_sent_again_only_if_nothing_was_placed_after_it(placed_after: bool) -> None:
    script = Script().live()
    pending = script.ask(calls.cancel_all("BTC-USD"))
    if placed_after:
        script.ask(PLACE)
    script.sent()
    script.cut()
    again = script.greet()
    if placed_after:
        assert methods(again) == ["order.place"]
        with pytest.raises(OutcomeUnknown):
            pending.value()
    else:
        assert methods(again) == ["order.cancel_all"]
        script.answer(again[0], {"cancelled": 2})
        assert pending.value() == 2


def test_a_cancel_that_had_worked_before_the_cut_gives_the_report() -> None:
    script = Script().live()
    pending = script.ask(calls.cancel("a"))
    script.sent()
    script.cut()
    (again,) = script.greet()
    script.refuse(again, -32009, status="cancelled")
    (get,) = script.sent()
    assert (get["method"], get["params"]["client_order_id"]) == ("order.get", "a")
    script.answer(get, report(status="cancelled"))
    assert pending.value().status == "cancelled"
    closed = script.ask(calls.cancel("a"))
    script.refuse(script.sent()[0], -32009)
    with pytest.raises(OrderClosed):
        closed.value()


def test_what_did_not_happen_is_told_from_what_may_have() -> None:
    script = Script()
    script.core.start(script.now)
    unsent, question = script.ask(PLACE), script.ask(calls.get_ticker("BTC-USD"))
    script.cut()
    script.wait(111)
    for pending in (unsent, question):
        with pytest.raises(NotConnected):
            pending.value()
    assert script.greet() == [], "what did not happen does not happen later"
    sent, asked = script.ask(PLACE), script.ask(calls.get_ticker("BTC-USD"))
    script.wait(script.now + 9)
    assert not sent.done
    script.wait(script.now + 2)
    with pytest.raises(OutcomeUnknown):
        sent.value()
    with pytest.raises(AnswerTimeout):
        asked.value()
    late = Script().live()
    gone = late.ask(calls.place("BTC-USD", "buy", 1, 100, timeout_s=0.05))
    late.cut()
    late.wait(late.now + 1)
    with pytest.raises(OutcomeUnknown):
        gone.value()


def test_too_fast_and_not_now_wait_within_the_callers_time() -> None:
    script = Script().live()
    pending = script.ask(PLACE)
    script.refuse(script.sent()[0], -32005, retry_after_ms=750)
    other = script.ask(calls.get_ticker("BTC-USD"))
    script.wait(script.now + 0.5)
    assert script.sent() == []
    script.wait(script.now + 0.25)
    place, ticker = script.sent()
    assert (place["method"], ticker["method"]) == ("order.place", "ticker.get")
    script.refuse(place, -32010, outcome="none")
    script.wait(script.now + 0.25)
    (place,) = script.sent()
    script.answer(place, report())
    assert pending.value().status == "new" and not other.done
    script.refuse(ticker, -32005, retry_after_ms=60_000)
    with pytest.raises(RateLimited) as error:
        other.value()
    assert error.value.retry_after_s == 60


@pytest.mark.parametrize(("outcome", "kind"), [("none", Unavailable), ("unknown", OutcomeUnknown)])
def test_a_daemon_that_stays_unavailable(outcome: str, kind: type[Exception]) -> None:
    script = Script().live()
    pending = script.ask(PLACE)
    script.refuse(script.sent()[0], -32010, outcome=outcome)
    while not pending.done:
        script.wait(script.now + 0.25)
        for request in script.sent():
            script.refuse(request, -32010, outcome="none")
    with pytest.raises(kind):
        pending.value()
    assert script.now < 111


def test_a_replace_that_the_store_may_have_lost_is_unknown() -> None:
    script = Script().live()
    pending = script.ask(calls.replace("a", price=101))
    script.refuse(script.sent()[0], -32010, outcome="unknown")
    with pytest.raises(OutcomeUnknown):
        pending.value()


def test_pauses_double_and_are_forgotten_after_ten_steady_seconds() -> None:
    script = Script()
    script.core.start(script.now)
    pauses = []
    for _ in range(10):
        script.core.lost("refused", script.now)
        deadline = script.core.line.deadline()
        assert deadline is not None
        pauses.append(deadline - script.now)
        script.wait(deadline)
        assert script.core.state == "connecting"
    for number, pause in enumerate(pauses):
        most = min(0.1 * 2**number, 15)
        assert most / 2 <= pause <= most
    for steady_s, most in ((5, 15.0), (11, 0.1)):
        script.greet()
        for _ in range(steady_s):
            script.now += 1
            script.note("trades.update", {"market": "OTHER", "trades": []})
        script.cut()
        deadline = script.core.line.deadline()
        assert deadline is not None and most / 2 <= deadline - script.now <= most


def test_a_silent_daemon_is_asked_after_ten_seconds_and_dead_after_twenty() -> None:
    script = Script().live()
    script.wait(109)
    assert script.sent() == []
    script.wait(111)
    (ping,) = script.sent()
    script.wait(119)
    script.answer(ping, {"time": 1})
    script.wait(128)
    assert script.core.state == "live" and script.sent() == []
    script.wait(140)
    assert script.states[-2:] == ["waiting", "connecting"]
    assert script.core.line.reason == "test:1 is silent"


def test_a_program_that_slept_does_not_think_that_the_daemon_did() -> None:
    script = Script().live()
    script.now += 300
    script.core.tick(script.now)
    assert script.core.state == "live" and methods(script.sent()) == ["ping"]


def test_a_greeting_that_does_not_come_counts_as_lost() -> None:
    script = Script()
    script.core.start(script.now)
    script.core.connected(script.now)
    script.wait(106)
    assert script.states[:3] == ["connecting", "greeting", "waiting"]
    script.wait(200)
    assert script.core.state in {"connecting", "waiting"}


def test_a_wrong_token_ends_it_and_is_not_tried_again() -> None:
    script = Script(hello=calls.hello("", "wrong"))
    script.core.start(script.now)
    waiting = script.ask(PLACE)
    books = script.core.book("BTC-USD")
    script.core.connected(script.now)
    hello = script.sent()[0]
    assert hello["params"]["token"] == "wrong"
    script.refuse(hello, -32006)
    assert script.core.state == "closed" and script.core.deadline() is None
    for failing in (waiting.value, books.take, script.ask(PLACE).value):
        with pytest.raises(NotAuthorised):
            failing()


def test_a_client_that_does_not_connect_again_ends_with_its_line() -> None:
    script = Script(reconnect=False).live()
    question, sent = script.ask(calls.get_ticker("BTC-USD")), script.ask(PLACE)
    script.sent()
    script.cut()
    assert script.core.state == "closed"
    with pytest.raises(NotConnected):
        question.value()
    with pytest.raises(OutcomeUnknown):
        sent.value()


def test_a_client_that_does_not_connect_again_asks_nothing_twice() -> None:
    script = Script(reconnect=False).live()
    for code, kind in ((-32005, RateLimited), (-32010, Unavailable), (-32011, Unavailable)):
        pending = script.ask(calls.raw("order.place", {}))
        script.refuse(script.sent()[0], code)
        with pytest.raises(kind):
            pending.value()


@pytest.mark.parametrize(("reconnect", "state"), [(False, "live"), (True, "waiting")])
def test_a_daemon_that_opens_its_store_has_no_markets_yet(reconnect: bool, state: str) -> None:
    script = Script(reconnect=reconnect)
    script.core.start(script.now)
    script.core.connected(script.now)
    hello, ping, markets = script.sent()
    script.answer(hello, {"peer": "p"})
    script.answer(ping, {"time": 1})
    script.refuse(markets, -32010)
    assert (script.core.state, script.core.markets) == (state, {})


def test_a_rate_of_our_own_holds_calls_back() -> None:
    script = Script(rate_per_s=2).live()
    script.now += 2
    for _ in range(5):
        script.ask(calls.ping())
    assert len(script.sent()) == 2
    script.wait(script.now + 1)
    assert len(script.sent()) == 2
    script.wait(script.now + 0.5)
    assert len(script.sent()) == 1


def test_what_was_sent_before_a_cut_comes_before_what_was_held_back() -> None:
    script = Script(rate_per_s=1).live()
    script.now += 1
    first, second = script.ask(PLACE), script.ask(calls.cancel("other"))
    assert methods(script.sent()) == ["order.place"]
    script.cut()
    script.now += 1
    assert methods(script.greet()) == ["order.place"]
    script.wait(script.now + 1)
    assert methods(script.sent()) == ["order.cancel"]
    assert not first.done and not second.done


def test_the_account_of_a_bound_token_is_not_named() -> None:
    script = Script()
    script.account = "bob"
    script.live()
    script.ask(calls.cancel_all())
    script.ask(PLACE)
    cancel, place = script.sent()
    assert cancel["params"] == {} and "account" not in place["params"]
    free = Script().live()
    free.ask(calls.cancel_all())
    assert free.sent()[0]["params"] == {"account": ""}


def test_errors_of_the_daemon_have_their_types_and_nothing_else_comes() -> None:
    script = Script().live()
    for code, kind in ((-32000, UnknownMarket), (-32001, UnknownOrder), (-32602, InvalidRequest)):
        pending = script.ask(calls.get_order("a"))
        script.refuse(script.sent()[0], code, field="order_id")
        with pytest.raises(kind) as error:
            pending.value()
        assert (error.value.code, error.value.field) == (code, "order_id")


@pytest.mark.parametrize("line", [b"no json\n", b'{"id":1,"result"\n', b"\xff\xfe{}\n", b"[]\n"])
def test_a_line_that_is_no_answer_ends_the_connection(line: bytes) -> None:
    script = Script().live()
    script.core.received(line, script.now)
    assert script.core.state == "waiting"


def test_an_answer_that_comes_too_late_or_twice_changes_nothing() -> None:
    script = Script().live()
    pending = script.ask(PLACE)
    (request,) = script.sent()
    script.answer(request, report())
    script.answer(request, report(status="cancelled"))
    assert pending.value().status == "new"
    script.say({"id": 99, "result": {}}, {"id": "feed 7", "result": {}})
    assert script.core.state == "live"


def test_calls_that_wait_are_bounded() -> None:
    script = Script()
    script.core.start(script.now)
    pending = [script.ask(calls.ping()) for _ in range(10_001)]
    assert not pending[-2].done
    with pytest.raises(NotConnected, match="10000 calls wait"):
        pending[-1].value()


@pytest.mark.parametrize("wrong", [98.5, True, None, b"1"])
def test_a_float_is_no_money(wrong: Any) -> None:
    with pytest.raises(TypeError):
        calls.place("BTC-USD", "buy", wrong, "1")
    for text in ("NaN", "Infinity", "1,5", ""):
        with pytest.raises(ValueError, match="is no number"):
            calls.place("BTC-USD", "buy", text, "1")


def test_an_order_without_a_price_says_its_type() -> None:
    with pytest.raises(TypeError, match='type="market"'):
        calls.place("BTC-USD", "buy", 1, None)
    with pytest.raises(TypeError, match="no post_onyl"):
        calls.place("BTC-USD", "buy", 1, 1, post_onyl=True)  # type: ignore[call-arg]
    assert calls.place("BTC-USD", "buy", "1e-4", type="market").params["quantity"] == "0.0001"


def test_a_dead_mans_switch_is_renewed_at_a_third() -> None:
    script = Script().live()
    script.core.dead_man(9, script.now)
    (first,) = script.sent()
    assert (first["method"], first["params"]) == ("order.cancel_after", {"ms": 9000, "account": ""})
    script.answer(first, {})
    script.wait(104)
    (again,) = script.sent()
    script.answer(again, {})
    script.cut()
    assert methods(script.greet()) == [], "not due yet"
    script.wait(script.now + 3)
    assert methods(script.sent()) == ["order.cancel_after"]
    script.core.die()
    script.wait(script.now + 9)
    assert "order.cancel_after" not in methods(script.sent())


def test_closing_tells_all_who_wait() -> None:
    script = Script().live()
    core: Core = script.core
    sent, book = script.ask(PLACE), core.book("BTC-USD")
    core.close(script.now)
    with pytest.raises(OutcomeUnknown):
        sent.value()
    with pytest.raises(NotConnected):
        book.take()
    assert core.deadline() is None
