"""A receipt from real daemons, by the commands: each of two homes that traded proves it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.exchange.daemon.test_daemon import Daemon, place, tool_at
from tests.exchange.daemon.test_relay import linked, until

pytestmark = pytest.mark.network


def test_two_homes_trade_and_each_has_the_receipt(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with Daemon(tmp_path / "a") as a:
        host, port = a.address("peer")
        with Daemon(tmp_path / "b", "--connect", f"{host}:{port}") as b:
            until(lambda: linked(a) and linked(b))
            with a.client() as maker, b.client() as taker:
                sold, bought = (client.call("hello")["peer"] for client in (maker, taker))
                place(maker, "sell", "100")
                until(lambda: taker.call("book.get", market="BTC-USD")["asks"])
                place(taker, "buy", "101")
                [own] = until(lambda: taker.call("executions.list")["executions"])
            store, file = str(tmp_path / "b" / "data"), str(tmp_path / "b.json")
            tool_at("receipt", own["trade_id"], store, "-o", file)  # while the daemon runs
            for daemon in (a, b):
                assert daemon.stop() == 0
    others = str(tmp_path / "a.json")
    tool_at("receipt", own["trade_id"], str(tmp_path / "a" / "data"), "-o", others)
    for name in (file, others):
        told = json.loads(tool_at("--json", "verify", name))
        assert told["holds"] and (told["seller"], told["buyer"]) == (sold, bought)
        assert (told["market"], told["quantity"], told["price"]) == ("BTC-USD", "1", "100")
        data = Path(name).read_bytes()
        Path(name).write_bytes(data.replace(b'"100', b'"101').replace(b'\\"100', b'\\"101'))
        assert "proves nothing" in tool_at("verify", name, code=1)
