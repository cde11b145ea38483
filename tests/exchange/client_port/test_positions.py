"""What an account bought less what it sold, by market, out of the store's executions."""

from __future__ import annotations

from grenache_py.exchange.client_port.access import Grant
from grenache_py.exchange.effects.rows import ExecutionRow
from grenache_py.exchange.market.instrument import COUNT_MAX
from grenache_py.exchange.storage import history
from tests.support.memory_database import MemoryDatabase
from tests.support.peer import START, Peer


def test_it_is_bought_less_sold_and_goes_on_over_a_restart() -> None:
    peer = Peer()
    client = peer.connect()
    client.place("sell", "2", "100", account="alice")
    client.place("buy", "1.5", "100")
    client.place("buy", "0.25", "90", account="alice")
    client.place("sell", "0.25", "90")
    position = {"market": "BTC-USD", "position": "-1.25", "bought": "0.25", "sold": "1.5"}
    expected = {
        "account": "alice",
        "positions": [position],
        "executions": 2,
        "since": int(START * 1000),
        "complete": True,
        "seq": 2,
    }
    assert client.call("positions.list", account="alice") == expected
    assert client.call("positions.list")["positions"][0]["position"] == "1.25"
    peer.restart()
    assert peer.connect().call("positions.list", account="alice") == expected


def test_who_never_traded_has_none_and_a_token_shows_its_own_account_only() -> None:
    peer = Peer()
    bob = peer.connect(Grant(frozenset({"read"}), "bob"))
    assert bob.call("positions.list") == {
        "account": "bob",
        "positions": [],
        "executions": 0,
        "since": None,
        "complete": True,
        "seq": 0,
    }
    assert bob.call("positions.list", account="alice")["code"] == -32006


def test_it_says_when_older_executions_are_not_kept() -> None:
    peer = Peer()
    client = peer.connect()
    for _ in range(3):
        client.place("sell", "1", "100")
        client.place("buy", "1", "100", account="alice")
        peer.clock.advance(1)
    peer.store._c.execute("DELETE FROM executions WHERE account = 'alice' AND seq = 1")
    answer = client.call("positions.list", account="alice")
    assert not answer["complete"] and answer["since"] == int(START * 1000) + 1000
    assert answer["positions"][0]["position"] == "2"


def test_sums_beyond_64_bits_are_exact() -> None:
    database = MemoryDatabase()
    row = ("order", "", "BTC-USD", "buy", 1, COUNT_MAX, "taker", "home", 5)
    for first in range(1, 3000, 100):
        database.commit(
            [ExecutionRow("a", seq, f"{seq}", *row) for seq in range(first, first + 100)]
        )
    (found,) = history.traded(database.connection, "a")
    assert found == ("BTC-USD", "buy", 3000 * COUNT_MAX, 3000, 1, 5, 3000)
