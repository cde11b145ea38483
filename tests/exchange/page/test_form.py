"""What a person does at the order form, and what of it is an order."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.keys import Keys

from tests.exchange.page.conftest import Peer, Screen, eventually

pytestmark = pytest.mark.network


def asks(peer: Peer) -> None:
    """Somebody else's book: 0.1 at 100.50, 0.2 at 101, and a bid of 1 at 99."""
    peer.place("sell", "0.1", "100.5", account="other")
    peer.place("sell", "0.2", "101", account="other")
    peer.place("buy", "1", "99", account="other")


def own(peer: Peer) -> list[dict]:
    return [order for order in peer.orders() if order["account"] == ""]


def test_enter_in_a_field_sends_nothing(peer: Peer, screen: Screen) -> None:
    asks(peer)
    screen.open(peer)
    screen.order("0.1", "100.5")
    for name in ("price", "quantity"):
        screen.find(name).send_keys(Keys.ENTER)
    screen.type("price", Keys.BACKSPACE * 9 + Keys.ENTER)
    screen.find("buy").send_keys(Keys.TAB)
    assert own(peer) == []
    assert screen.text("answer") == ""
    screen.type("price", "100.5")
    screen.find("buy").send_keys(Keys.ENTER)  # at the button it does what the button says
    eventually(lambda: len(own(peer)), 1)


def test_the_buttons_say_what_they_would_do(peer: Peer, screen: Screen) -> None:
    asks(peer)
    screen.open(peer)
    screen.order("0.25", "100.5")
    screen.shows("buy", "▲ Buy 0.25 BTC @ 100.5")
    screen.shows("buy-note", "0.1000 at once, at 100.50; 0.1500 rests.")
    screen.shows("sell", "▼ Sell 0.25 BTC @ 100.5")
    screen.shows("sell-note", "0.2500 rests.")
    screen.type("price", "101")
    screen.shows("buy-note", "0.2500 at once, 100.80 on average.")
    screen.choose("force", "fok")
    screen.type("quantity", "0.4")
    screen.shows("buy-note", "Would be refused: only 0.3000 is there.")
    screen.choose("force", "ioc")
    screen.shows("buy-note", "0.3000 at once, 100.83 on average; 0.1000 is cancelled.")
    screen.choose("force", "gtc")
    screen.click("post")
    screen.shows("buy-note", "Would be refused: a part trades at once.")
    screen.click("post")
    screen.choose("type", "market")
    screen.shows(
        "buy-note",
        "0.3000 at once, 100.83 on average, 101.00 at worst; 0.1000 is cancelled;"
        " no further than 105.52.",
    )
    screen.choose("type", "stop")
    screen.type("stop", "102")
    screen.shows("buy-note", "Waits for a trade at 102 or above, then buys at market.")
    screen.shows("sell-note", "Waits for a trade at 102 or below, then sells at market.")
    peer.place("sell", "0.2", "100.5", account="other")
    screen.choose("type", "limit")
    screen.type("price", "100.5")
    screen.shows("buy-note", "0.3000 at once, at 100.50; 0.1000 rests.")


