"""Orders are never lost and never sent twice, and the badge says what is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.exchange.page.conftest import Peer, Screen, eventually
from tests.soak.daemons import free_port

pytestmark = pytest.mark.network

TWO_DAEMONS = "{ id: 'two-daemons', level: 'alarm', text: 'a key is used twice' }"
#: The peer carries the order out, and the line breaks before the page hears of it.
LOSE_THE_ANSWER = """
if (message.result?.order_id && !window.lost) {
  window.lost = true;
  socket.close();
  return null;
}
return message;
"""

#: How many points of the candles are drawn in a colour, and not in grey.
COLOURED = """
let found = 0;
for (const canvas of document.querySelectorAll("#candles canvas")) {
  const { width, height } = canvas, copy = new OffscreenCanvas(width, height);
  const seen = copy.getContext("2d", { willReadFrequently: true });
  seen.drawImage(canvas, 0, 0);
  const { data } = seen.getImageData(0, 0, width, height);
  for (let at = 0; at < data.length; at += 4) {
    if (data[at + 3] && Math.abs(data[at] - data[at + 1]) > 60) found++;
  }
}
return found;
"""


def test_an_order_under_a_frozen_killed_and_restarted_daemon_is_one_order(
    peer: Peer, screen: Screen
) -> None:
    screen.open(peer)
    screen.order("0.0123", "50")
    peer.freeze()
    screen.click("buy")
    screen.shows("answer", "Sending …")
    screen.shows("buy", "Sending …")
    screen.run("document.getElementById('sell').click()")
    screen.later(10)
    screen.shows("badge-word", "▲ Stale")
    screen.says("bar", "The peer is silent. What you see is from ")
    screen.says("bar", "the one under way will be asked about")
    screen.later(6)
    screen.shows("badge-word", "✕ Disconnected")
    screen.says("answer", "not answered yet. It is asked about when the peer is back.")
    assert "old" in screen.run("return document.body.className")
    peer.kill()
    screen.says("badge-more", ", trying again in ")
    peer.start()
    peer.wait()
    screen.later(8)
    screen.shows("badge-word", "◐ Alone")
    screen.shows("answer", "Stands: ▲ Buy 0.0123 BTC @ 50.")
    screen.shows("show-open", "Open (1)")
    assert len(peer.orders()) == 1
    assert "old" not in screen.run("return document.body.className")
    screen.click("buy")
    screen.shows("show-open", "Open (2)")


def test_a_frozen_daemon_that_wakes_up_has_one_order(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    screen.order("0.1", "50")
    peer.freeze()
    screen.click("buy")
    screen.shows("answer", "Sending …")
    screen.later(16)
    screen.shows("badge-word", "✕ Disconnected")
    peer.thaw()
    screen.later(8)
    screen.shows("answer", "Stands: ▲ Buy 0.1 BTC @ 50.")
    assert len(peer.orders()) == 1


def test_the_answer_is_lost_and_the_order_is_not(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    screen.meddle(LOSE_THE_ANSWER)
    screen.order("0.1", "50")
    screen.click("buy")
    screen.shows("answer", "Stands: ▲ Buy 0.1 BTC @ 50.")
    assert len(peer.orders()) == 1


def test_a_market_order_whose_answer_is_lost_is_one_order(peer: Peer, screen: Screen) -> None:
    peer.place("sell", "1", "100", account="other")
    screen.open(peer)
    screen.choose("type", "market")
    screen.type("quantity", "0.3")
    screen.meddle(LOSE_THE_ANSWER)
    screen.click("buy")
    screen.click("question-yes")
    screen.shows("answer", "Filled: ▲ Buy 0.3 BTC at market; all filled at 100.")
    assert [order["filled"] for order in peer.orders()] == ["0.3", "0.3"]


def test_a_market_order_that_was_done_is_found_after_a_restart(peer: Peer, screen: Screen) -> None:
    peer.place("sell", "1", "100", account="other")
    screen.open(peer)
    screen.choose("type", "market")
    screen.type("quantity", "0.3")
    screen.meddle("if (message.result?.order_id) return null; return message;")
    screen.click("buy")
    screen.click("question-yes")
    eventually(lambda: len(peer.orders("closed")), 1)
    peer.kill()
    screen.says("answer", "not answered yet")
    peer.start()
    peer.wait()
    screen.run("window.meddle = null")
    screen.later(8)
    screen.shows("answer", "Filled: ▲ Buy 0.3 BTC at market; all filled at 100.")
    assert len(peer.orders()) == 2


@pytest.mark.parametrize(
    ("clock_s", "answer"),
    [
        (-3600, "It did not happen: ▲ Buy 0.3 BTC at market. It is "),
        (3600, "Filled: ▲ Buy 0.3 BTC at market; all filled at 100."),
    ],
    ids=["too-late", "in-time"],
)
def test_a_market_order_that_the_peer_had_not_seen_is_placed_in_time_or_never(
    peer: Peer, screen: Screen, clock_s: int, answer: str
) -> None:
    """It is valid for 5 s by the peer's clock, which here the page believes to be another one."""
    peer.place("sell", "1", "100", account="other")
    screen.open(peer)
    screen.status(f"time: message.params.time + {clock_s * 1000}")
    screen.choose("type", "market")
    screen.type("quantity", "0.3")
    peer.freeze()
    screen.click("buy")
    screen.click("question-yes")
    screen.shows("answer", "Sending …")
    peer.kill()
    peer.start()
    peer.wait()
    screen.later(8)
    screen.says("answer", answer)
    assert len(peer.orders()) == (2 if clock_s > 0 else 1)


