"""How the page looks at a glance, and what it says to those who do not see it."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.keys import Keys

from tests.exchange.page.conftest import Peer, Screen, eventually

pytestmark = pytest.mark.network

#: How many points of the candles have the colour of a side: all of them, and in the fullest row.
POINTS = """
const name = `--${arguments[0]}`, root = getComputedStyle(document.documentElement);
const wanted = root.getPropertyValue(name).match(/[0-9a-f]{2}/gi).map((each) => parseInt(each, 16));
let all = 0, widest = 0;
for (const canvas of document.querySelectorAll("#candles canvas")) {
  const { width, height } = canvas, copy = new OffscreenCanvas(width, height);
  const seen = copy.getContext("2d", { willReadFrequently: true });
  seen.drawImage(canvas, 0, 0);
  const { data } = seen.getImageData(0, 0, width, height);
  for (let row = 0; row < height; row++) {
    let found = 0;
    for (let at = 4 * width * row; at < 4 * width * (row + 1); at += 4) {
      const near = wanted.every((each, place) => Math.abs(data[at + place] - each) < 24);
      if (near && data[at + 3] > 200) found++;
    }
    all += found;
    widest = Math.max(widest, found);
  }
}
return [all, widest];
"""
#: The columns that the parts of the page stand in, from left to right.
COLUMNS = """
return [...document.querySelectorAll("main section")].map((each) => [
  each.dataset.part, Math.round(each.closest("main > *").getBoundingClientRect().left)]);
