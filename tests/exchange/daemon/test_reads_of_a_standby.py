"""What a daemon that stands by tells: the market by what the database holds, and its age."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from grenache_py.trading.errors import Standby
from tests.exchange.daemon.test_daemon import DEADLINE_S, Daemon, place, tool
from tests.exchange.daemon.test_on_postgresql import address, becomes, pair, spare
from tests.exchange.daemon.test_takeover import linked
from tests.support.postgresql import MISSING, Server

__all__ = ["pair"]

pytestmark = [pytest.mark.network, pytest.mark.skipif(bool(MISSING), reason=MISSING)]

MARKET = "BTC-USD"


@contextmanager
def home(one: Server, two: Server, folder: Path) -> Iterator[tuple[Daemon, Daemon]]:
    """A neighbour whose orders the home knows, the daemon that serves that, one that stands by."""
    one.ask("CREATE DATABASE home")
    url = one.url("home", two)
    for name in ("near", "here"):
        (folder / name).mkdir()
    with Daemon(folder / "near") as near, near.client() as theirs:
        [port] = theirs.call("status")["listen"]["peer"]
        place(theirs, "sell", "110", quantity="3")
        place(theirs, "sell", "111")
        options = ("--store", url, "--connect", port)
        with Daemon(folder / "here", *options) as daemon, daemon.client() as client:
            linked(theirs, *client.call("status")["listen"]["peer"])
            with spare(daemon, url, folder / "there") as other:
                becomes(other, "standby", 1)
                yield daemon, other


def without_age(found: dict[str, Any]) -> dict[str, Any]:
    """What a daemon that stands by says of a market, but how old that is."""
    assert 0 <= found.pop("age_s") < DEADLINE_S
    return {**found, "seq": 0} if "seq" in found else found


def page(daemon: Daemon, path: str) -> tuple[int, dict[str, Any]]:
    """What its HTTP port answers."""
    host, port = daemon.address("http")
    try:
        with urlopen(f"http://{host}:{port}{path}", timeout=DEADLINE_S) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def test_its_books_have_own_orders_and_those_of_others(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    with home(*pair, tmp_path) as (daemon, other):
        with daemon.client() as client, other.client() as standby:
            place(client, "buy", "90", quantity="2")
            place(client, "buy", "80", type="stop_limit", stop_price="200")
            place(client, "buy", "110")  # of which two stay at the neighbour
            seen_both = {"bids": [["90", "2", 1]], "asks": [["110", "2", 1], ["111", "1", 1]]}
            ends = time.monotonic() + DEADLINE_S
            while True:
                book, stored = (each.call("book.get", market=MARKET) for each in (client, standby))
                if book.items() >= seen_both.items() and stored.items() >= seen_both.items():
                    break
                assert time.monotonic() < ends, (book, stored)
                time.sleep(0.05)
            assert without_age(stored) == {**book, "seq": 0}
            ticker = client.call("ticker.get", market=MARKET)
            assert without_age(standby.call("ticker.get", market=MARKET)) == ticker
            assert (ticker["last"], ticker["volume"]) == ("110", "1")
            for asked in ("trades.list", "candles.list"):
                found = client.call(asked, market=MARKET)
                assert standby.call(asked, market=MARKET) == found
            for stream in ("book", "trades", "orders", "executions"):
                of = {"market": MARKET} if stream in {"book", "trades"} else {}
                with pytest.raises(Standby) as refused:
                    standby.call(f"{stream}.subscribe", **of)
                assert refused.value.serving == address(daemon)
                assert address(daemon) in str(refused.value)
        status, found = page(other, f"/api/v1/book?market={MARKET}")
        assert status == 200 and without_age(found) == {**book, "seq": 0}
        tables = [f"{what} {MARKET}" for what in ("book", "ticker")]
        for command in tables:
            assert tool(other, *command.split()) == tool(daemon, *command.split())
        assert f"holder           {address(daemon)}\n" in tool(other, "status")
        screen = tool(other, "top", "--count", "1")
        for shown in (f"ok, stands by: {address(daemon)} serves, heard of ", "110", "80"):
            assert shown in screen, screen
        doctor = tool(other, "doctor")
        assert f"ok  role   stands by: {address(daemon)} serves, heard of " in doctor
        told = tool(other, "watch", MARKET, code=7)
        assert (
            told
            == f"exchange: This daemon stands by: ask the one that serves, at {address(daemon)}.\n"
        )