def test_a_press_is_remembered_when_the_page_is_loaded_again(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    screen.order("0.1", "50")
    screen.meddle("return message.result?.order_id ? null : message;")
    screen.click("buy")
    eventually(lambda: len(peer.orders()), 1)
    screen.driver.refresh()
    screen.shows("answer", "Stands: ▲ Buy 0.1 BTC @ 50.")
    assert len(peer.orders()) == 1


def test_a_peer_that_takes_no_orders_for_a_moment_is_asked_again(
    peer: Peer, screen: Screen
) -> None:
    screen.open(peer)
    screen.order("0.1", "50")
    screen.meddle(
        "if (!message.result?.order_id || window.lost) return message; window.lost = true;"
        "const error = { code: -32010, message: 'Not now.', data: { outcome: 'unknown' } };"
        "return { id: message.id, error };"
    )
    screen.click("buy")
    screen.shows("answer", "Not now. Asking again …")
    screen.shows("answer", "Stands: ▲ Buy 0.1 BTC @ 50.")
    assert len(peer.orders()) == 1


def test_a_peer_that_cannot_answer_yet_says_nothing_of_the_order_it_had(
    peer: Peer, screen: Screen
) -> None:
    """The order stands; that the second request of it did nothing is no word about the first."""
    screen.open(peer)
    screen.order("0.1", "50")
    screen.meddle(
        "if (!message.result?.order_id) return message; window.times = 1 + (window.times ?? 0);"
        "if (window.times === 1) { socket.close(); return null; }"
        "const error = { code: -32011, message: 'Starting.' };"
        "return window.times === 2 ? { id: message.id, error } : message;"
    )
    screen.click("buy")
    screen.says("answer", "not answered yet")
    screen.later(8)
    screen.shows("answer", "Starting. Asking again …")
    screen.shows("answer", "Stands: ▲ Buy 0.1 BTC @ 50.")
    assert len(peer.orders()) == 1


def test_an_order_that_another_peer_fills_is_followed_to_its_end(
    peers: Callable[..., Peer], screen: Screen
) -> None:
    here, there = peers(), peers()
    here.wait()
    there.wait()
    with there.client() as client:
        client.call("peers.connect", address=here.address)
    screen.open(here, "● Live")
    assert not screen.find("bar").is_displayed()
    screen.order("0.5", "100")
    screen.click("sell")
    screen.shows("answer", "Stands: ▼ Sell 0.5 BTC @ 100.")
    there.place("buy", "0.2", "100")
    screen.shows("answer", "Partly filled: ▼ Sell 0.5 BTC @ 100; 0.2 filled at 100.")
    screen.shows("fill-told", "Sold 0.2 BTC at 100.")
    there.place("buy", "0.3", "100")
    screen.shows("answer", "Filled: ▼ Sell 0.5 BTC @ 100; all filled at 100 on average.")
    screen.shows("show-open", "Open (0)")
    screen.shows("show-fills", "Fills (2)")
    # And one that goes there itself: its answer is not final, what follows is.
    there.place("sell", "0.4", "101")
    eventually(lambda: screen.rows("asks")[-1:], [["101.00", "", "0.4000", "0.4000"]])
    screen.order("0.4", "101")
    screen.click("buy")
    screen.shows("answer", "Filled: ▲ Buy 0.4 BTC @ 101; all filled at 101.")
    screen.click("show-history")
    eventually(
        lambda: [row[1:8] for row in screen.rows("mine-rows")],
        [
            ["▲ buy", "limit gtc", "0.4000", "101.00", "0.4000", "101", "filled"],
            ["▼ sell", "limit gtc", "0.5000", "100.00", "0.5000", "100", "filled"],
        ],
    )
    screen.click("show-fills")
    eventually(
        lambda: [row[1:5] for row in screen.rows("mine-rows")],
        [
            ["▲ buy", "0.4000", "101.00", "taker"],
            ["▼ sell", "0.3000", "100.00", "maker"],
            ["▼ sell", "0.2000", "100.00", "maker"],
        ],
    )


def test_the_badge_says_how_the_peer_is(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    for status, word, sentence in (
        ("links: 2, synced: true", "● Live", ""),
        ("links: 2, synced: false", "◐ Syncing", "still reading what others offer"),
        (f"raised: [{TWO_DAEMONS}]", "▲ Alarm", "two-daemons: a key is used twice"),
        ("serving: false, listening: true", "▲ Alarm", "takes no orders now: it first asks"),
        ("store: 'disk full'", "▲ Alarm", "takes no orders now: store: disk full"),
        ("links: 0", "◐ Alone", "No link to another peer"),
    ):
        screen.status(f"raised: [], {status}")
        assert screen.text("badge-word") == word
        assert sentence in screen.text("bar")
        assert screen.find("bar").is_displayed() == bool(sentence)
        assert screen.find("bar").get_attribute("role") == "alert"


def test_each_alarm_is_shown_and_read_out_once(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    held = "{ id: 'log-held', level: 'warning', text: `held for ${++window.held} s` }"
    screen.run("window.held = 0")
    screen.status(f"raised: [{TWO_DAEMONS}, {held}]")
    eventually(
        lambda: [row[0].partition(" for")[0] for row in screen.rows("sentences")],
        ["two-daemons: a key is used twice", "log-held: held"],
    )
    screen.run("window.row = document.getElementById('sentences').rows[1]")
    said = screen.text("sentences")
    screen.run("window.tellStatus()")
    assert screen.text("sentences") != said
    assert screen.run("return row.isConnected"), "a number that changes is no other alarm"
    assert [
        each.get_attribute("href").partition("/alarms")[2]
        for each in screen.driver.find_elements("css selector", "#bar a")
    ] == ["#alarm-two-daemons", "#alarm-log-held"]
    screen.shows("badge-word", "▲ Alarm")
    screen.status(f"links: 1, synced: true, raised: [{held}]")
    screen.shows("badge-word", "● Live")
    screen.says("bar", "log-held: held")


def test_the_page_is_told_and_does_not_ask(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    screen.meddle(
        "if (message.method === 'status.update') {"
        "  window.told++;"
        "  if (message.params.uptime_s % 60 === 0) window.minutes++;"
        "}"
        "return message;"
    )
    screen.run("window.told = window.minutes = window.sent.length = 0")
    empty = screen.run(COLOURED)
    peer.place("sell", "1", "100", account="other")
    peer.place("buy", "0.5", "100")
    screen.shows("show-fills", "Fills (1)")
    screen.shows("fill-told", "Bought 0.5 BTC at 100.")
    screen.shows("volume", "0.5000")
    eventually(lambda: screen.run(COLOURED) > empty, True)
    screen.run("window.told = 0")
    eventually(lambda: screen.run("return window.told > 1"), True)
    minutes, asked = screen.run("return [window.minutes, window.sent]")
    assert asked == ["ticker.get", "candles.list"] * minutes


def test_a_fill_while_the_line_was_lost_is_told(peer: Peer, screen: Screen) -> None:
    peer.place("sell", "1", "100")
    screen.open(peer)
    screen.shows("show-open", "Open (1)")
    screen.meddle("if (message.method === 'status.update') socket.close(); return message;")
    screen.run("window.tellStatus()")
    screen.shows("badge-word", "✕ Disconnected")
    peer.place("buy", "0.4", "100", account="other")
    screen.run("window.meddle = null")
    screen.later(8)
    screen.shows("fill-told", "Sold 0.4 BTC at 100.")
    screen.shows("show-fills", "Fills (1)")


def test_a_click_on_the_badge_shows_the_peer(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    screen.click("badge")
    facts = dict(screen.rows("facts-rows"))
    assert facts["links"] == "0" and facts["alarms"] == "0" and facts["fills in doubt"] == "0"
    with peer.client() as client:
        assert client.call("hello")["peer"] == facts["peer"]
    screen.click("badge")
    assert not screen.find("facts").is_displayed()


def test_a_token_is_asked_for_and_kept_over_a_restart(
    peers: Callable[..., Peer], screen: Screen, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens.toml"
    secret = "correct horse battery"
    tokens.write_text(
        f'[[token]]\ntoken = "{secret}"\nscopes = ["read", "trade", "admin"]\naccount = "alice"\n'
    )
    tokens.chmod(0o600)
    peer = peers("--tokens", str(tokens))
    peer.wait()
    screen.open(peer, "◌ Token needed")
    screen.type("token", "what was it again?")
    screen.click("#login button")
    screen.says("bar", "This token is not known here")
    screen.type("token", secret)
    screen.click("#login button")
    screen.shows("badge-word", "◐ Alone")
    screen.order("0.1", "50")
    screen.click("buy")
    screen.shows("answer", "Stands: ▲ Buy 0.1 BTC @ 50.")
    peer.kill()
    screen.shows("badge-word", "✕ Disconnected")
    peer.start()
    peer.wait()
    screen.later(8)
    screen.shows("badge-word", "◐ Alone")
    screen.shows("show-open", "Open (1)")
    stored = screen.run("return JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert secret not in stored


def test_who_may_only_look_sees_no_form_and_what_is_wrong(
    peers: Callable[..., Peer], screen: Screen
) -> None:
    grape = f"http://127.0.0.1:{free_port()}"
    peer = peers("--network", "main", "--grape", grape)
    peer.wait()
    screen.open(peer)
    assert not screen.find("order-form").is_displayed() and not screen.find("mine").is_displayed()
    assert "--http-trading" in screen.find("login").text
    assert screen.find("token").is_displayed()
    screen.says("bar", f"grapes-silent: {grape}: ")
    screen.driver.get(screen.find("#bar .warning a").get_attribute("href"))
    assert "no grape answers" in screen.find(".reading section:target").text
