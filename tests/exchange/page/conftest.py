"""
The page in a real Chromium, in front of real daemons.

``screen`` is one tab; what it writes to its console fails the test. ``peer`` is one daemon for all
tests, and in each test a market of its own. Where there is no Chromium the tests are skipped, and
say so.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.remote.webelement import WebElement

from tests.soak.daemons import MARKET, MARKET_STEPS, Daemon, free_port

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
DEADLINE_S = 60
#: Each test that shares a daemon takes one.
MARKETS = [f"BTC-{number}" for number in range(1, 65)]
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--window-size=1440,1000",
)  # fmt: skip
#: What a test may do with the lines of the peer, and with the clock: `Screen.meddle` and `later`.
MEDDLING = """
const now = performance.now.bind(performance);
window.ahead = 0;
performance.now = () => now() + window.ahead;
const Real = window.WebSocket;
window.sent = [];
window.WebSocket = class extends Real {
  send(text) {
    window.sent.push(JSON.parse(text).method);
    super.send(text);
  }
  set onmessage(listener) {
    let status = null;
    const tell = (message) => {
      const told = window.meddle ? window.meddle(message, this) : message;
      if (told) listener({ data: JSON.stringify(told) });
    };
    window.tellStatus = () => tell({ method: "status.update", params: { ...status } });
    super.onmessage = listener && ((event) => {
      const message = JSON.parse(event.data);
      if (message.method === "status.update") status = { ...message.params };
      else if (message.result?.status?.uptime_s >= 0) status = { ...message.result.status };
      tell(message);
    });
  }
};
"""
#: A server that is away is what some tests are about.
OF_A_LOST_LINE = ("WebSocket connection to", "net::ERR_")


def eventually(look: Callable[[], Any], wanted: Any) -> None:
    """Fail if ``look`` does not return ``wanted`` before the deadline."""
    give_up = time.monotonic() + DEADLINE_S
    while (seen := look()) != wanted:
        assert time.monotonic() < give_up, f"{seen!r} is not {wanted!r}"
        time.sleep(0.02)


class Peer(Daemon):
    """
    A daemon with a page.

    Attributes:
        market: the one that the test is about.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        self.market = MARKET
        self.http = f"127.0.0.1:{free_port()}"
        port = self.http.rpartition(":")[2]
        super().__init__(directory, "--http", f"tcp:{port}:interface=127.0.0.1", *options)

    def place(self, side: str, quantity: str, price: str, **more: Any) -> Any:
        with self.client() as client:
            return client.call(
                "order.place", market=self.market, side=side, quantity=quantity, price=price, **more
            )

    def cancel(self, price: str) -> None:
        """Cancel the order that stands at ``price``."""
        [order] = [each for each in self.orders("open") if each["price"] == price]
        with self.client() as client:
            client.call("order.cancel", order_id=order["order_id"])

    def orders(self, status: str = "all") -> list[dict[str, Any]]:
        with self.client() as client:
            found: list[dict[str, Any]] = client.call(
                "order.list", status=status, market=self.market
            )["orders"]
            return found


