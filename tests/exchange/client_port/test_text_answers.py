"""What people see after ``format text``."""

from __future__ import annotations

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from grenache_py.exchange.client_port.inline import COMMANDS
from grenache_py.exchange.client_port.text_answers import as_text
from tests.support.peer import Connection, Peer


def seen(client: Connection, line: str) -> list[str]:
    """What the client is sent after a line."""
    client.send(line.encode() + b"\n")
    text = client.transport.value().decode()
    client.transport.clear()
    return text.splitlines()


def people() -> Connection:
    client = Peer().connect()
    assert seen(client, "format text") == ["text"]
    return client


def test_the_book_is_a_table() -> None:
    client = people()
    assert seen(client, "book BTC-USD") == ["none"]
    for line in ("sell BTC-USD 2 @ 101", "sell BTC-USD 0.25 @ 100.5", "buy BTC-USD 1 @ 99"):
        seen(client, line)
    assert seen(client, "book BTC-USD") == [
        "side  price  quantity  orders",
        "sell    101         2       1",
        "sell  100.5      0.25       1",
        "buy      99         1       1",
    ]


def test_orders_are_a_table_and_errors_a_sentence() -> None:
    client = people()
    head, placed = seen(client, "sell BTC-USD 2 @ 101 id=mine post")
    assert head.split()[:5] == ["time", "order", "id", "side", "quantity"]
    assert "sell" in placed and "mine" in placed and "new" in placed
    assert len(seen(client, "orders")) == 2
    assert seen(client, "sell BTC-USD 2 @ 100.005") == [
        "error -32008: price 100.005 is not a multiple of 0.01; the nearest is 100 or 100.01"
    ]
    assert seen(client, "tikcer BTC-USD")[0].startswith("error -32601: There is no command")


def test_what_is_watched_comes_as_lines() -> None:
    client = people()
    seen(client, "watch BTC-USD")
    seen(client, "sell BTC-USD 2 @ 101")
    assert "BTC-USD sell 101: 1.5" in seen(client, "buy BTC-USD 0.5 market")
    lines = seen(client, "buy BTC-USD 1.5 market")
    assert "BTC-USD sell 101: nothing" in lines
    assert "BTC-USD traded: buy 1.5 @ 101" in lines


def test_every_command_has_an_answer_and_json_is_there_again_when_asked_for() -> None:
    client = people()
    seen(client, "sell BTC-USD 2 @ 101")
    seen(client, "buy BTC-USD 1 @ 101")
    for name in COMMANDS.keys() - {"quit", "format", "hello"}:
        for words in ("", " BTC-USD", " all", " mine 1"):
            lines = seen(client, name + words)
            assert lines and not any(line.startswith("{") for line in lines), name + words
    assert seen(client, "help book") == ["command: book", "usage: book MARKET [DEPTH]"]
    assert seen(client, "hello")[0].startswith("peer: ")
    assert seen(client, "format html") == ["error -32602: Write it like this: format text|json"]
    assert seen(client, "format json")[0].startswith("{")
    assert seen(client, "ping")[0].startswith("{")


def test_a_text_from_outside_steers_no_terminal() -> None:
    line = msgspec.json.encode({"id": None, "result": {"\x1b[2J": "\x1b]0;x\x07\n"}})
    assert as_text(line) == rb"\x1b[2J: \x1b]0;x\x07\n" + b"\n"


#: Names that are shown in a way of their own, when what they name has the usual shape.
OWN = ("bids", "asks", "orders", "order_id", "next", "time", "side", "commands")
NAMES = st.sampled_from(OWN) | st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=8,
)


@given(st.dictionaries(NAMES, VALUES))
@example({"bids": None})
@example({"bids": [["\x1b[2J", {}, None]], "asks": [[1, 2]]})
@example({"bids": [["\x1b[2J", {}, None]], "asks": []})
@example({"orders": [None]})
@example({"time": 2**53})
def test_any_result_has_a_text(result: dict[str, object]) -> None:
    text = as_text(msgspec.json.encode({"id": None, "result": result})).decode()
    assert text.replace("\n", "").isprintable()
