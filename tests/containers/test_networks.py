"""Peers in the networks of the guide's table: they find each other and trade."""

from __future__ import annotations

import re
from functools import partial

import pytest

from tests.containers.engine import Container, Engine, free_port, podman, until
from tests.containers.test_image import DAEMON

pytestmark = pytest.mark.slow

#: The client port at which a peer's own tool finds it, where that is not the usual one.
CONNECT = "127.0.0.1:7070"


def peer(engine: Engine, name: str, *options: str, command: str = "") -> Container:
    return engine.start(
        name, "--no-healthcheck", *options, command=(*DAEMON, "--dht", "20001", *command.split())
    )


def trade(seller: Container, buyer: Container, at: tuple[str, str] = (CONNECT, CONNECT)) -> None:
    """An order at one is seen at the other and taken there, and both know the trade."""
    sell, buy = (("exchange", "--connect", place) for place in at)
    seller.until("", *sell, "sell", "BTC-USD", "1.5", "@", "100")
    buyer.until("1.5", *buy, "book", "BTC-USD")
    assert "filled" in buyer.until("", *buy, "buy", "BTC-USD", "1.5", "@", "100")
    ids = [
        re.findall(r"\b[0-9a-f]{32}\b", container.until("1.5", *tool, "trades", "BTC-USD"))
        for container, tool in ((seller, sell), (buyer, buy))
    ]
    assert ids[0] == ids[1]
    for container, tool in ((seller, sell), (buyer, buy)):
        done = container.exec(*tool, "doubts")
        assert "No fill is in doubt" in done.stderr


def test_the_network_of_the_host(engine: Engine) -> None:
    places = []
    peers = []
    ring = ""
    for name in ("host-a", "host-b"):
        client, port, http, dht = (free_port() for _ in range(4))
        places.append(f"127.0.0.1:{client}")
        command = (
            f"--client tcp:{client}:interface=127.0.0.1 --http tcp:{http}:interface=127.0.0.1"
            f" --peer tcp:{port}:interface=127.0.0.1 --network hosts{engine.name}"
        )
        peers.append(
            engine.start(
                name,
                *("--no-healthcheck", "--network", "host"),
                command=(*DAEMON, *command.split(), "--dht", str(dht), *ring.split()),
            )
        )
        ring = f"--bn 127.0.0.1:{dht}"
    trade(*peers, at=(places[0], places[1]))


def test_two_bridges_joined_by_one_peer(engine: Engine) -> None:
    left, right = (engine.network(name, "--internal") for name in ("left", "right"))
    middle = peer(engine, "middle", "--network", f"{left},{right}")
    sides = [
        peer(engine, f"on-{name}", "--network", network, command=f"--bn {middle.name}:20001")
        for name, network in (("left", left), ("right", right))
    ]
    for side in sides:
        side.until("", "exchange", "peers")
    trade(*sides)


def test_peers_that_use_grapes_in_other_containers(engine: Engine) -> None:
    """A grape knows them by its own address; what they publish themselves leads to them."""
    network = engine.network("apart")
    ring = [f"{engine.name}-ring-{number}" for number in range(2)]
    grapes = [
        engine.start(
            *(f"ring-{number}", "--no-healthcheck", "--network", network),
            command=("grape", "--dp", "20001", "--aph", "30001", "--bn", f"{other}:20001"),
        )
        for number, other in enumerate(reversed(ring))
    ]
    for grape in grapes:
        grape.until("", "healthy")
    peers = []
    for number, at in enumerate(ring):
        name = f"{engine.name}-apart-{number}"
        command = (*DAEMON, "--grape", f"http://{at}:30001", "--advertise", f"{name}:7071")
        peers.append(
            engine.start(
                f"apart-{number}", "--no-healthcheck", "--network", network, command=command
            )
        )
    trade(*peers)
    silent = engine.start(
        *("apart-silent", "--no-healthcheck", "--network", network),
        command=(*DAEMON, "--grape", f"http://{ring[0]}:30001"),
    )
    said = until("what is wrong", partial(_wrong, silent, "not-reachable"))
    assert "--advertise HOST:PORT" in said


def test_a_published_port_is_reached_from_another_bridge(engine: Engine) -> None:
    """Each bridge hides its containers' addresses, as the networks of two hosts do."""
    one, two = engine.network("one"), engine.network("two")
    host = podman(
        "network", "inspect", "--format", "{{(index .Subnets 0).Gateway}}", one
    ).stdout.strip()
    port, dht = free_port(), free_port()
    command = f"--peer tcp:{port} --advertise {host}:{port} --network nat"
    published = engine.start(
        "published",
        *("--no-healthcheck", "--network", one),
        *("--publish", f"{port}:{port}", "--publish", f"{dht}:{dht}/udp"),
        command=(*DAEMON, *command.split(), "--dht", str(dht)),
    )
    caller = engine.start(
        "caller",
        *("--no-healthcheck", "--network", two),
        command=(*DAEMON, "--network", "nat", "--bn", f"{host}:{dht}"),
    )
    trade(published, caller)
    assert f"{host}:{port}" in caller.exec("exchange", "peers").stdout


def test_ipv6_alone(engine: Engine) -> None:
    network = engine.network("six", "--ipv6", "--subnet", "fd77:7071::/64")
    listening = ("--peer", r"tcp:7071:interface=\:\:")
    first = engine.start(
        "six-a", "--no-healthcheck", "--network", network, command=(*DAEMON, *listening)
    )
    settings = first.inspect("json .NetworkSettings.Networks")
    (address,) = re.findall(r'"GlobalIPv6Address":"([^"]+)"', settings)
    second = engine.start(
        *("six-b", "--no-healthcheck", "--network", network),
        command=(*DAEMON, *listening, "--connect", f"[{address}]:7071"),
    )
    trade(first, second)


def test_a_peer_made_anew_at_another_address(engine: Engine) -> None:
    network = engine.network("moved")
    first = peer(engine, "stays", "--network", network)
    data = ("--network", network, "--volume", f"{engine.name}-moves:/data")
    ring = f"--bn {first.name}:20001"
    second = peer(engine, "moves", *data, command=ring)
    trade(first, second)
    before = address_of(second)
    podman("rm", "--force", "--time", "0", second.name)
    peer(engine, "moved-squatter", "--network", network, "--ip", before)
    second = peer(engine, "moves", *data, command=ring)
    assert address_of(second) != before
    until("linked", partial(_is_linked, first, address_of(second)))
    trade(second, first)


def _wrong(container: Container, id: str) -> str | None:
    """What the doctor says in vain of an alarm."""
    done = container.exec("exchange", "--json", "doctor")
    return done.stdout if done.returncode == 1 and id in done.stdout else None


def address_of(container: Container) -> str:
    (address,) = set(
        re.findall(r'"IPAddress":"([\d.]+)"', container.inspect("json .NetworkSettings"))
    )
    return str(address)


def _is_linked(container: Container, address: str) -> bool:
    return address in container.exec("exchange", "peers").stdout
