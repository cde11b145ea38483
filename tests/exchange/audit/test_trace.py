"""The life of one order, as its home and the homes it traded with can tell it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner
from twisted.logger import LogLevel

from grenache_py.exchange.audit.happenings import Trace
from grenache_py.exchange.audit.trace import trace
from grenache_py.exchange.audit.trace_log import with_log
from grenache_py.exchange.cli.commands import exchange
from grenache_py.exchange.storage.copies import copy
from grenache_py.log_lines import json_line, text_line
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


def line(time_ms: int, level: str, message: str, form: str, **fields: str) -> str:
    """One event as a daemon writes it."""
    event: dict[str, Any] = {
        "log_time": time_ms / 1000,
        "log_level": LogLevel.levelWithName(level),
        "log_namespace": "grenache_py.exchange.node",
        "log_format": message,
        **fields,
    }
    return json_line(event) if form == "json" else f"<4>peer-a | {text_line(event)}"


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_log_tells_what_was_said_of_those_it_had_to_do_with_and_what_was_wrong(
    form: str, tmp_path: Path
) -> None:
    network = Network(3)
    network.mesh()
    network.place(1, "sell", 10, 100)
    network.run(1)
    taker = network.place(0, "buy", 4, 100)
    network.run(3)
    found = told(network, 0, taker.order_id, tmp_path)
    began, ended = found.happenings[0].time, found.happenings[-1].time
    maker, other = network[1].key[:8], network[2].key[:8]
    lines = [
        line(began - 90_000, "error", f"too early, of {maker}", form),
        line(began - 1, "info", "linked to peer {peer}", form, peer=maker),
        line(began, "info", "linked to peer {peer}", form, peer=other),
        line(began + 1, "warn", "the disk is slow", form),
        line(ended + 2, "debug", "order {order} is slow", form, order=taker.order_id),
        line(ended + 61_000, "info", "no link to peer {peer} any more", form, peer=maker),
        "what a shell said",
        "{}",
        '{"time": 5}',
    ]
    said = [each for each in with_log(found, lines).happenings if each.what == "log"]
    assert [(each.time, each.text) for each in said] == [
        (began - 1, f"info: linked to peer {maker}"),
        (began + 1, "warn: the disk is slow"),
        (ended + 2, f"debug: order {taker.order_id} is slow"),
    ]

    doubt = attrs.evolve(found.happenings[-1], what="in doubt")
    waiting = attrs.evolve(found, happenings=[*found.happenings, doubt])
    assert with_log(waiting, lines).happenings[-1].text.startswith("info: no link to peer")

    path = str(tmp_path / "exchange.sqlite")
    copy(network.peers[0].database.connection, path)
    done = CliRunner().invoke(
        exchange, ["trace", taker.order_id, path, "--log", "-"], input="\n".join(lines)
    )
    assert done.exit_code == 0 and "log" in done.output and "the disk is slow" in done.output
    assert done.output.index("linked to peer") < done.output.index("received")


@pytest.mark.parametrize("order", ["", "0", "%", "a' OR 1=1 --"])
def test_what_names_no_order_finds_none(order: str, tmp_path: Path) -> None:
    network = Network(1)
    network.place(0, "buy", 4, 100)
    path = str(tmp_path / "exchange.sqlite")
    copy(network.peers[0].database.connection, path)
    assert trace(path, order) is None
