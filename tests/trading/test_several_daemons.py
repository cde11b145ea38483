"""A client that knows several daemons of a home finds the one that serves."""

from __future__ import annotations

import pytest

from grenache_py.trading import calls
from grenache_py.trading.address import DaemonAddress
from grenache_py.trading.call_queue import UNAVAILABLE_S
from grenache_py.trading.errors import NotConnected, OutcomeUnknown, Standby
from grenache_py.trading.line import PAUSE_S, PAUSE_S_MAX
from tests.trading.script import Script, report

A, B, C = "a:1", "b:1", "c:1"
STANDBY = -32016


def test_addresses_come_in_a_list_or_with_commas() -> None:
    for text in ("a:1, b:1,a:1", ["a:1", "b:1"]):
        assert [each.text for each in DaemonAddress.all_of(text)] == [A, B]
    assert [each.text for each in DaemonAddress.all_of(None)] == ["127.0.0.1:7070"]
    for wrong in ("a:1,", "a:1,b", []):
        with pytest.raises(ValueError):
            DaemonAddress.all_of(wrong)


def test_the_next_daemon_is_tried_at_once_and_a_pause_grows_when_all_were() -> None:
    script = Script(A, B)
    script.core.start(script.now)
    tried, pauses = [], []
    for _ in range(40):
        tried.append(script.core.address)
        script.core.lost("refused", script.now)
        began = script.now
        script.wait(script.core.line.deadline() or 0.0)
        pauses.append(script.now - began)
    assert tried == [A, B] * 20
    assert max(pauses[:2]) <= PAUSE_S
    assert PAUSE_S_MAX / 2 <= max(pauses) <= PAUSE_S_MAX


def test_a_daemon_that_stands_by_says_where_to_go() -> None:
    script = Script(A, B, C)
    script.core.start(script.now)
    script.role = {"role": "standby", "serving": C}
    with pytest.raises(AssertionError):
        script.greet()
    assert (script.core.state, script.core.address) == ("waiting", C)
    script.role = {}
    script.greet()
    assert script.core.calls.address == C


@pytest.mark.parametrize("serving", ["", "elsewhere:1"])
def test_it_is_not_followed_to_an_address_that_nobody_named(serving: str) -> None:
    """It might be a stranger's, who would be shown the token."""
    script = Script(A, B, C)
    script.core.start(script.now)
    script.role = {"role": "standby", "serving": serving}
    with pytest.raises(AssertionError):
        script.greet()
    assert script.core.address == B


def test_a_standby_that_is_the_only_address_may_be_read() -> None:
    script = Script(A)
    script.role = {"role": "standby", "serving": B}
    script.live()
    assert script.core.state == "live"


def test_an_order_that_a_standby_refuses_is_placed_once_at_the_one_that_serves() -> None:
    script = Script(A, B).live()
    pending = script.ask(calls.place("BTC-USD", "buy", 1, 100))
    [request] = script.sent()
    script.refuse(request, STANDBY, serving=B)
    assert script.core.address == B
    assert script.greet() == []
    script.wait(script.now + UNAVAILABLE_S)
    [again] = script.sent()
    assert again["params"]["client_order_id"] == request["params"]["client_order_id"]
    script.answer(again, report(again["params"]["client_order_id"]))
    assert pending.value().status == "new"


def test_what_was_in_flight_when_the_holder_went_is_asked_at_the_next_under_its_name() -> None:
    script = Script(A, B).live()
    order = script.ask(calls.place("BTC-USD", "buy", 1, 100))
    replace = script.ask(calls.replace("mine", price=99))
    [placing, _] = script.sent()
    script.cut()
    with pytest.raises(OutcomeUnknown):
        replace.value()
    [again] = script.greet()
    assert again["params"] == placing["params"]
    assert not order.done


def test_who_only_follows_goes_to_the_one_that_serves_when_a_daemon_gave_its_term_up() -> None:
    script = Script(A, B)
    fills = script.core.fills(None)
    script.core.start(script.now)
    for request in script.greet():
        script.answer(request, {"subscription": "executions:", "account": "", "seq": 3})
    script.note("gap", {"subscription": "executions:"})
    [request] = script.sent()
    script.refuse(request, STANDBY, serving=B)
    assert script.core.address == B
    [request] = script.greet()
    assert (request["method"], request["params"]["from_seq"]) == ("executions.subscribe", 3)
    assert fills.error is None


def test_a_subscription_at_the_only_daemon_that_is_known_says_where_the_one_is_that_serves() -> (
    None
):
    script = Script(A).live()
    trades = script.core.trades("BTC-USD")
    [request] = script.sent()
    script.refuse(request, STANDBY, serving=B)
    assert isinstance(trades.error, Standby) and trades.error.serving == B
    # Once it had begun, it waits until that daemon serves again.
    trades = script.core.trades("BTC-USD")
    request = script.sent()[-1]
    script.answer(request, {"subscription": "trades:BTC-USD", "market": "BTC-USD", "trades": []})
    script.note("gap", {"subscription": "trades:BTC-USD"})
    script.refuse(script.sent()[-1], STANDBY, serving=B)
    assert trades.error is None
    script.wait(script.now + UNAVAILABLE_S)
    assert [request["method"] for request in script.sent()] == ["trades.subscribe"]


def test_one_address_and_one_try_is_told_that_it_asked_a_standby() -> None:
    script = Script(A, reconnect=False).live()
    pending = script.ask(calls.place("BTC-USD", "buy", 1, 100))
    script.refuse(script.sent()[0], STANDBY, serving=B)
    with pytest.raises(Standby) as caught:
        pending.value()
    assert caught.value.serving == B


def test_without_reconnecting_each_daemon_is_tried_once() -> None:
    script = Script(A, B, reconnect=False)
    script.core.start(script.now)
    script.cut()
    assert script.core.state == "waiting"
    script.wait(script.core.line.deadline() or 0.0)
    script.cut()
    assert isinstance(script.core.closed_by, NotConnected)
    script = Script(A, B, reconnect=False)
    script.live()
    script.cut()
    assert script.core.closed_by, "and when it was live there is no second line"
