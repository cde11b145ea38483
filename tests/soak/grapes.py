"""
Three grapes in one ring, for peers to find each other by; the third is Node's where npm is.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.interop.conftest import cache_folder, install
from tests.interop.node_programs import free_port
from tests.network.hosts import Host

__all__ = ["Grape", "Grapes"]

START_TIMEOUT_S = 120.0
#: Says nothing and exits with 0 when the grape at the URL answers, whatever it answers.
PROBE = """
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(sys.argv[1] + "/lookup", b'{"data":"soak"}', timeout=3).close()
except urllib.error.HTTPError:
    pass
except OSError:
    sys.exit(1)
"""


class Grape:
    """
    One of them.

    Attributes:
        host: where it runs; None for this machine's loopback.
        process: None while it is down.
        url: of its HTTP port.
    """

    def __init__(self, log: Path, command: list[str], folder: Path, host: Host | None) -> None:
        self.host = host
        self.process: subprocess.Popen[bytes] | None = None
        self._log = log
        self._command = host.command(*command) if host else command
        self._folder = folder
        self.dht_port, self.api_port = (20001, 30001) if host else (free_port(), free_port())
        self._address = host.address if host else "127.0.0.1"
        self.dht = f"{self._address}:{self.dht_port}"
        self.url = f"http://{self._address}:{self.api_port}"
        self._others = ""

    def know(self, others: list[Grape]) -> None:
        """Bootstrap from these."""
        self._others = ",".join(other.dht for other in others)

    def start(self) -> None:
        """Start it; ``wait`` says when it answers."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self._command,
                    *("--dp", str(self.dht_port), "--aph", str(self.api_port)),
                    *("--bn", self._others, "-b", self._address),
                ],
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )

    def wait(self) -> None:
        """Return when it answers; raises SystemExit when it does not."""
        probe = [sys.executable, "-c", PROBE, self.url]
        deadline = time.monotonic() + START_TIMEOUT_S
        while subprocess.run(
            self.host.command(*probe) if self.host else probe, check=False
        ).returncode:
            if time.monotonic() > deadline:
                raise SystemExit(f"the grape at {self.url} does not start; see {self._log}")
            time.sleep(0.1)

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


class Grapes:
    """
    The ring.

    Args:
        hosts: one for each, or None for this machine's loopback.

    Attributes:
        members: the grapes.
    """

    def __init__(self, directory: Path, hosts: list[Host] | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.members: list[Grape] = []
        for number in range(3):
            command, folder = [sys.executable, "-m", "twisted", "grape", "--dc", "32"], Path.cwd()
            if number == 2 and shutil.which("npm") and shutil.which("node"):
                folder = cache_folder()
                install(folder)
                command = ["node", "node_modules/grenache-grape/bin/grape.js"]
            host = hosts[number] if hosts else None
            self.members.append(Grape(directory / f"grape{number}.log", command, folder, host))
        for grape in self.members:
            grape.know([other for other in self.members if other is not grape])

    @property
    def urls(self) -> list[str]:
        """Their HTTP ports."""
        return [grape.url for grape in self.members]

    def start(self) -> None:
        """Start all three and wait until they answer."""
        for grape in self.members:
            grape.start()
        for grape in self.members:
            grape.wait()

    def stop(self) -> None:
        """End them."""
        for grape in self.members:
            grape.kill()
