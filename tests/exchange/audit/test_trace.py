"""The life of one order, as its home and the homes it traded with can tell it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from grenache_py.exchange.audit.trace import Trace, trace
from grenache_py.exchange.cli import exchange
from grenache_py.exchange.storage.copies import copy
from tests.support.peers import Network


def told(network: Network, number: int, order: str, folder: Path) -> Trace:
    """What one peer's store tells."""
    path = str(folder / f"{number}-{len(list(folder.iterdir()))}.sqlite")
    copy(network.peers[number].database.connection, path)
    found = trace(path, order)
    assert found is not None
    return found


def kinds(found: Trace) -> list[str]:
    return [each.what for each in found.happenings]


def test_both_homes_tell_of_a_trade_and_name_each_other(tmp_path: Path) -> None:
    network = Network(2)
    network.mesh()
    maker = network.place(1, "sell", 10, 100)
    network.run(1)
    taker = network.place(0, "buy", 4, 100, account="alice", client_order_id="mine")
    network.run(3)
    keys = [network[0].key, network[1].key]

    found = told(network, 0, taker.order_id, tmp_path)
    assert found.home == ""
    assert kinds(found)[:2] == ["received", "committed"]
    assert [kind for kind in kinds(found) if kind != "state"][2:] == ["asked", "traded", "settled"]
    assert "account alice, client id mine" in found.happenings[0].text
    asked = next(each for each in found.happenings if each.what == "asked")
    assert asked.peer == keys[1] and asked.fill and maker.order_id[:8] in asked.text
    assert found.happenings[-1].time >= found.happenings[0].time
    assert any("filled 0.0004" in each.text for each in found.happenings)
    assert told(network, 0, "mine", tmp_path) == told(network, 0, taker.order_id[:8], tmp_path)

    found = told(network, 1, maker.order_id, tmp_path)
    assert {"received", "committed", "answered", "traded", "state"} == set(kinds(found))
    answered = next(each for each in found.happenings if each.what == "answered")
    assert answered.peer == keys[0] and answered.text.endswith("it knows")

    # The other home's order, as it is known here.
    found = told(network, 0, maker.order_id, tmp_path)
    assert found.home == keys[1] and found.happenings[0].what == "received"
    assert "traded" in kinds(found) and "asked" in kinds(found)


def test_a_fill_whose_answer_does_not_come_is_in_doubt(tmp_path: Path) -> None:
    network = Network(2)
    network.mesh()
    network.place(1, "sell", 10, 100)
    network.run(1)
    network.lost.add("fill.request")
    taker = network.place(0, "buy", 4, 100)
    network.run(2)
    found = told(network, 0, taker.order_id, tmp_path)
    doubt = next(each for each in found.happenings if each.what == "in doubt")
    assert doubt.peer == network[1].key
    assert any("in doubt 0.0004" in each.text for each in found.happenings)


def test_the_command_tells_it_in_lines_and_as_json(tmp_path: Path) -> None:
    network = Network(1)
    live = network.place(0, "buy", 4, 100)
    path = str(tmp_path / "exchange.sqlite")
    copy(network.peers[0].database.connection, path)
    done = CliRunner().invoke(exchange, ["trace", live.order_id, str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "received" in done.output and "committed" in done.output
    done = CliRunner().invoke(exchange, ["--json", "trace", live.order_id, path])
    assert json.loads(done.output)["happenings"][0]["what"] == "received"
    done = CliRunner().invoke(exchange, ["trace", "00000000", path])
    assert done.exit_code == 3 and "knows no order 00000000" in done.output


@pytest.mark.parametrize("order", ["", "0", "%", "a' OR 1=1 --"])
def test_what_names_no_order_finds_none(order: str, tmp_path: Path) -> None:
    network = Network(1)
    network.place(0, "buy", 4, 100)
    path = str(tmp_path / "exchange.sqlite")
    copy(network.peers[0].database.connection, path)
    assert trace(path, order) is None
