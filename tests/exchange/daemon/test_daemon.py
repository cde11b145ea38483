"""The daemon and the tool as processes: start, refuse to start, kill -9, stop, sockets, clients."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from grenache_py.trading.errors import Unavailable
from tests.support.wire_client import AWAY, WireClient

pytestmark = pytest.mark.network

DEADLINE_S = 120.0


class Daemon:
    """One ``twistd exchange`` with its data in a folder, on free ports and a UNIX socket."""

    def __init__(self, folder: Path, *options: str, client: str | None = None) -> None:
        self.folder = folder
        self.path = str(folder / "client.sock")
        self.log = folder / "log"
        self.options = (
            "--data", str(folder / "data"),
            "--client", client or "tcp:0:interface=127.0.0.1", "--client", f"unix:{self.path}",
            "--peer", "tcp:0:interface=127.0.0.1", "--http", "tcp:0:interface=127.0.0.1", *options,
        )  # fmt: skip
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "twisted", "exchange", *self.options],
                cwd=self.folder, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + DEADLINE_S
        try:
            while not self.serves():
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.05)
        except BaseException:
            self.kill()
            raise

    def serves(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.call("status")["store"] != "is being opened")
        except AWAY:
            return False

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def client(self) -> WireClient:
        return WireClient(self.path)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(DEADLINE_S)

    def memory_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def address(self, port: str = "client") -> tuple[str, int]:
        with self.client() as client:
            host, _, number = client.call("status")["listen"][port][0].rpartition(":")
        return host, int(number)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("daemon")) as running:
        yield running


def place(client: WireClient, side: str, price: str, **more: Any) -> Any:
    order = {"market": "BTC-USD", "side": side, "quantity": "1", "price": price}
    return client.call("order.place", **(order | more))


def placed(client: WireClient, side: str, price: str, **more: Any) -> Any:
    """`place`, with a daemon that may have to look first whether it serves still."""
    ends = time.monotonic() + DEADLINE_S
    while True:
        try:
            return place(client, side, price, **more)
        except Unavailable:
            if time.monotonic() > ends:
                raise


def test_everything_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        with daemon.client() as client:
            peer = client.call("hello")["peer"]
            kept = [place(client, "buy", f"{90 + n}", client_order_id=f"c{n}") for n in range(5)]
            place(client, "sell", "94")
            client.call("order.cancel", client_order_id="c0")
            book = client.call("book.get", market="BTC-USD")
            trades = client.call("trades.list", market="BTC-USD")
            last = client.call("orders.subscribe")["seq"]
        key = (tmp_path / "data" / "identity.key").read_text()
        daemon.kill()
        daemon.start()
        with daemon.client() as client:
            assert client.call("hello")["peer"] == peer
            after = client.call("book.get", market="BTC-USD")
            assert {**after, "seq": 0} == {**book, "seq": 0}
            assert client.call("trades.list", market="BTC-USD") == trades
            again = place(client, "buy", "92", client_order_id="c2")
            assert again["order_id"] == kept[2]["order_id"], "not placed twice"
            assert client.call("orders.subscribe", from_seq=last)["seq"] == last
            statuses = [
                client.call("order.get", client_order_id=f"c{n}")["status"] for n in range(5)
            ]
            assert statuses == ["cancelled", "new", "new", "new", "filled"]
        assert (tmp_path / "data" / "identity.key").read_text() == key
        assert (tmp_path / "data" / "identity.key").stat().st_mode & 0o777 == 0o600


def test_sigterm_ends_it_soon_and_cleanly(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon, socket.create_connection(daemon.address()) as idle:
        idle.sendall(b"ping\n")
        assert b"result" in idle.recv(1000)
        began = time.monotonic()
        assert daemon.stop() in (0, -signal.SIGTERM)
        assert time.monotonic() - began < 10
        assert idle.recv(1) == b""
    log = daemon.log.read_text()
    assert "Traceback" not in log and "critical" not in log


PORTS = ("--client", "none", "--http", "none", "--peer", "none")


def start_in_vain(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start a daemon that cannot start."""
    return subprocess.Popen(
        [sys.executable, "-m", "twisted", "exchange", *PORTS, *options],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def refusal(process: subprocess.Popen[str]) -> str:
    """The one line that such a daemon says."""
    _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1, stderr
    said = [line for line in stderr.splitlines() if line.startswith("exchange: ")]
    assert len(said) == 1, stderr
    assert "Traceback" not in stderr
    return said[0]


def test_what_cannot_start_says_why_in_one_line(tmp_path: Path, daemon: Daemon) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "bad.toml").write_text("colour = 1\n")
    (tmp_path / "tokens").write_text('[[token]]\ntoken = "0123456789abcdef"\nscopes = ["read"]\n')
    (tmp_path / "tokens").chmod(0o644)
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "identity.key").write_text("00" * 32)
    (tmp_path / "open" / "identity.key").chmod(0o644)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cases = {
            "Not a directory": ("--data", "file/data"),
            f"cannot listen on 127.0.0.1:{port}: Address already in use": (
                "--peer", f"tcp:{port}:interface=127.0.0.1",
            ),
            "market 'BTC': tick is missing": ("--market", "BTC"),
            "client endpoint 'nonsense:1'": ("--client", "nonsense:1"),
            "key are not PEM, or no pair": (
                "--data", "one", "--client", "ssl:0:privateKey=tokens",
            ),
            "gone.pem: No such file": ("--data", "two", "--client", "ssl:0:privateKey=gone.pem"),
            "no setting 'colour'": ("--config", "bad.toml"),
            "run chmod 640": ("--tokens", "tokens"),
            "run chmod 600": ("--data", "open"),
            "option --frobnicate not recognized": ("--frobnicate",),
            "in use by another exchange": ("--data", str(daemon.folder / "data")),
        }  # fmt: skip
        running = {says: start_in_vain(tmp_path, *options) for says, options in cases.items()}
        try:
            for says, process in running.items():
                assert says in refusal(process)
        finally:
            for process in running.values():
                process.kill()
                process.communicate()


