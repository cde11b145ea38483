"""Orders are never lost and never sent twice, and the badge says what is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.exchange.page.conftest import Peer, Screen, eventually

pytestmark = pytest.mark.network

#: The peer carries the order out, and the line breaks before the page hears of it.
LOSE_THE_ANSWER = """
if (message.result?.order_id && !window.lost) {
  window.lost = true;
  socket.close();
  return null;
}
return message;
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
    screen.shows("badge-word", "▲ Stale")
    screen.says("bar", "The peer is silent. What you see is from ")
    screen.says("bar", "the one under way will be asked about")
    screen.shows("badge-word", "✕ Disconnected")
    screen.says("answer", "not answered yet. It is asked about when the peer is back.")
    assert "old" in screen.run("return document.body.className")
    peer.kill()
    screen.says("badge-more", ", trying again in ")
    peer.start()
    peer.wait()
    screen.shows("badge-word", "◐ Alone")
    screen.shows("answer", "Stands: buy 0.0123 BTC @ 50.")
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
    screen.shows("badge-word", "✕ Disconnected")
    peer.thaw()
    screen.shows("answer", "Stands: buy 0.1 BTC @ 50.")
    assert len(peer.orders()) == 1


def test_the_answer_is_lost_and_the_order_is_not(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    screen.meddle(LOSE_THE_ANSWER)
    screen.order("0.1", "50")
    screen.click("buy")
    screen.shows("answer", "Stands: buy 0.1 BTC @ 50.")
    assert len(peer.orders()) == 1


def test_a_market_order_whose_answer_is_lost_is_asked_about_and_not_sent_again(
    peer: Peer, screen: Screen
) -> None:
    peer.place("sell", "1", "100", account="other")
    screen.open(peer)
    screen.choose("type", "market")
    screen.type("quantity", "0.3")
    screen.meddle(LOSE_THE_ANSWER)
    screen.click("buy")
    screen.click("question-yes")
    screen.shows("answer", "Filled: buy 0.3 BTC at market; all filled at 100.")
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
    screen.shows("answer", "Filled: buy 0.3 BTC at market; all filled at 100.")


def test_a_market_order_that_the_peer_never_had_did_not_happen(peer: Peer, screen: Screen) -> None:
    peer.place("sell", "1", "100", account="other")
    screen.open(peer)
    screen.choose("type", "market")
    screen.type("quantity", "0.3")
    peer.freeze()
    screen.click("buy")
    screen.click("question-yes")
    screen.shows("answer", "Sending …")
    peer.kill()
    peer.start()
    peer.wait()
    screen.says("answer", "It did not happen: ▲ Buy 0.3 BTC at market.")
    assert len(peer.orders()) == 1


def test_a_press_is_remembered_when_the_page_is_loaded_again(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    screen.order("0.1", "50")
    screen.meddle("return message.result?.order_id ? null : message;")
    screen.click("buy")
    eventually(lambda: len(peer.orders()), 1)
    screen.driver.refresh()
    screen.shows("answer", "Stands: buy 0.1 BTC @ 50.")
    assert len(peer.orders()) == 1


def test_a_peer_that_takes_no_orders_for_a_moment_is_asked_again(
    peer: Peer, screen: Screen
) -> None:
    screen.open(peer)
    screen.order("0.1", "50")
    screen.meddle(
        "if (!message.result?.order_id || window.lost) return message; window.lost = true;"
        "return { id: message.id, error: { code: -32010, message: 'Not now.' } };"
    )
    screen.click("buy")
    screen.shows("answer", "Not now. Asking again …")
    screen.shows("answer", "Stands: buy 0.1 BTC @ 50.")
    assert len(peer.orders()) == 1


def test_an_order_that_another_peer_fills_is_followed_to_its_end(
    peers: Callable[..., Peer], screen: Screen
) -> None:
    here = peers()
    there = peers("--connect", here.address)
    screen.open(here, "● Live")
    assert not screen.find("bar").is_displayed()
    screen.order("0.5", "100")
    screen.click("sell")
    screen.shows("answer", "Stands: sell 0.5 BTC @ 100.")
    there.place("buy", "0.2", "100")
    screen.shows("answer", "Partly filled: sell 0.5 BTC @ 100; 0.2 filled at 100.")
    screen.shows("fill-told", "Sold 0.2 BTC at 100.")
    there.place("buy", "0.3", "100")
    screen.shows("answer", "Filled: sell 0.5 BTC @ 100; all filled at 100 on average.")
    screen.shows("show-open", "Open (0)")
    screen.shows("show-fills", "Fills (2)")
    # And one that goes there itself: its answer is not final, what follows is.
    there.place("sell", "0.4", "101")
    eventually(lambda: screen.rows("asks")[-1:], [["101.00", "0.4000", "0.4000"]])
    screen.order("0.4", "101")
    screen.click("buy")
    screen.shows("answer", "Filled: buy 0.4 BTC @ 101; all filled at 101.")
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
        ("alarms: ['a key is used twice']", "▲ Alarm", "a key is used twice"),
        ("serving: false, listening: true", "▲ Alarm", "takes no orders now: it listens first"),
        ("store: 'disk full'", "▲ Alarm", "takes no orders now: store: disk full"),
        ("links: 0", "◐ Alone", "No link to another peer"),
    ):
        screen.meddle(
            "if (message.result?.uptime_s === undefined) return message;"
            f"return {{ ...message, result: {{ ...message.result, {status} }} }};"
        )
        screen.shows("badge-word", word)
        screen.says("bar", sentence)
        assert screen.find("bar").is_displayed() == bool(sentence)
        assert screen.find("bar").get_attribute("role") == "alert"


def test_a_click_on_the_badge_shows_the_peer(peer: Peer, screen: Screen) -> None:
    screen.open(peer)
    screen.click("badge")
    facts = screen.run(
        "return Object.fromEntries([...document.querySelectorAll('#facts div')]"
        ".map((pair) => [pair.firstChild.textContent, pair.lastChild.textContent]))"
    )
    assert facts["links"] == "0" and facts["alarms"] == "none" and facts["fills in doubt"] == "0"
    with peer.client() as client:
        assert client.call("hello")["peer"].startswith(facts["peer"])
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
    screen.open(peer, "◌ Token needed")
    screen.type("token", "what was it again?")
    screen.click("#login button")
    screen.says("bar", "This token is not known here")
    screen.type("token", secret)
    screen.click("#login button")
    screen.shows("badge-word", "◐ Alone")
    screen.order("0.1", "50")
    screen.click("buy")
    screen.shows("answer", "Stands: buy 0.1 BTC @ 50.")
    peer.kill()
    screen.shows("badge-word", "✕ Disconnected")
    peer.start()
    screen.shows("badge-word", "◐ Alone")
    screen.shows("show-open", "Open (1)")
    stored = screen.run("return JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert secret not in stored


def test_who_may_only_look_sees_no_form(peers: Callable[..., Peer], screen: Screen) -> None:
    peer = peers("--network", "main")
    screen.open(peer)
    assert not screen.find("order-form").is_displayed() and not screen.find("mine").is_displayed()
    assert "--http-trading" in screen.find("looking").text
    screen.click("show-login")
    assert screen.find("token").is_displayed()
