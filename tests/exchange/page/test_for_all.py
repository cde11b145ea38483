"""The page for everybody: axe finds nothing serious, a phone shows it all."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.exchange.page.conftest import Peer, Screen, eventually
from tests.grape.test_command import GRAPE
from tests.interop.conftest import cache_folder, install
from tests.soak.daemons import free_port

pytestmark = pytest.mark.network

NODE = Path(__file__).parent / "node"
WEB = Path(__file__).parents[3] / "grenache_py/exchange/daemon/http_port/web"


@pytest.fixture(scope="session")
def axe() -> str:
    """The program axe-core, from npm."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed here, so there is no axe-core to judge the page")
    folder = cache_folder(NODE)
    install(folder, NODE)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


def trade(peer: Peer) -> None:
    for cents in range(1, 8):
        peer.place("buy", "0.5", f"{100 - cents / 100:.2f}")
        peer.place("sell", "0.5", f"{100 + cents / 100:.2f}")
    peer.place("buy", "0.7", "101")
    peer.place("sell", "0.7", "99")


def findings(screen: Screen, axe: str) -> list[str]:
    if not screen.run("return 'axe' in window"):
        screen.run(axe)
    found = screen.driver.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run({ resultTypes: ['violations'] }).then((report) => done("
        "report.violations.flatMap(({ id, impact, nodes }) => nodes.map((node) =>"
        " `${impact} ${id}: ${node.html.slice(0, 120)} ${node.failureSummary}`))))"
    )
    return [each for each in found if each.startswith(("serious", "critical"))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(peer: Peer, screen: Screen, axe: str, scheme: str) -> None:
    trade(peer)
    screen.colours(scheme)
    screen.open(peer)
    screen.emulate(
        "setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False
    )
    screen.shows("show-open", "Open (12)")
    screen.order("0.1", "98.005")
    screen.click("badge")
    assert findings(screen, axe) == []
    assert screen.run("return document.getAnimations()") == [], "nobody asked for motion"
    screen.run("document.getElementById('blue').click()")
    screen.click("show-fills")
    assert findings(screen, axe) == []
    screen.run("document.getElementById('help').showModal()")
    assert findings(screen, axe) == []
    screen.run("document.getElementById('help').close()")
    peer.freeze()
    screen.later(16)
    screen.shows("badge-word", "✕ Disconnected")
    assert findings(screen, axe) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_a_phone(
    peer: Peer, screen: Screen, axe: str, scheme: str
) -> None:
    trade(peer)
    screen.colours(scheme)
    screen.phone()
    screen.open(peer)
    for tab in ("chart", "book", "order", "trades", "mine"):
        screen.click(f"#tabs [value={tab}]")
        assert findings(screen, axe) == [], tab


def test_a_phone_shows_one_part_at_a_time_and_cancel_is_in_reach(
    peer: Peer, screen: Screen
) -> None:
    peer.place("buy", "0.5", "99")
    screen.phone()
    screen.open(peer)
    parts = {
        "chart": "candles",
        "book": "book",
        "order": "order-form",
        "trades": "trades-rows",
        "mine": "mine-rows",
    }
    for tab in parts:
        screen.click(f"#tabs [value={tab}]")
        seen = [name for name, part in parts.items() if screen.find(part).is_displayed()]
        assert seen == [tab]
        assert screen.run("return document.documentElement.scrollWidth") == 390, tab
        small = screen.run(
            "return [...document.querySelectorAll('button, select, input:not([type=checkbox])')]"
            ".filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 44)"
            ".map((one) => one.id || one.textContent)"
        )
        assert small == []
    # Rows are drawn anew while they are looked at.
    left, right, top = screen.run(
        "const at = document.querySelector('#mine-rows button').getBoundingClientRect();"
        "return [at.left, at.right, at.top]"
    )
    assert left >= 0 and right <= 390 and top < 844
    screen.click("#mine-rows button")
    eventually(lambda: peer.orders("open"), [])
    peer.place("sell", "0.5", "101")
    screen.click("#tabs [value=book]")
    eventually(lambda: screen.rows("bids"), [["Nobody buys here."]])
    screen.click("#asks td")
    assert screen.find("order-form").is_displayed()
    assert screen.find("price").get_property("value") == "101.00"


def test_every_width_fits(peer: Peer, screen: Screen) -> None:
    trade(peer)
    screen.open(peer)
    for width in (1440, 1280, 1000, 900, 640, 639, 390, 320):
        screen.emulate(
            "setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False
        )
        assert screen.run("return document.documentElement.scrollWidth") <= width, width


def test_a_grape_shows_how_it_is(screen: Screen, axe: str, tmp_path: Path) -> None:
    http, dht = str(free_port()), str(free_port())
    command = [*GRAPE, "-b", "127.0.0.1", "--dp", dht, "--aph", http]
    command += ["--state", str(tmp_path / "state")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as grape:
        try:
            eventually(lambda: serves(int(http)), True)
            screen.driver.get(f"http://127.0.0.1:{http}/")
            assert screen.find("main h1").text == "● Grape: ok"
            assert "contacts that answer" in screen.find("main table").text
            for scheme in ("light", "dark"):
                screen.colours(scheme)
                assert findings(screen, axe) == []
        finally:
            grape.kill()


def serves(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_policy_holds(peer: Peer, screen: Screen) -> None:
    """Nothing of the page needs what its policy forbids, and the policy does forbid."""
    screen.open(peer)
    assert screen.complaints() == []
    screen.run(
        "const made = document.createElement('script'); made.textContent = '1';"
        "document.body.append(made)"
    )
    assert any("Content Security Policy" in line for line in screen.complaints())


def test_the_modules_that_need_no_page(tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed here")
    for name in ("num.js", "book.js", "net.js"):
        shutil.copy(WEB / name, tmp_path)
    shutil.copy(NODE / "modules.test.js", tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    done = subprocess.run(
        ["node", "--test"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_own_code_is_small() -> None:
    assert sum(file.stat().st_size for file in WEB.iterdir() if file.is_file()) <= 61_440