class Screen:
    """One tab, as a person uses it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, peer: Peer, badge: str = "◐ Alone") -> None:
        """Show the page of ``peer`` at its market, and wait for this badge and for the book."""
        self.driver.get(f"http://{peer.http}/alarms")  # of the same origin
        self.run(
            "sessionStorage.clear(); localStorage.clear(); localStorage.market = arguments[0]",
            peer.market,
        )
        self.driver.get(f"http://{peer.http}/")
        self.shows("badge-word", badge)
        if badge != "◌ Token needed":
            ready = "(form.hidden || buy.ariaDisabled === 'false') && row && row.innerText !== wait"
            eventually(
                lambda: self.run(
                    "const [form, buy, row] = arguments[0].map((each) =>"
                    f" document.querySelector(each)); const wait = arguments[1]; return {ready}",
                    ["#order-form", "#buy", "#bids tr"], "The book is being read.",
                ),
                True,
            )  # fmt: skip

    def run(self, script: str, *values: Any) -> Any:
        return self.driver.execute_script(script, *values)

    def find(self, name: str) -> WebElement:
        """The element with this id, or the first that this selector finds."""
        selector = name if set(name) & set(" [.#>") else f"#{name}"
        return self.driver.find_element("css selector", selector)

    def text(self, name: str) -> str:
        return self.run("return document.getElementById(arguments[0]).textContent", name) or ""

    def shows(self, name: str, text: str) -> None:
        """Wait until the element says exactly ``text``."""
        eventually(lambda: self.text(name), text)

    def says(self, name: str, part: str) -> str:
        """Wait until the element says ``part``, among other things, and return it all."""
        eventually(lambda: part in self.text(name) or self.text(name), True)
        return self.text(name)

    def rows(self, body: str) -> list[list[str]]:
        found: list[list[str]] = self.run(
            "return [...document.getElementById(arguments[0]).rows]"
            ".map((row) => [...row.cells].map((cell) => cell.textContent))",
            body,
        )
        return found

    def click(self, name: str) -> None:
        self.find(name).click()

    def type(self, name: str, text: str) -> None:
        field = self.find(name)
        field.clear()
        field.send_keys(text)

    def choose(self, name: str, value: str) -> None:
        self.run(
            "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
            "field.dispatchEvent(new Event('input', { bubbles: true }));"
            "field.dispatchEvent(new Event('change', { bubbles: true }));",
            name, value,
        )  # fmt: skip

    def order(self, quantity: str, price: str = "") -> None:
        """Fill the form in."""
        self.type("quantity", quantity)
        if price:
            self.type("price", price)

    @property
    def act(self) -> ActionChains:
        return ActionChains(self.driver, duration=0)

    def meddle(self, body: str) -> None:
        """Have a JavaScript function of (message, socket) say what the page is told of it."""
        self.run(f"window.meddle = (message, socket) => {{ {body} }}")

    def status(self, members: str) -> None:
        """Have the page believe that the peer's status has these members, in JavaScript."""
        change = f"Object.assign(message.params, {{ {members} }})"
        self.meddle(f"if (message.method === 'status.update') {change}; return message;")
        self.run("window.tellStatus()")

    def later(self, seconds: float) -> None:
        """The page's clock goes on by so much."""
        self.run("window.ahead += 1000 * arguments[0]", seconds)

    def complaints(self) -> list[str]:
        """What the browser wrote to its console, but for lost lines."""
        lines = [entry["message"] for entry in self.driver.get_log("browser")]
        return [line for line in lines if not any(each in line for each in OF_A_LOST_LINE)]

    def emulate(self, command: str, **values: Any) -> None:
        self.driver.execute_cdp_cmd(f"Emulation.{command}", values)

    def phone(self) -> None:
        """Be 390 px wide, until the test ends."""
        self.emulate(
            "setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True
        )

    def colours(self, scheme: str) -> None:
        self.emulate(
            "setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
        )


@pytest.fixture(scope="session")
def driver() -> Iterator[webdriver.Chrome]:
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs Debian's chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(DRIVER))
    started.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": MEDDLING})
    yield started
    started.quit()


@pytest.fixture
def screen(driver: webdriver.Chrome) -> Iterator[Screen]:
    driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": 0, "y": 0})
    yield Screen(driver)
    complaints = Screen(driver).complaints()
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    driver.get("about:blank")
    driver.get_log("browser")
    assert not complaints


@pytest.fixture
def peers(tmp_path: Path, driver: webdriver.Chrome) -> Iterator[Callable[..., Peer]]:
    """Start a peer with these options, whose `wait` is to be called; each ends with the test."""
    started: list[Peer] = []

    def start(*options: str) -> Peer:
        peer = Peer(tmp_path / f"peer{len(started)}", *(options or ("--http-trading",)))
        started.append(peer)
        peer.start()
        return peer

    yield start
    for peer in started:
        peer.thaw()
        peer.kill()


@pytest.fixture(scope="session")
def shared(
    tmp_path_factory: pytest.TempPathFactory, driver: webdriver.Chrome
) -> Iterator[tuple[Peer, Iterator[str]]]:
    """The daemon that most tests use, and markets of it that no test has used."""
    markets = [f"--market={market}:{MARKET_STEPS}" for market in MARKETS]
    peer = Peer(
        tmp_path_factory.mktemp("page"), "--http-trading", "--market=ETH-USD:tick=0.5,lot=0.01",
        *markets,
    )  # fmt: skip
    peer.start()
    peer.wait()
    yield peer, iter(MARKETS)
    peer.kill()


@pytest.fixture
def peer(shared: tuple[Peer, Iterator[str]]) -> Iterator[Peer]:
    """One that anybody who sees the page may trade at, with an empty market."""
    peer, markets = shared
    peer.market = next(markets)
    yield peer
    peer.thaw()
    if peer.process is None:
        peer.start()
        peer.wait()
