"""What the page shows of a market, deep and fast ones too."""

from __future__ import annotations

import socket
import time

import pytest

from grenache_py.wire.jsonrpc import request_line
from tests.exchange.page.conftest import DEADLINE_S, Peer, Screen, eventually

pytestmark = pytest.mark.network

#: Orders that are asked for before the first answer is read.
AT_ONCE = 200
#: Of a book, at 200 a second.
UPDATES = 600
#: Updates a second, below which the machine is too busy to tell.
BUSY = 150


def test_the_book_the_trades_and_own_orders(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    assert screen.rows("asks") == [["Nobody sells here."]]
    assert screen.text("depth-far") == "No orders stand in this market."
    peer.place("sell", "2", "101")
    peer.place("sell", "0.25", "100.5", account="other")
    peer.place("buy", "1.5", "99.95")
    peer.place("buy", "0.05", "100.5")
    eventually(
        lambda: [screen.rows("asks"), screen.rows("bids")],
        [
            [["101.00", "◂ 2.0000", "2.0000", "2.2000"], ["100.50", "", "0.2000", "0.2000"]],
            [["99.95", "◂ 1.5000", "1.5000", "1.5000"]],
        ],
    )
    screen.shows("spread-row", "spread 0.55")
    eventually(
        lambda: [screen.text(name) for name in ("last", "bid", "ask", "spread", "volume")],
        ["▲ 100.50", "99.95", "100.50", "0.55", "0.0500"],
    )
    eventually(lambda: [row[1:] for row in screen.rows("trades-rows")], [["▲ 100.50", "0.0500"]])
    eventually(
        lambda: [row[1:5] for row in screen.rows("mine-rows")],
        [
            ["▲ buy", "limit gtc", "1.5000", "99.95"],
            ["▼ sell", "limit gtc", "2.0000", "101.00"],
        ],
    )
    eventually(lambda: screen.driver.title, f"100.50 {peer.market} · Exchange")
    screen.choose("group", "100")
    eventually(lambda: [row[:2] for row in screen.rows("asks")], [["101.00", "◂ 2.0000"]])
    eventually(lambda: [row[:2] for row in screen.rows("bids")], [["99.00", "◂ 1.5000"]])


def test_orders_are_cancelled_one_by_one_and_all_at_once(peer: Peer, screen: Screen) -> None:
    for price in ("98", "99"):
        peer.place("buy", "1", price)
    peer.place("buy", "1", "97", account="other")
    screen.open(peer)
    screen.shows("show-open", "Open (2)")
    first = "#mine-rows tr button"
    assert screen.find(first).get_attribute("aria-label") == "Cancel buy 1 at 99"
    screen.click(first)
    screen.shows("show-open", "Open (1)")
    screen.click("cancel-all")
    screen.click("#question [value=no]")
    assert len(peer.orders("open")) == 2
    screen.click("cancel-all")
    screen.click("question-yes")
    screen.shows("mine-answer", "Cancelled: 1.")
    assert [order["account"] for order in peer.orders("open")] == ["other"]


def test_rows_do_not_move_under_the_pointer(peer: Peer, screen: Screen) -> None:
    peer.place("buy", "1", "98")
    screen.open(peer)
    screen.shows("show-open", "Open (1)")
    screen.act.move_to_element(screen.find("#mine-rows tr")).perform()
    peer.place("buy", "1", "99")
    screen.shows("show-open", "Open (2)")
    assert [row[4] for row in screen.rows("mine-rows")] == ["98.00"]
    peer.cancel("98")
    eventually(lambda: [row[7] for row in screen.rows("mine-rows")], ["cancelled"])
    screen.act.move_to_element(screen.find("last")).perform()
    eventually(lambda: [row[4] for row in screen.rows("mine-rows")], ["99.00"])


def test_one_far_ask_does_not_flatten_the_depth(peer: Peer, screen: Screen) -> None:
    for cents in range(1, 51):
        peer.place("buy", "1", f"{100 - cents / 100:.2f}")
        peer.place("sell", "1", f"{100 + cents / 100:.2f}")
    peer.place("sell", "1", "9999")
    screen.open(peer)
    screen.shows("depth-far", "1 level is further away")
    assert (screen.text("depth-low"), screen.text("depth-high")) == ("98.00", "102.00")

    def width(name: str) -> float:
        box = screen.run("return document.getElementById(arguments[0]).getBBox().width", name)
        return float(box)

    assert 150 < width("depth-buy") <= 200 and 150 < width("depth-sell") <= 200, "of 400 cents"
    screen.choose("within", "1")
    screen.shows("depth-low", "99.00")
    screen.choose("within", "all")
    screen.shows("depth-high", "9999.00")
    screen.shows("depth-far", "")


def fill(peer: Peer, levels: int, middle: float, account: str = "x") -> None:
    """Have an order of 1 on so many levels a side, a cent apart; asked for all at once."""
    order = {"market": peer.market, "account": account, "quantity": "1"}
    lines = [
        request_line("order.place", {**order, "side": side, "price": f"{middle + away:.2f}"}, 1)
        for cents in range(1, levels + 1)
        for side, away in (("buy", -cents / 100), ("sell", cents / 100))
    ]
    with socket.socket(socket.AF_UNIX) as line, line.makefile("rb") as answers:
        line.connect(peer.socket)
        line.settimeout(DEADLINE_S)
        for at in range(0, len(lines), AT_ONCE):
            some = lines[at : at + AT_ONCE]
            line.sendall(b"".join(some))
            assert all(b'"result"' in answers.readline() for _ in some)


def test_more_own_orders_than_fit_one_answer(peer: Peer, screen: Screen) -> None:
    fill(peer, 200, 100, account="")
    screen.open(peer)
    screen.shows("show-open", "Open (400)")
    screen.click("cancel-all")
    screen.click("question-yes")
    screen.shows("mine-answer", "Cancelled: 400.")
    screen.shows("show-open", "Open (0)")


def test_ten_thousand_levels(peer: Peer, screen: Screen) -> None:
    fill(peer, 5000, 1000)
    screen.open(peer)
    screen.choose("within", "all")
    eventually(lambda: screen.text("depth-low"), "950.00")
    screen.shows("depth-high", "1050.00")
    screen.choose("group", "1000")
    eventually(lambda: screen.rows("asks")[0], ["1050.00", "", "1000.0000", "5000.0000"])
    peer.place("buy", "1", "1050.00")
    eventually(lambda: screen.rows("asks")[-1], ["1010.00", "", "999.0000", "999.0000"])
    assert screen.text("badge-word") == "◐ Alone"


def test_two_hundred_updates_a_second_cost_less_than_a_quarter_of_a_core(
    peer: Peer, screen: Screen
) -> None:
    fill(peer, 1000, 100)
    screen.open(peer)
    screen.run(
        "window.draws = 0; window.updates = 0;"
        "new MutationObserver(() => { window.draws++; })"
        ".observe(document.getElementById('book'),"
        " { childList: true, subtree: true, characterData: true });"
    )
    screen.meddle("if (message.method === 'book.update') window.updates++; return message;")
    screen.driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})

    def busy_s() -> float:
        metrics = screen.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))

    with peer.client() as client:
        began, before = time.monotonic(), busy_s()
        for turn in range(UPDATES):
            price = f"{100 + (1 if turn % 2 else -1) * (turn % 20 + 1) / 100:.2f}"
            client.call(
                "order.place", market=peer.market, side="sell" if turn % 2 else "buy",
                quantity="0.5", price=price, account="x",
            )  # fmt: skip
            time.sleep(max(0.0, began + turn / 200 - time.monotonic()))
        took, busy = time.monotonic() - began, busy_s() - before
    eventually(lambda: screen.run("return window.updates"), UPDATES)
    assert screen.run("return window.draws") <= 10 * took + 2
    if UPDATES / took < BUSY:  # what is drawn for each then says nothing of 200
        pytest.skip(f"this machine makes only {UPDATES / took:.0f} updates a second")
    share = busy * 200 / UPDATES
    assert share < 0.25, f"{share:.1%} of a core at 200; there were {UPDATES / took:.0f} a second"


