"""Real peers, on loopback or hosts of their own: start, stop, kill, freeze and ask them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from grenache_py.trading import NotAuthorised
from tests.network.hosts import Host
from tests.support.wire_client import AWAY, WireClient

__all__ = ["MARKET", "MARKET_STEPS", "Daemon", "free_port", "wait_for"]

ROOT = Path(__file__).parents[2]
MARKET = "BTC-USD"
MARKET_STEPS = "tick=0.01,lot=0.0001"
#: Only a bug waits so long: a machine with a load of 25 was slower than 40 s.
START_TIMEOUT_S = 120.0


def free_port() -> int:
    """A TCP port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Daemon:
    """
    ``twistd exchange`` on a directory of its own, with a peer port that stays the same.

    Clients reach it by a UNIX socket, which no network namespace hides.

    Attributes:
        host: where it runs; None for this machine's loopback.
        tree: the source that it runs; another version's in tests of upgrades.
        process: None while it is down.
        address: of its peer port.
        socket: path of its client socket.
    """

    def __init__(
        self, directory: Path, *options: str, host: Host | None = None, tree: Path = ROOT
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.options = options
        self.host = host
        self.tree = tree
        self.address = f"{host.address}:7071" if host else f"127.0.0.1:{free_port()}"
        self.socket = str(directory / "client.sock")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def database(self) -> Path:
        return self.directory / "data" / "exchange.sqlite"

    def start(self) -> None:
        """Start it; ``wait`` says when it serves."""
        interface, port = self.address.split(":")
        command = [
            *(sys.executable, "-m", "twisted", "exchange"),
            *("--data", str(self.directory / "data")),
            *("--market", f"{MARKET}:{MARKET_STEPS}"),
            *("--client", f"unix:{self.socket}"),
            *("--peer", f"tcp:{port}:interface={interface}"),
            *("--http", "none"),
            *self.options,
        ]
        with (self.directory / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.host.command(*command) if self.host else command,
                stdout=log,
                stderr=log,
                cwd=self.tree,
            )

    def client(self) -> WireClient:
        """A connection; raises NotConnected while the daemon is not up."""
        return WireClient(self.socket)

    def wait(self) -> None:
        """Return when clients are served; raises SystemExit with its log when it died."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                with self.client() as client:
                    client.call("ping")
                return
            except NotAuthorised:
                return  # it asks for a token, so it serves
            except AWAY:
                dead = self.process is None or self.process.poll() is not None
                if dead or time.monotonic() > deadline:
                    log = (self.directory / "daemon.log").read_text()[-3000:]
                    raise SystemExit(f"{self.directory} did not start:\n{log}") from None
                time.sleep(0.05)

    def status(self) -> dict[str, Any]:
        """What the daemon says of itself."""
        with self.client() as client:
            answer: dict[str, Any] = client.call("status")
            return answer

    @property
    def died(self) -> bool:
        """Whether it has ended and nobody here ended it."""
        return self.process is not None and self.process.poll() is not None

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """SIGTERM, and wait for the orderly end."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """SIGSTOP."""
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGCONT)


def wait_for(what: str, deadline_s: float, check: Any) -> float:
    """
    Seconds until ``check()`` was true.

    Raises:
        SystemExit: it did not become true in time.
    """
    began = time.monotonic()
    while not check():
        if time.monotonic() > began + deadline_s:
            raise SystemExit(f"after {deadline_s:.0f} s still not: {what}")
        time.sleep(0.02)
    return time.monotonic() - began