def test_tls_and_unix_sockets_by_endpoint_string(tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    ssl_endpoint = (
        f"ssl:0:interface=127.0.0.1:privateKey={tmp_path}/key.pem:certKey={tmp_path}/cert.pem"
    )
    with Daemon(tmp_path, client=ssl_endpoint) as daemon:
        context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        with (
            socket.create_connection(daemon.address()) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            secure.sendall(b"buy BTC-USD 1 @ 100\n" * 200 + b"quit\n")
            received = b""
            while data := secure.recv(65_536):
                received += data
        assert received.count(b'"status":"new"') == 200
        host, port = daemon.address()
        shown = tool_at(
            "--connect", f"{host}:{port}", "--ca", str(tmp_path / "cert.pem"), "markets"
        )
        assert "BTC-USD" in shown
        said = tool_at("--connect", f"{host}:{port}", "--tls", "markets", code=5)
        assert "is not believed" in said


def test_hostile_clients_are_bounded_and_others_are_served(daemon: Daemon) -> None:
    place_address = daemon.address()
    before = daemon.memory_mib()
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_connection(place_address)) for _ in range(203)]
        deaf, endless, dripping, *_ = sockets
        deaf.settimeout(1)
        try:
            for _ in range(100):  # 100,000 requests whose answers are never read
                deaf.sendall(b"book BTC-USD 500\n" * 1_000)
        except TimeoutError:
            pass  # as it should be: nothing more is read from it
        dripping.sendall(b"p")
        endless.settimeout(5)
        try:
            for _ in range(160):
                endless.sendall(b"x" * 65_536)  # 10 MB without an end
        except (ConnectionError, TimeoutError):
            pass
        with daemon.client() as client:
            began = time.monotonic()
            for _ in range(50):
                place(client, "buy", "10")
            assert time.monotonic() - began < DEADLINE_S / 2
        dripping.sendall(b"ing\n")
        dripping.settimeout(DEADLINE_S)
        assert b'"result"' in dripping.recv(1000)
        assert daemon.memory_mib() - before < 60


def tool(daemon: Daemon, *words: str, code: int = 0, stdin: str = "") -> str:
    """Run ``exchange`` at ``daemon``; return what it printed."""
    return tool_at("--unix", daemon.path, *words, code=code, stdin=stdin)


