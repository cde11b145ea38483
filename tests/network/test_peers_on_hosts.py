"""
Exchange peers with grapes inside, on hosts of their own: they find each other and trade.

Shows docs/failure-modes.rst#f23. First with the very commands of ``etc/container/compose.yaml``;
then behind NAT, where the address to advertise is not the one the peer has.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.network.hosts import Host, Network

CONTAINER = Path(__file__).parent.parent.parent / "etc" / "container"
DAEMON = ("twistd", "-n", "--pidfile=")
MARKET = "BTC-USD"
LINES = """
import socket, sys
stream = socket.create_connection(("127.0.0.1", 7070), timeout=10).makefile("rw")
stream.write(sys.argv[1] + "\\n")
stream.flush()
print(stream.readline())
"""
POST = """
import sys, urllib.request
url = "http://127.0.0.1:" + sys.argv[1]
print(urllib.request.urlopen(url, sys.argv[2].encode(), timeout=5).read().decode())
"""
pytestmark = pytest.mark.network


def call(host: Host, method: str, wanted: str = "result", **params: object) -> Any:
    """Ask the peer on ``host`` until its answer contains ``wanted``."""
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer = host.until(wanted, sys.executable, "-c", LINES, json.dumps(request))
    return json.loads(answer)["result"]


def trade_between(seller: Host, buyer: Host) -> None:
    """Place crossing orders at two peers and see the same trade at both."""
    order = {"market": MARKET, "type": "limit", "quantity": "1.5", "price": "100"}
    call(seller, "order.place", side="sell", **order)
    call(buyer, "book.get", "1.5", market=MARKET)
    call(buyer, "order.place", side="buy", **order)
    trades = [call(host, "trades.list", "trade_id", market=MARKET) for host in (seller, buyer)]
    assert len({json.dumps(ids(each)) for each in trades}) == 1


def ids(trades: Any) -> list[str]:
    return [trade["trade_id"] for trade in trades["trades"]]


def test_the_compose_file_makes_peers_that_find_each_other_and_trade(network: Network) -> None:
    services = yaml.safe_load((CONTAINER / "compose.yaml").read_text())["services"]
    services = {name: service for name, service in services.items() if "build" in service}
    hosts = {
        name: network.host(name, f"10.77.0.{number}")
        for number, name in enumerate(services, start=2)
    }
    network.name_hosts(hosts)
    for name, service in services.items():
        folder = str(hosts[name].folder)
        command = " ".join([*service["entrypoint"], *service.get("command", ())])
        command = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", command)
        command = command.replace("--tokens /run/secrets/tokens", f"--data {folder}")
        command = command.replace("/etc/grenache/", f"{CONTAINER}/").replace("/data/", f"{folder}/")
        hosts[name].start(*command.split())
    peers = {name: host for name, host in hosts.items() if name.startswith("peer")}
    a, b, _ = peers.values()
    trade_between(a, b)
    for host in hosts.values():
        host.until("", sys.executable, str(CONTAINER / "healthy"))

    # What any Grenache client finds, at a grape that no peer asks over HTTP.
    body = json.dumps({"rid": "1", "data": "exchange:demo"})
    for peer in peers.values():  # each announces itself when its grape has met another
        found = hosts["grape-1"].until(
            f'"{peer.address}:7071"', sys.executable, "-c", POST, "30001/lookup", body
        )
    assert len(json.loads(found)) == len(peers)


def start_peer(host: Host, *options: str) -> None:
    host.start(
        *DAEMON,
        *("exchange", "--data", str(host.folder / "data"), "--peer", "tcp:7071", *options),
    )


def test_a_peer_behind_nat_is_reached_at_the_address_it_advertises(nat_network: Network) -> None:
    a = nat_network.host("a", "10.77.0.2")
    b = nat_network.behind_nat("b", "10.77.0.9", tcp={17071: 7071}, udp={20001: 20001})
    c = nat_network.host("c", "10.77.0.3")
    start_peer(a, "--dht", "20001")
    start_peer(b, "--dht", "20001", "--bn", "10.77.0.2:20001", "--advertise", "10.77.0.9:17071")
    call(b, "peers.list", "10.77.0.2")
    # It knows nothing but the first peer, which passes on what the second one proved.
    start_peer(c, "--dht", "0", "--connect", "10.77.0.2:7071")
    call(c, "peers.list", "10.77.0.9:17071")
    trade_between(b, c)
