"""What people are shown: columns that line up, and nothing that a terminal cuts off."""

from __future__ import annotations

from typing import Any

from grenache_py.exchange.cli import printing as show
from grenache_py.exchange.cli.lines import counted, order_line
from grenache_py.exchange.cli.tables import Block, Shown, StyledLine, Table

REPORT = {
    "order_id": "0" * 32,
    "client_order_id": None,
    "account": "",
    "market": "BTC-USD",
    "side": "sell",
    "type": "limit",
    "price": "100",
    "quantity": "2",
    "filled": "0.5",
    "remaining": "1.5",
    "in_doubt": "0",
    "status": "partially_filled",
    "average_price": "100.25",
    "time": 1_700_000_000_123,
}


def text(shown: Shown) -> list[str]:
    return list(map(str, shown.lines()))


def test_prices_line_up_whatever_their_decimals() -> None:
    lines = text(
        show.book_table("BTC-USD", [["99.95", "3", 2]], [["100", "0.25", 1], ["100.1", "1", 1]])
    )
    assert [line.split()[:3] for line in lines[2:]] == [
        ["ask", "100.10", "1.00"],
        ["ask", "100.00", "0.25"],
        ["spread", "0.05", ""][:2],
        ["bid", "99.95", "3.00"],
    ]
    ends = {line.index(price) + len(price) for line, price in zip(
        [lines[2], lines[3], lines[5]], ["100.10", "100.00", "99.95"], strict=True)}  # fmt: skip
    assert len(ends) == 1


def test_an_empty_book_and_one_side_alone_are_drawn() -> None:
    assert text(show.book_table("X", [], []))[-1] == "empty"
    assert "spread" not in " ".join(text(show.book_table("X", [["1", "1", 1]], [])))
    assert "spread" not in " ".join(text(show.book_table("X", [], [["1", "1", 1]])))


def test_columns_that_say_nothing_are_left_out() -> None:
    plain = text(show.orders_table([REPORT]))
    assert "account" not in plain[0] and "stop price" not in plain[0]
    assert plain[1].startswith("2023-11-14 22:13:20  " + "0" * 32)
    stop = {**REPORT, "type": "stop_limit", "stop_price": "90", "account": "alice"}
    header, first, second = text(show.orders_table([REPORT, stop]))
    assert "account" in header and "stop price" in header
    assert "stop limit" in second and second.endswith("alice") and first.endswith("-")


def test_a_line_says_where_a_stop_waits_and_what_is_in_doubt() -> None:
    line = order_line({**REPORT, "stop_price": "90", "in_doubt": "0.5"})
    assert str(line).startswith(
        "sell 2 BTC-USD @ 100 once it trades at 90: partially filled, 0.5 filled at 100.25,"
        " 1.5 remaining, 0.5 in doubt"
    )


def test_a_noun_follows_its_number() -> None:
    assert (counted(1, "order"), counted(2, "order")) == ("1 order", "2 orders")


def test_a_long_text_is_folded_in_its_column_and_only_there() -> None:
    table = Table("what", "found", header=False, fold=True)
    table.add_row("clock", "one two three four five")
    table.add_row("a longer name", "0" * 30)
    lines = [str(line) for line in table.lines(width=35)]
    assert lines == [
        "clock          one two three four",
        "               five",
        "a longer name  " + "0" * 20,
        "               " + "0" * 10,
    ]
    assert len(list(table.lines(width=5))) == 4, "on the narrowest terminal too"
    assert [len(str(line)) for line in table.lines()] == [38, 45], "a pipe gets whole lines"


def test_columns_line_up_whatever_is_in_them() -> None:
    table = Table("name", "n", right=("n",))
    table.add_row("\u5e01", "1")  # which takes two columns of a terminal
    table.add_row("ab\x1b", "100")
    assert [str(line) for line in table.lines()] == [
        "name      n",
        "\u5e01        1",
        "ab\\x1b  100",
    ]


def test_a_terminal_gets_colours_and_a_pipe_the_same_words() -> None:
    line = StyledLine(("BAD", "bold red"), " and ", ("dim", "dim"))
    assert line.painted() == "\x1b[1;31mBAD\x1b[0m and \x1b[2mdim\x1b[0m"
    shown = Block("one\ntwo", line)
    assert [str(each) for each in shown.lines()] == ["one", "two", "BAD and dim"]


def test_each_number_of_a_status_has_its_name() -> None:
    status: dict[str, Any] = {"door": {"waiting": 0, "refused": {"silent": 2, "no_key": 1}}}
    assert text(show.status_table(status)) == ["door  waiting 0, refused silent 2 no_key 1"]
    assert text(show.status_table({"hidden": {}, "alarms": []})) == ["hidden  -", "alarms  -"]