"""


def test_the_chart_has_own_orders_as_lines_and_own_fills_as_arrows(
    peer: Peer, screen: Screen
) -> None:
    peer.place("sell", "0.2", "100", account="other")
    peer.place("buy", "0.2", "100", account="third")
    screen.open(peer)
    eventually(lambda: screen.run(POINTS, "buy")[0] > 0, True)
    assert screen.run(POINTS, "sell") == [0, 0], "a candle that rises, and nothing of our own"
    peer.place("sell", "0.5", "100.03")
    eventually(lambda: screen.run(POINTS, "sell")[1] > 200, True)
    line, _ = screen.run(POINTS, "sell")
    peer.place("buy", "0.1", "100.03", account="third")
    eventually(lambda: screen.run(POINTS, "sell")[0] > line + 20, True)
    peer.cancel("100.03")
    eventually(lambda: screen.run(POINTS, "sell")[1] < 50, True)
    assert screen.run(POINTS, "sell")[0] > 20, "the arrow stays"


def test_another_interval_and_a_price_that_falls(peer: Peer, screen: Screen) -> None:
    peer.place("buy", "1", "100", account="other")
    peer.place("sell", "0.1", "100", account="third")
    screen.open(peer)
    screen.shows("last", "▲ 100.00")
    peer.place("buy", "1", "100.5", account="other")
    peer.place("sell", "1.1", "100", account="third")
    screen.shows("last", "▼ 100.00")
    assert screen.find("last").get_attribute("class") == "sell"
    screen.run("window.sent.length = 0")
    screen.click("#intervals [value='1h']")
    eventually(lambda: screen.run("return window.sent"), ["candles.list"])
    assert screen.find("#intervals [aria-pressed=true]").text == "1h"


def test_the_parts_stand_in_three_columns_then_two_then_one(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    for width, columns in (
        (1440, [["chart", "mine"], ["book"], ["order", "trades"]]),
        (900, [["chart", "mine"], ["book", "order", "trades"]]),
    ):
        screen.emulate(
            "setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        found: dict[int, list[str]] = {}
        for part, left in screen.run(COLUMNS):
            found.setdefault(left, []).append(part)
        assert [sorted(found[left]) for left in sorted(found)] == columns, width


def test_what_a_button_says_fits_one_line_of_it(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    screen.order("0.2058", "100.56")
    for type, words in (
        ("limit", "▲ Buy 0.2058 BTC @ 100.56"),
        ("market", "▲ Buy 0.2058 BTC at market"),
    ):
        screen.choose("type", type)
        screen.shows("buy", words)
        assert screen.find("buy").rect["height"] < 45, words
    screen.choose("type", "limit")
    assert screen.find("post-field").rect["height"] < 35


def test_a_price_of_one_market_is_none_of_another(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    screen.order("0.5", "100")
    screen.choose("market", "ETH-USD")
    screen.shows("buy", "▲ Buy … ETH @ …")
    values = [screen.find(name).get_property("value") for name in ("price", "quantity")]
    assert values == ["", ""]


def test_bars_are_as_long_as_their_sums_and_groups_are_of_ticks(peer: Peer, screen: Screen) -> None:
    for price, quantity in (("101", "1"), ("102", "3")):
        peer.place("sell", quantity, price, account="other")
    screen.open(peer)
    eventually(lambda: [row[3] for row in screen.rows("asks")], ["4.0000", "1.0000"])
    bars = [
        each.value_of_css_property("background-size").split()[0]
        for each in screen.driver.find_elements("css selector", "#asks td:last-child")
    ]
    assert bars == ["100%", "25%"]
    groups = screen.driver.find_elements("css selector", "#group option")
    assert [each.text for each in groups] == ["0.01", "0.10", "1.00", "10.00"]


def test_nothing_is_sent_or_cancelled_while_the_line_is_lost(peer: Peer, screen: Screen) -> None:
    peer.place("buy", "1", "98")
    screen.open(peer)
    screen.shows("show-open", "Open (1)")
    screen.order("0.1", "50")
    peer.freeze()
    screen.later(10)
    screen.shows("badge-word", "▲ Stale")
    screen.run("window.sent.length = 0")
    for name in ("buy", "sell", "cancel-all", "#mine-rows button"):
        eventually(lambda name=name: screen.find(name).get_attribute("aria-disabled"), "true")  # type: ignore[misc]
        screen.click(name)
    screen.act.send_keys("x").perform()
    assert not screen.find("question").is_displayed()
    assert screen.run("return window.sent") == []
    dim = screen.find("#bids td").value_of_css_property("color")
    assert dim == screen.find("body > footer").value_of_css_property("color"), "grey, as all else"
    peer.thaw()
    screen.shows("badge-word", "◐ Alone")
    screen.click("#mine-rows button")
    eventually(lambda: peer.orders("open"), [])


def test_who_does_not_see_the_page_is_told(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    roles = {"badge": "status", "answer": "status", "mine-answer": "status", "bar": "alert"}
    for name, role in roles.items():
        inside = "return document.getElementById(arguments[0]).closest('[role]').role"
        assert screen.run(inside, name) == role, name
    assert screen.find("fill-told").get_attribute("aria-live") == "polite"
    assert (
        screen.run("return document.querySelector('#book').closest('[aria-live], [role]')") is None
    )
    assert [each.text for each in screen.driver.find_elements("css selector", "h1")] != []
    screen.act.send_keys(Keys.TAB).perform()
    assert screen.run("return document.activeElement.textContent") == "Skip to the order form"
    screen.act.send_keys(Keys.ENTER).perform()
    assert screen.run("return document.activeElement.id") == "order"


def test_the_footer_says_what_this_is_not_and_whose_the_charts_are(
    peer: Peer, screen: Screen
) -> None:
    screen.open(peer)
    words = screen.find("body > footer").text
    assert "No custody, no settlement: a trade here is a signed promise between two peers." in words
    assert "TradingView Lightweight Charts™, © TradingView, Inc." in words
    assert screen.find("body > footer a").get_attribute("href") == "https://www.tradingview.com/"
    green = screen.run("return getComputedStyle(buy).backgroundColor")
    screen.run("document.getElementById('blue').click()")
    assert screen.run("return getComputedStyle(buy).backgroundColor") != green