def tool_says(daemon: Daemon, *words: str) -> str:
    """Run the tool; what it says to people, who get nothing on stdout."""
    done = subprocess.run(
        [sys.executable, "-c", "from grenache_py.exchange.cli import main; main()", "--unix",
         daemon.path, *words],
        capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")
    return done.stderr


def tool_at(
    *words: str, code: int = 0, stdin: str = "", environment: dict[str, str] | None = None
) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from grenache_py.exchange.cli import main; main()", *words],
        capture_output=True, text=True, timeout=DEADLINE_S, input=stdin, check=False,
        env={**os.environ, "COLUMNS": "120", **(environment or {})},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stdout + done.stderr


def test_a_scripts_errors_are_one_line_of_json_that_says_what_to_do_next(
    daemon: Daemon, tmp_path: Path
) -> None:
    def error(*words: str, code: int) -> Any:
        (line,) = tool_at("--json", *words, code=code).splitlines()
        told = json.loads(line)["error"]
        assert told["exit"] == code
        return told

    at = ("--unix", daemon.path)
    bad = error(*at, "buy", "BTC-USD", "1@98.005", code=2)
    assert (bad["name"], bad["code"], bad["data"]) == ("BadStep", -32008, {"field": "price"})
    assert error(*at, "frobnicate", code=2)["name"] == "Usage"
    assert error(*at, "orders", "nobody", code=3)["name"] == "UnknownOrder"
    assert error("--unix", str(tmp_path / "nobody"), "orders", code=5)["name"] == "NotConnected"
    assert json.loads(tool_at("--json", *at, "orders", "--account", "nobody")) == []


def test_an_order_whose_answer_is_lost_is_unknown_and_named(tmp_path: Path) -> None:
    path = str(tmp_path / "half.sock")
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()

    def answer_the_greeting_only() -> None:
        connection, _ = server.accept()
        greeting = {"hello": {"peer": "p"}, "ping": {"time": 1}, "markets.list": {"markets": []}}
        with connection, connection.makefile("rwb") as lines:
            while (request := json.loads(lines.readline()))["method"] in greeting:
                answer = {"id": request["id"], "result": greeting[request["method"]]}
                lines.write(json.dumps(answer).encode() + b"\n")
                lines.flush()

    thread = threading.Thread(target=answer_the_greeting_only)
    thread.start()
    try:
        said = tool_at("--json", "--unix", path, "buy", "BTC-USD", "1@1", code=6)
    finally:
        thread.join(DEADLINE_S)
        server.close()
    told = json.loads(said)["error"]
    assert told["name"] == "OutcomeUnknown" and told["client_order_id"].startswith("x-")


def test_the_tool_trades_and_shows(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.call("order.cancel_all", account="")
    assert "sell 2 BTC-USD @ 100: new, 2 remaining" in tool(
        daemon, "sell", "btc-usd", "2", "@", "100", "--id", "maker"
    )
    for amount in (
        ["0.1", "@100"],
        ["0.1@100"],
        ["0.1", "100"],
        ["0.1@", "100"],
        ["0.1", "@", "100"],
    ):
        assert "filled, 0.1 filled at 100" in tool(daemon, "buy", "btc/usd", *amount)
    assert "filled" in tool(daemon, "buy", "BTC-USD", "0.5", "market")
    report = json.loads(tool(daemon, "--json", "orders", "maker"))
    assert (report["filled"], report["remaining"]) == ("1", "1")
    (order,) = json.loads(tool(daemon, "--json", "orders"))
    assert order["client_order_id"] == "maker"
    book = json.loads(tool(daemon, "--json", "book", "BTC-USD"))
    assert book["asks"] == [["100", "1", 1]]
    shown = tool(daemon, "book", "BTC-USD")
    assert "ask" in shown and "\x1b" not in shown, "no colour in a pipe"
    assert "0.5" in tool(daemon, "trades", "BTC-USD")
    assert "BTC-USD bid -, ask 100, last 100" in tool(daemon, "ticker", "btc/usd")
    assert "close" in tool(daemon, "candles", "BTC-USD", "--interval", "1h")
    fills = json.loads(tool(daemon, "--json", "fills", "BTC-USD", "--since", "0"))
    assert [fill["seq"] for fill in fills] == list(range(1, len(fills) + 1))
    assert "maker" in tool(daemon, "fills")
    assert json.loads(tool(daemon, "call", "ticker.get", '{"market": "BTC-USD"}'))["last"] == "100"
    assert "0.01" in tool(daemon, "markets")
    assert "store" in tool(daemon, "status")
    assert "cancelled" in tool(daemon, "cancel", "maker")
    assert "ok" in tool(daemon, "doctor")
    stop = tool(daemon, "sell", "BTC-USD", "1", "@", "89", "--stop", "90")
    assert "sell 1 BTC-USD @ 89 once it trades at 90: new" in stop
    (header, row) = tool(daemon, "orders").splitlines()
    assert "stop price" in header and " 89 " in row and " 90 " in row
    assert not [line for line in (header, row) if line.endswith(" ")]
    assert "1 order cancelled" in tool(daemon, "cancel", "--all")
    copy = daemon.folder / "copy.sqlite"
    assert f"copied to {copy}" in tool(daemon, "backup", str(copy))
    assert "exists" in tool(daemon, "backup", str(copy), code=2)
    assert "proven" in tool(daemon, "replay", str(copy))
    assert "_EXCHANGE_COMPLETE" in tool(daemon, "completion", "bash")


def test_the_tools_options_stand_before_the_command_or_after_it(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.call("order.cancel_all", account="")
    words = ("buy", "BTC-USD", "1@50", "--unix", daemon.path, "-q")
    (order_id,) = tool_at(*words, "--account", "quiet").splitlines()
    found = json.loads(tool_at("orders", "-j", "-c", daemon.path, "--account", "quiet"))
    assert [order["order_id"] for order in found] == [order_id]
    shown = tool_at("--account", "quiet", "-q", "-c", daemon.path, "orders")
    assert shown.splitlines() == [order_id]
    with daemon.client() as client:
        place(client, "buy", "51")
    named = {"EXCHANGE_CONNECT": daemon.path, "EXCHANGE_ACCOUNT": "quiet", "NO_COLOR": "1"}
    assert tool_at("orders", "--quiet", environment=named).splitlines() == [order_id]
    assert "1 order cancelled" in tool_at("cancel", "--all", environment=named)
    assert "no open orders" in tool_at("orders", "--fail-empty", code=3, environment=named)
    assert tool_at("orders", "--fail-empty", "-qj", code=3, environment=named) == "[]\n"
    assert "No such command 'orderz'. Did you mean 'orders'?" in tool(daemon, "orderz", code=2)


def test_the_tool_says_what_went_wrong_by_its_exit_code(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.call("order.cancel_all", account="")
    assert "no open orders" in tool_says(daemon, "orders")
    assert "no link" in tool_says(daemon, "peers")
    assert "0000" in tool(daemon, "cancel", "0" * 32, code=3)
    assert "no open order" in tool_says(daemon, "cancel", "--all")
    assert "not a multiple" in tool(daemon, "buy", "BTC-USD", "1", "@", "1.001", code=2)
    assert "no market" in tool(daemon, "book", "ETH-USD", code=3)
    assert "@ 100" in tool(daemon, "buy", "BTC-USD", "1", code=2)
    assert "@ 100" in tool(daemon, "buy", "BTC-USD", "1", "@", "100", "200", code=2)
    assert "Usage" in tool(daemon, "frobnicate", code=2)
    assert "Name the order" in tool(daemon, "cancel", code=2)
    assert "--quantity" in tool(daemon, "replace", "mine", code=2)
    assert "exchange doubts" in tool(daemon, "decide", "mine", "--yes", code=2)
    assert "no market" in tool(daemon, "load", "--market", "ETH-USD", code=1)
    assert "needs none" in tool(daemon, "--tls", "status", code=2)
    nowhere = subprocess.run(
        [sys.executable, "-c", "from grenache_py.exchange.cli import main; main()",
         "--unix", str(daemon.folder / "nothing"), "status"],
        capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert nowhere.returncode == 5 and "twistd -n exchange" in nowhere.stderr


def test_the_tool_loads_and_measures(daemon: Daemon) -> None:
    summary = json.loads(
        tool(daemon, "--json", "load", "--market", "BTC-USD", "--orders", "300", "--clients", "5")
    )
    assert summary["orders"] == 300 and summary["refused"] == {}
    assert 0 < summary["p50_ms"] <= summary["p99_ms"] <= summary["p99_9_ms"]


def test_a_book_is_watched_as_it_changes(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.call("order.cancel_all", account="")
    with subprocess.Popen(
        [sys.executable, "-u", "-c", "from grenache_py.exchange.cli import main; main()",
         "--unix", daemon.path, "--json", "book", "BTC-USD", "--watch"],
        stdout=subprocess.PIPE, text=True,
    ) as watching:  # fmt: skip
        try:
            assert watching.stdout is not None
            assert json.loads(watching.stdout.readline())["bids"] == []
            with daemon.client() as client:
                place(client, "buy", "77")
            assert json.loads(watching.stdout.readline())["bids"] == [["77", "1", 1]]
            watching.send_signal(signal.SIGINT)
            assert watching.wait(DEADLINE_S) == 130
        finally:
            watching.kill()


def test_with_json_logs_every_line_is_an_object(tmp_path: Path) -> None:
    with Daemon(tmp_path, "--log-format", "json") as daemon:
        daemon.stop()
    events = [json.loads(line) for line in daemon.log.read_text().splitlines()]
    [listen] = [event["listen"] for event in events if "listen" in event]
    assert listen["client"][1] == daemon.path and listen["peer"][0].startswith("127.0.0.1:")


def test_health_and_metrics_over_http(daemon: Daemon) -> None:
    from urllib.request import urlopen

    host, port = daemon.address("http")
    with urlopen(f"http://{host}:{port}/health", timeout=DEADLINE_S) as answer:
        page = json.load(answer)
        assert (answer.status, page["ok"]) == (200, True)
        assert page["listen"]["http"] == [f"{host}:{port}"]
    with urlopen(f"http://{host}:{port}/metrics", timeout=DEADLINE_S) as answer:
        assert b"\nexchange_up 1\n" in answer.read()
