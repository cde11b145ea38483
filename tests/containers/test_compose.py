"""The compose file for real, and the guide's commands for the host."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.sync.client import connect

from grenache_py.exchange.cli.tool import EXIT_NOT_ALLOWED
from tests.containers.engine import (
    DEADLINE_S,
    ROOT,
    Container,
    Engine,
    free_port,
    limits,
    podman,
    until,
)

GUIDE = (ROOT / "docs" / "containers.rst").read_text()
SCRIPTS = sysconfig.get_path("scripts")
GRAPES = ("grape-1", "grape-2", "grape-3")
#: The ports of the host where their clients come in.
PORTS = {"peer-a": "7070", "peer-b": "7170", "peer-c": "7270"}
PEERS = tuple(PORTS)
CROSS = ("sell BTC-USD 0.5 @ 90", "buy BTC-USD 0.5 @ 90")


def commands(name: str) -> list[str]:
    """The commands between two marks of the guide."""
    (block,) = re.findall(rf"(?s)\.\. begin {name}\n(.*?)\.\. end {name}\n", GUIDE)
    block = re.sub(r" \\\n +", " ", block)  # a command on two lines
    return [line.strip() for line in block.splitlines() if line.startswith("    ")]


class Picture:
    """What ``compose up`` makes, with free ports in the place of the file's."""

    def __init__(
        self, engine: Engine, folder: Path, place: str = "etc/container", **images: str
    ) -> None:
        """
        Args:
            images: those of this run, by the name that the file has for them.
        """
        self.engine = engine
        self.folder = folder
        self.name = f"{engine.name}-{Path(place).name}"
        self._images = {"grenache-py": engine.image} | images
        shutil.copytree(ROOT / "etc", folder / "etc", ignore=shutil.ignore_patterns("secrets"))
        subprocess.run(["sh", folder / place / "make-secrets"], check=True, timeout=30)
        self.secrets = folder / place / "secrets"
        self.file = folder / place / "compose.yaml"
        self.ports: dict[str, str] = {}
        self.file.write_text(yaml.safe_dump(self._fitted(yaml.safe_load(self.file.read_text()))))
        self.up()

    def _fitted(self, compose: dict[str, Any]) -> dict[str, Any]:
        """Our image, free ports, limits that may be set here, and only images that are there."""
        compose["name"] = self.name
        for name, service in list(compose["services"].items()):
            if "build" not in service:
                if podman("image", "exists", service["image"], check=False).returncode:
                    image = self.stand_in(name)
                    if image is None:
                        del compose["services"][name]
                        continue
                    service["image"] = image
            else:
                service["image"] = self._images[service["image"]]
                del service["build"]
            service["ulimits"] = limits()
            service["ports"] = [self._moved(port) for port in service.get("ports", ())]
        return compose

    def stand_in(self, name: str) -> str | None:
        """An image in the place of one that no registry here has; Grafana has none."""
        if name != "prometheus":
            return None
        folder = self.folder / name
        folder.mkdir()
        return self.engine.prometheus(folder)

    def _moved(self, port: str) -> str:
        *interface, outside, inside = port.split(":")
        self.ports[outside] = str(free_port())
        return ":".join([*interface, self.ports[outside], inside])

    def compose(self, *words: str) -> None:
        done = subprocess.run(
            [f"{SCRIPTS}/podman-compose", "-f", self.file, *words],
            capture_output=True,
            text=True,
            timeout=3 * DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def up(self) -> None:
        self.compose("up", "--detach", "--no-build")

    def __getitem__(self, name: str) -> Container:
        return Container(f"{self.name}_{name}_1")

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the guide on this machine."""
        command = re.sub(r"(?<=127\.0\.0\.1:)\d+", lambda found: self.ports[found.group()], command)
        return subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env={
                "PATH": f"{SCRIPTS}:{os.environ['PATH']}",
                "EXCHANGE_CONNECT": f"127.0.0.1:{self.ports['7070']}",
                "EXCHANGE_TOKEN": (self.secrets / "trader.token").read_text(),
            },
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def until(self, wanted: str, command: str) -> str:
        """Run a command of the guide until it says ``wanted``."""

        def look() -> str | None:
            done = self.shell(command)
            said.append(done.stdout + done.stderr)
            return done.stdout if done.returncode == 0 and wanted in done.stdout else None

        said: list[str] = []
        try:
            return until(command, look)
        except pytest.fail.Exception as failed:
            pytest.fail(f"{failed}; the last time it said {said[-1]}")

    def at(self, peer: str, words: str) -> str:
        """What the tool on this machine says to a peer's published port."""
        done = self.shell(f"exchange --connect 127.0.0.1:{PORTS[peer]} {words}")
        return done.stdout if done.returncode == 0 else ""

    def linked(self, *peers: str, to: int = 2) -> None:
        for peer in peers:
            until(f"{peer} has {to} links", partial(self._has_links, peer, to))

    def _has_links(self, peer: str, links: int) -> bool:
        return re.search(rf"(?m)^links +{links}$", self.at(peer, "status")) is not None

    def trade(self, seller: str, buyer: str) -> None:
        """An order at one peer is seen at another, and taken there."""
        sell, buy = CROSS
        until(f"{seller} serves", lambda: self.at(seller, sell))
        until(f"{buyer} sees it", lambda: "90" in self.at(buyer, "book BTC-USD"))
        assert "filled" in self.at(buyer, buy)
        until("nobody has any left", lambda: "90" not in self.at(seller, "book BTC-USD"))


@pytest.fixture(scope="module")
def picture(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Picture:
    if not Path(SCRIPTS, "podman-compose").exists():
        pytest.skip("needs podman-compose")
    return Picture(engine, tmp_path_factory.mktemp("compose"))


@pytest.fixture
def whole(picture: Picture) -> Iterator[Picture]:
    """The picture for tests that take something away, which is put back."""
    picture.linked(*PEERS)
    yield picture
    picture.up()


def test_every_container_becomes_healthy(picture: Picture) -> None:
    for name in GRAPES + PEERS:
        picture[name].until("", "healthy")
    picture.linked(*PEERS)


def test_the_guides_commands_for_the_host_work(picture: Picture) -> None:
    _, sell, book, buy, trades, peers, health = commands("host")
    picture.until("", sell)
    picture.until("1.5", book)
    assert "filled" in picture.until("", buy)
    picture.until("1.5", trades)
    picture.until("", peers)
    assert json.loads(picture.until("", health))["ok"]


@pytest.mark.slow
@pytest.mark.parametrize("peer", PEERS)
def test_the_doctor_is_content_with_a_peer(picture: Picture, peer: str) -> None:
    """In its container, and on the host, where the container's name has no address."""
    token = (picture.secrets / "trader.token").read_text()
    picture[peer].until("reachable", "env", f"EXCHANGE_TOKEN={token}", "exchange", "doctor")
    picture.until("reachable", f"exchange --connect 127.0.0.1:{PORTS[peer]} doctor")


@pytest.mark.slow
def test_without_a_token_nothing_is_shown(picture: Picture) -> None:
    done = picture.shell("unset EXCHANGE_TOKEN; exchange book BTC-USD")
    assert done.returncode == EXIT_NOT_ALLOWED and "--token-file" in done.stderr


def test_the_page_of_a_peer_trades_from_the_host(picture: Picture) -> None:
    port = picture.ports["7080"]
    assert "<!doctype html>" in picture.shell("curl -sf http://127.0.0.1:7080/").stdout
    origin: Any = f"http://127.0.0.1:{port}"
    with connect(f"ws://127.0.0.1:{port}/ws", origin=origin) as page:

        def call(method: str, **params: str) -> dict[str, Any]:
            page.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
            answer: dict[str, Any] = json.loads(page.recv(DEADLINE_S))
            return answer

        assert call("hello", client="page")["result"]["token_needed"]
        token = (picture.secrets / "trader.token").read_text()
        assert "trade" in call("hello", client="page", token=token)["result"]["scopes"]
        order = {"market": "BTC-USD", "side": "sell", "type": "limit"}
        placed = call("order.place", **order, quantity="0.25", price="95")["result"]
    until("the order", lambda: "0.25" in picture.at("peer-c", "book BTC-USD"))
    assert picture.at("peer-a", f"cancel {placed['order_id']}")


@pytest.mark.slow
def test_prometheus_can_read_every_container(picture: Picture) -> None:
    jobs = yaml.safe_load((ROOT / "etc/container/prometheus.yml").read_text())["scrape_configs"]
    for job in jobs:
        for target in job["static_configs"][0]["targets"]:
            read = f"import urllib.request as u; print(u.urlopen('http://{target}/metrics').read())"
            picture["peer-b"].until(f"{job['job_name']}_", "python3", "-c", read)


@pytest.mark.slow
def test_the_prometheus_of_the_compose_file_reads_them_all_and_knows_the_rules(
    picture: Picture,
) -> None:
    if "9090" not in picture.ports:
        pytest.skip("no registry is reached, and this machine has no prometheus")
    api = "http://127.0.0.1:9090/api/v1"

    def up() -> list[str]:
        answer = json.loads(picture.until("success", f"curl -sf '{api}/query?query=up'"))
        found = answer["data"]["result"]
        return sorted(each["metric"]["instance"] for each in found if each["value"][1] == "1")

    wanted = [f"{name}:30001" for name in GRAPES] + [f"{name}:7080" for name in PEERS]
    until("every container is read", lambda: up() == wanted)
    rules = json.loads(picture.until("success", f"curl -sf {api}/rules"))
    assert {group["name"] for group in rules["data"]["groups"]} == {"grape", "exchange"}


@pytest.mark.slow
@pytest.mark.parametrize("grape", GRAPES)
def test_the_death_of_a_grape_stops_nobody(whole: Picture, grape: str) -> None:
    podman("kill", whole[grape].name)
    whole.trade("peer-a", "peer-c")
    podman("restart", whole["peer-b"].name)
    whole.linked("peer-b")


@pytest.mark.slow
def test_a_peer_that_is_killed_comes_back_with_its_orders(whole: Picture) -> None:
    until("serves", lambda: whole.at("peer-b", "sell BTC-USD 0.75 @ 110"))
    podman("kill", whole["peer-b"].name)
    podman("start", whole["peer-b"].name)
    until("the order", lambda: "0.75" in whole.at("peer-b", "book BTC-USD"))
    whole.linked(*PEERS)


@pytest.mark.slow
def test_a_peer_that_was_cut_off_finds_its_way_back(whole: Picture) -> None:
    network = f"{whole.name}_default"
    podman("network", "disconnect", network, whole["peer-b"].name)
    whole.linked("peer-a", to=1)
    podman("network", "connect", "--alias", "peer-b", network, whole["peer-b"].name)
    whole.linked("peer-a")


@pytest.mark.slow
def test_a_peer_that_is_made_anew_at_another_address_is_found_again(whole: Picture) -> None:
    addresses = ".NetworkSettings.Networks"
    before = whole["peer-c"].inspect(addresses)
    podman("rm", "--force", "--time", "0", whole["peer-c"].name)
    network = f"{whole.name}_default"
    whole.engine.start("squatter", "--network", network, "--no-healthcheck")  # takes the address
    whole.up()
    assert whole["peer-c"].inspect(addresses) != before
    whole.linked(*PEERS)
    whole.trade("peer-c", "peer-a")


def test_every_container_stops_at_once_and_well(picture: Picture) -> None:
    for name in PEERS + GRAPES:
        assert picture[name].stop() == 0, picture[name].log()