def test_a_book_that_lacks_an_update_is_read_again(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    screen.meddle("return message.method === 'book.update' && !window.lost++ ? null : message;")
    screen.run("window.lost = 0")
    peer.place("buy", "1", "98")
    peer.place("buy", "2", "99")
    screen.later(8)
    eventually(lambda: [row[2:3] for row in screen.rows("bids")], [["2.0000"], ["1.0000"]])


def test_several_markets(peer: Peer, screen: Screen) -> None:
    with peer.client() as client:
        client.call("order.place", market="ETH-USD", side="buy", quantity="2", price="1999.5")
    screen.open(peer)
    screen.shows("show-open", "Open (0)")
    screen.choose("market", "ETH-USD")
    eventually(lambda: screen.rows("bids"), [["1999.5", "◂ 2.00", "2.00", "2.00"]])
    screen.shows("show-open", "Open (1)")
    screen.order("0.015", "2000.25")
    screen.shows("price-fault", "2000.25 is not a multiple of 0.5; the nearest is 2000.0 or 2000.5")
    screen.choose("market", peer.market)
    screen.choose("market", "ETH-USD")
    eventually(lambda: screen.rows("bids"), [["1999.5", "◂ 2.00", "2.00", "2.00"]])
    screen.driver.refresh()
    eventually(lambda: screen.find("market").get_property("value"), "ETH-USD")
