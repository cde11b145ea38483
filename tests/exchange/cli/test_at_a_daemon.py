"""What ``exchange`` does with several orders, and what it follows, at a real daemon."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.exchange.daemon.test_daemon import DEADLINE_S, Daemon, place, tool, tool_at

pytestmark = pytest.mark.network

TOOL = (sys.executable, "-u", "-c", "from grenache_py.exchange.cli import main; main()")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("daemon")) as running:
        yield running


@contextmanager
def following(daemon: Daemon, *words: str) -> Iterator[IO[str]]:
    """A command that stays until Ctrl-C, and what it prints."""
    with subprocess.Popen(
        [*TOOL, "--unix", daemon.path, *words], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE_S) == 130
        finally:
            process.kill()


def test_ids_of_one_command_are_cancelled_by_another(daemon: Daemon) -> None:
    with daemon.client() as client:
        for price in ("10", "11", "12"):
            place(client, "buy", price, account="many")
    ids = tool(daemon, "orders", "-q", "--account", "many")
    assert len(ids.splitlines()) == 3
    first, *others = ids.split()
    text = f"{first} {'0' * 32}\n" + "\n".join(others)
    told = tool(daemon, "cancel", "-", "-q", code=3, stdin=text)
    assert [line for line in told.splitlines() if line in ids] == [first, *others]
    assert "0000" in told
    again = tool(daemon, "-j", "cancel", *ids.split(), code=1).splitlines()
    assert again[0] == "[]"
    assert [json.loads(line)["error"]["name"] for line in again[1:]] == ["OrderClosed"] * 3
    assert tool(daemon, "-j", "cancel", "-") == "[]\n"


@pytest.mark.parametrize(("words", "code"), [((), 130), (("--yes",), 0), (("--account", "a"), 0)])
def test_a_person_is_asked_before_the_orders_of_several_accounts_go(
    daemon: Daemon, words: tuple[str, ...], code: int
) -> None:
    with daemon.client() as client:
        for account in ("a", "b"):
            place(client, "buy", "10", account=account)
    person, terminal = os.openpty()
    try:
        os.write(person, b"n\n")
        done = subprocess.run(
            [*TOOL, "--unix", daemon.path, "cancel", "--all", *words],
            stdin=terminal, capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip
    finally:
        os.close(person)
        os.close(terminal)
    assert done.returncode == code
    assert ("of 2 accounts: a, b. Go on?" in done.stderr) == (code == 130)
    with daemon.client() as client:
        left = len(client.call("order.list", account="b")["orders"])
        assert (left == 0) == (words == ("--yes",))
        client.call("order.cancel_all", all_accounts=True)


def test_as_many_fills_as_were_asked_for_also_where_one_answer_has_no_room(daemon: Daemon) -> None:
    with daemon.client() as client:
        place(client, "sell", "100", quantity="250", account="seller")
        for _ in range(250):
            place(client, "buy", "100", quantity="1", account="buyer")
    for limit in (240, 1000):
        told = json.loads(tool(daemon, "-j", "fills", "--account", "buyer", "--limit", str(limit)))
        assert [each["seq"] for each in told] == list(range(1, 251))[-limit:]


def test_orders_and_fills_are_followed_over_a_restart_by_their_numbers(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        with (
            following(daemon, "-j", "orders", "--watch", "--since", "0") as orders,
            following(daemon, "-j", "fills", "--watch", "--since", "0") as fills,
        ):
            with daemon.client() as client:
                place(client, "buy", "100", client_order_id="before")
                place(client, "sell", "100", client_order_id="taker", quantity="0.25")
            told = [json.loads(orders.readline()) for _ in range(3)]
            assert [each["seq"] for each in told] == [1, 2, 3]
            assert told[0]["order"]["client_order_id"] == "before"
            assert [json.loads(fills.readline())["seq"] for _ in range(2)] == [1, 2]
            daemon.kill()
            daemon.start()
            with daemon.client() as client:
                place(client, "sell", "100.50", client_order_id="after", quantity="0.0001")
                place(client, "sell", "100", client_order_id="again", quantity="0.25")
            told = [json.loads(orders.readline()) for _ in range(3)]
            assert [each["seq"] for each in told] == [4, 5, 6]
            assert told[0]["order"]["price"] == "100.5"
            told = [json.loads(fills.readline()) for _ in range(2)]
            assert [(each["seq"], each["quantity"]) for each in told] == [(3, "0.25"), (4, "0.25")]
        # Another run goes on from the last number that was seen.
        with following(daemon, "fills", "--watch", "--since", "3") as fills:
            assert fills.readline().split()[0] == "4"
        with following(daemon, "orders", "--watch", "--since", "3", "-q") as orders:
            assert len(orders.readline().strip()) == 32


def completed(daemon: Daemon, cache: Path, *words: str) -> list[str]:
    """What the shell shows behind ``words``, of which the last is begun."""
    done = subprocess.run(
        TOOL, capture_output=True, text=True, timeout=DEADLINE_S, check=True,
        env={**os.environ, "XDG_CACHE_HOME": str(cache), "_EXCHANGE_COMPLETE": "bash_complete",
             "EXCHANGE_CONNECT": daemon.path, "COMP_WORDS": " ".join(("exchange", *words)),
             "COMP_CWORD": str(len(words))},
    )  # fmt: skip
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_the_shell_completes_commands_options_markets_and_open_orders(
    daemon: Daemon, tmp_path: Path
) -> None:
    assert completed(daemon, tmp_path, "bo") == ["book"]
    assert completed(daemon, tmp_path, "markets", "--time") == ["--timeout"]
    for words in (("book", "b"), ("orders", "--market", "BTC"), ("buy", "")):
        assert completed(daemon, tmp_path, *words) == ["BTC-USD"]
    (cache,) = tmp_path.rglob("*.json")
    cache.write_text('["ETH-USD"]')
    assert completed(daemon, tmp_path, "book", "") == ["ETH-USD"]
    os.utime(cache, (0, 0))
    assert completed(daemon, tmp_path, "book", "") == ["BTC-USD"]
    with daemon.client() as client:
        order_id = place(client, "buy", "10")["order_id"]
        assert completed(daemon, tmp_path, "cancel", order_id[:4]) == [order_id]
        client.call("order.cancel", order_id=order_id)
    assert completed(daemon, tmp_path, "cancel", "") == []
    assert completed(daemon, tmp_path, "-c", "/nowhere/x", "book", "") == []


def test_who_accepts_and_says_nothing_is_waited_for_as_long_as_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        told = tool_at("-c", address, "--timeout", "0.3", "markets", code=5)
    assert f"{address}: it has not said who it is: a daemon that hangs" in told
    assert "start one" not in told


@pytest.mark.parametrize("words", [("orders", "x", "--watch"), ("orders", "--since", "1")])
def test_since_is_for_watching(words: tuple[str, ...]) -> None:
    assert "--since is for --watch" in tool_at(*words, code=2)


def test_what_an_account_bought_less_what_it_sold(daemon: Daemon) -> None:
    assert json.loads(tool(daemon, "-j", "positions", "--account", "nobody"))["positions"] == []
    tool(daemon, "buy", "BTC-USD", "1@50", "--account", "long")
    tool(daemon, "sell", "BTC-USD", "0.25@50", "--account", "short")
    told = json.loads(tool(daemon, "-j", "positions", "--account", "long"))
    assert [each["position"] for each in told["positions"]] == ["0.25"]
    shown = tool(daemon, "positions", "--account", "short")
    assert shown.splitlines()[1].split() == ["BTC-USD", "-0.25", "0", "0.25"]
    assert tool(daemon, "positions", "-q", "--account", "short") == "BTC-USD\n"
    tool(daemon, "cancel", "--all", "--yes")


def test_a_load_takes_back_what_it_left_and_nothing_else(daemon: Daemon) -> None:
    kept = tool(daemon, "buy", "BTC-USD", "1@1", "-q").strip()
    load = ("load", "--market", "BTC-USD", "--orders", "200", "--clients", "3")
    assert 0 < json.loads(tool(daemon, "-j", *load, "--cleanup"))["cancelled"] <= 200
    assert tool(daemon, "orders", "-q").split() == [kept]
    # Orders of a named account do not trade with each other: some are refused.
    told = tool(daemon, *load, "--cleanup", "--account", "loader", code=1)
    assert "refused" in told and "are cancelled" in told
    assert tool(daemon, "orders", "-q").split() == [kept]
    tool(daemon, "cancel", kept)


def test_a_wait_is_a_time(daemon: Daemon) -> None:
    told = tool(daemon, "buy", "BTC-USD", "1@1", "--wait", "500ms", "--ioc")
    assert "cancelled" in told
    told = tool(daemon, "buy", "BTC-USD", "1@1", "--wait", "soon", code=2)
    assert "'--wait': must be a time like 500ms" in told


def test_one_screen_shows_a_peer_and_goes_on_over_its_restart(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        tool(daemon, "buy", "BTC-USD", "1@50")
        shown = tool(daemon, "top", "--count", "1")
        for words in ("serving, alone, 0 fills in doubt", "bid 50, ask -", "own orders", "links"):
            assert words in shown
        assert max(map(len, shown.splitlines()[4:])) < 80, "the tables fit a small terminal"
        with following(daemon, "-j", "--timeout", "1", "top", "btc/usd", "--every", "0.1") as top:
            first = json.loads(top.readline())
            assert first["book"]["bids"] == [["50", "1", 1]] and len(first["orders"]) == 1
            daemon.kill()
            while "problem" not in (last := json.loads(top.readline())):
                pass
            assert last["book"] == first["book"], "what it said last"
            daemon.start()
            while "problem" in json.loads(top.readline()):
                pass