def test_a_double_click_is_one_order(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    screen.order("0.1", "99")
    screen.act.double_click(screen.find("buy")).perform()
    screen.says("answer", "Stands: ▲ Buy 0.1 BTC @ 99")
    screen.shows("show-open", "Open (1)")


def test_a_key_that_is_held_down_is_one_order(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    screen.order("0.1", "99")
    screen.run("document.getElementById('buy').focus()")
    enter = {"type": "keyDown", "key": "Enter", "code": "Enter", "text": "\r"}
    for repeat in range(5):
        screen.driver.execute_cdp_cmd(
            "Input.dispatchKeyEvent",
            {**enter, "windowsVirtualKeyCode": 13, "autoRepeat": bool(repeat)},
        )
        screen.says("answer", "Stands: ▲ Buy 0.1 BTC @ 99")
    assert len(own(peer)) == 1


def test_two_clicks_while_the_answer_is_awaited_are_one_order(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    screen.order("0.1", "99")
    screen.run("for (let at = 0; at < 3; at++) document.getElementById('buy').click()")
    screen.says("answer", "Stands: ▲ Buy 0.1 BTC @ 99")
    assert len(own(peer)) == 1


def test_a_market_order_asks_first(peer: Peer, screen: Screen) -> None:
    asks(peer)
    screen.open(peer)
    screen.choose("type", "market")
    screen.type("quantity", "0.2")
    screen.act.double_click(screen.find("buy")).perform()
    screen.shows(
        "question-text",
        "▲ Buy 0.2 BTC at market: 0.2000 at once, 100.75 on average, 101.00 at worst;"
        " no further than 105.52.",
    )
    screen.act.send_keys(Keys.ESCAPE).perform()
    eventually(lambda: screen.run("return document.getElementById('question').open"), False)
    assert own(peer) == []
    screen.click("buy")
    screen.click("question-yes")
    screen.shows("answer", "Filled: ▲ Buy 0.2 BTC at market; all filled at 100.75 on average.")
    assert [order["filled"] for order in own(peer)] == ["0.2"]


def test_what_does_not_fit_tick_and_lot_is_not_sent(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    screen.order("0.1", "98.005")
    screen.shows("price-fault", "98.005 is not a multiple of 0.01; the nearest is 98.00 or 98.01")
    screen.click("buy")
    assert screen.run("return document.activeElement.id") == "price"
    screen.type("price", "98,5")
    screen.shows("price-fault", "98,5 is no number; write it like 12.5")
    screen.type("price", "98.5")
    screen.type("quantity", "0.00005")
    screen.shows("quantity-fault", "0.00005 is not a multiple of 0.0001; the nearest is 0.0001")
    screen.type("quantity", " ")
    screen.click("sell")
    screen.shows("quantity-fault", "quantity is missing")
    peer.place("buy", "1", "90", account="other")
    eventually(lambda: screen.rows("bids")[0][:1], ["90.00"])
    assert screen.text("quantity-fault") == "quantity is missing", "drawn anew, it is still there"
    assert own(peer) == [] and screen.text("answer") == ""


def test_what_the_peer_refuses_is_said(peer: Peer, screen: Screen) -> None:
    asks(peer)
    screen.open(peer)
    screen.order("1", "100.5")
    screen.choose("force", "fok")
    screen.click("buy")
    screen.says("answer", "It did not happen: ▲ Buy 1 BTC @ 100.5. ")
    screen.choose("force", "gtc")
    screen.click("buy")
    screen.says("answer", "Partly filled: ▲ Buy 1 BTC @ 100.5; 0.1 filled at 100.5.")


def test_a_click_in_the_book_fills_the_form(peer: Peer, screen: Screen) -> None:
    asks(peer)
    screen.open(peer)
    screen.click("#bids td")
    assert screen.find("price").get_property("value") == "99.00"
    screen.click("#asks tr:first-child td:nth-child(2)")
    values = [screen.find(name).get_property("value") for name in ("price", "quantity")]
    assert values == ["101.00", "0.3000"]
    screen.shows("buy-note", "0.3000 at once, 100.83 on average.")


def test_every_kind_of_order_can_be_placed(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    screen.order("0.1", "99")
    screen.click("post")
    screen.click("buy")
    screen.says("answer", "Stands")
    screen.click("post")
    screen.choose("force", "gtd")
    screen.click("buy")
    screen.shows("until-fault", "a time that is still to come is missing")
    screen.choose("until", "2099-01-01T00:00")
    screen.click("buy")
    eventually(lambda: len(own(peer)), 2)
    screen.choose("type", "stop_limit")
    screen.type("stop", "105")
    screen.type("price", "106")
    screen.choose("force", "gtc")
    screen.click("buy")
    eventually(lambda: len(own(peer)), 3)
    screen.choose("type", "stop")
    screen.type("stop", "95")
    screen.click("sell")
    eventually(lambda: len(own(peer)), 4)
    kinds = [
        (order["side"], order["type"], order["time_in_force"], order.get("stop_price"))
        for order in own(peer)
    ]
    assert kinds == [
        ("sell", "stop", "gtc", "95"), ("buy", "stop_limit", "gtc", "105"),
        ("buy", "limit", "gtd", None), ("buy", "limit", "gtc", None),
    ]  # fmt: skip
    eventually(lambda: screen.text("show-open"), "Open (4)")


def test_keys(peer: Peer, screen: Screen) -> None:
    asks(peer)
    screen.open(peer)

    def press(*keys: str) -> None:
        screen.act.send_keys(*keys).perform()

    def focus() -> str:
        return str(screen.run("return document.activeElement.id"))

    press("p", "100", Keys.ARROW_UP)
    assert (focus(), screen.find("price").get_property("value")) == ("price", "100.01")
    screen.act.key_down(Keys.SHIFT).send_keys(Keys.ARROW_DOWN).key_up(Keys.SHIFT).perform()
    assert screen.find("price").get_property("value") == "99.91"
    press("q", Keys.ARROW_UP, Keys.ARROW_UP)
    assert screen.find("quantity").get_property("value") == "0.0002"
    press("b")
    assert focus() == "buy"
    press("s", Keys.ENTER)
    screen.says("answer", "Stands: ▼ Sell 0.0002 BTC @ 99.91")
    press("x")
    screen.shows("question-text", f"Cancel all open orders in {peer.market} (1)?")
    press(Keys.TAB, Keys.ENTER)
    screen.shows("mine-answer", "Cancelled: 1.")
    assert len(peer.orders("open")) == 3, "those of other accounts stand"
    press(Keys.ESCAPE)
    assert screen.find("price").get_property("value") == ""
    press("?")
    assert screen.find("help").get_property("open")
    screen.click("no-keys")
    press(Keys.ESCAPE)
    screen.run("document.activeElement.blur()")
    press("p")
    assert focus() != "price", "they can be turned off"
