"""
What Docker users trip over: the DHT stores the *announcing grape's* address.

This is docs/failure-modes.rst#f23. So a grape on the service's own host announces it, and then the
address is right: on plain hosts, and behind a NAT that forwards the ports.
"""

from __future__ import annotations

import json
import sys

import pytest

from tests.network.hosts import Host, Network

SERVICE_PORT, DHT_PORT, API_PORT = 7071, 20001, 30001
SERVICE = f":{SERVICE_PORT}"
ECHO = f"""
import socketserver, sys
class Answer(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(sys.argv[1].encode())
socketserver.TCPServer.allow_reuse_address = True
socketserver.TCPServer(("0.0.0.0", {SERVICE_PORT}), Answer).serve_forever()
"""
CONNECT = """
import socket, sys
host, _, port = sys.argv[1].rpartition(":")
print(socket.create_connection((host, int(port)), timeout=5).recv(99).decode())
"""
POST = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], sys.argv[2].encode(), timeout=5).read().decode())
"""
pytestmark = pytest.mark.network


def start_grape(host: Host, bootstrap: str) -> None:
    host.start(
        *("twistd", "-n", "--pidfile=", "grape", "--dp", str(DHT_PORT), "--aph", str(API_PORT)),
        *("--bn", f"{bootstrap}:{DHT_PORT}"),
    )


def post(host: Host, path: str, data: object, wanted: str) -> str:
    body = json.dumps({"rid": "1", "data": data})
    url = f"http://127.0.0.1:{API_PORT}{path}"
    return host.until(wanted, sys.executable, "-c", POST, url, body)


def serve_and_announce(host: Host, name: str) -> None:
    host.start(sys.executable, "-c", ECHO, f"this is {name}")
    post(host, "/announce", [name, SERVICE_PORT], "1")


def connect(host: Host, found: str, name: str, address: str) -> None:
    assert json.loads(found) == [f"{address}:{SERVICE_PORT}"]
    said = host.until(name, sys.executable, "-c", CONNECT, json.loads(found)[0])
    assert said == f"this is {name}\n"


def test_services_on_two_hosts_find_and_reach_each_other(network: Network) -> None:
    a, b = network.host("a", "10.77.0.2"), network.host("b", "10.77.0.3")
    start_grape(a, b.address)
    start_grape(b, a.address)
    serve_and_announce(a, "ours:a")
    serve_and_announce(b, "ours:b")
    connect(b, post(b, "/lookup", "ours:a", SERVICE), "ours:a", a.address)
    connect(a, post(a, "/lookup", "ours:b", SERVICE), "ours:b", b.address)


def test_a_service_behind_nat_is_found_at_its_public_address(nat_network: Network) -> None:
    a = nat_network.host("a", "10.77.0.2")
    b = nat_network.behind_nat(
        "b", "10.77.0.9", tcp={SERVICE_PORT: SERVICE_PORT}, udp={DHT_PORT: DHT_PORT}
    )
    start_grape(a, "10.77.0.9")
    start_grape(b, a.address)
    serve_and_announce(b, "ours:b")
    connect(a, post(a, "/lookup", "ours:b", SERVICE), "ours:b", "10.77.0.9")


def test_announcing_through_another_hosts_grape_announces_that_host(network: Network) -> None:
    # Not what anybody wants: it is why a grape should run beside the service.
    a, b = network.host("a", "10.77.0.2"), network.host("b", "10.77.0.3")
    start_grape(a, b.address)
    start_grape(b, a.address)
    body = json.dumps({"rid": "1", "data": ["ours:b", SERVICE_PORT]})
    b.until("1", sys.executable, "-c", POST, f"http://{a.address}:{API_PORT}/announce", body)
    assert json.loads(post(b, "/lookup", "ours:b", SERVICE)) == [f"{a.address}:{SERVICE_PORT}"]
