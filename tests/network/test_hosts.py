"""The fixture itself: addresses, routes and NAT as the other tests assume."""

from __future__ import annotations

import sys

import pytest

from tests.network.hosts import Network

WHO_CALLS = """
import socket
s = socket.create_server(("0.0.0.0", 7071))
while True:
    c, address = s.accept()
    c.sendall(address[0].encode())
    c.close()
"""
ASK = """
import socket, sys
print(socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2).recv(99).decode())
"""
pytestmark = pytest.mark.network


def test_nat_hides_the_host_and_forwards_its_port(nat_network: Network) -> None:
    outside = nat_network.host("a", "10.77.0.2")
    inside = nat_network.behind_nat("b", "10.77.0.9", tcp={17071: 7071}, udp={})
    outside.start(sys.executable, "-c", WHO_CALLS)
    inside.start(sys.executable, "-c", WHO_CALLS)
    assert inside.until(".", sys.executable, "-c", ASK, outside.address, "7071") == "10.77.0.9\n"
    assert outside.until(".", sys.executable, "-c", ASK, "10.77.0.9", "17071") == "10.77.0.2\n"
    assert outside.ask(sys.executable, "-c", ASK, inside.address, "7071").returncode != 0


def test_a_cable_taken_out_and_a_parted_switch_cut_hosts_off(network: Network) -> None:
    hosts = [network.host(name, f"10.77.0.{n}") for n, name in enumerate("abc", start=2)]
    for host in hosts:
        host.start(sys.executable, "-c", WHO_CALLS)

    def ask(target: int) -> tuple[str, ...]:
        return sys.executable, "-c", ASK, hosts[target].address, "7071"

    def reached(source: int, target: int) -> str:
        return hosts[source].until(".", *ask(target))

    def cut(source: int, target: int) -> bool:
        return hosts[source].ask(*ask(target)).returncode != 0

    assert reached(0, 1)
    network.unplug(hosts[1])
    assert cut(0, 1)
    network.plug(hosts[1])
    network.part(hosts[1:])
    assert reached(1, 2)
    assert cut(0, 2)
    network.join(hosts[1:])
    assert reached(0, 2)
