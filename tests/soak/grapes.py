"""Three grapes in one ring, for peers to find each other by; the third is Node's where npm is."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.interop.conftest import cache_folder, install
from tests.interop.node_programs import free_port

__all__ = ["Grapes"]


class Grapes:
    """
    The ring.

    Attributes:
        urls: their HTTP ports.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._ports = [(free_port(), free_port()) for _ in range(3)]
        self.urls = [f"http://127.0.0.1:{api}" for _, api in self._ports]
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start all three and wait until they answer."""
        for number, (dht, api) in enumerate(self._ports):
            others = ",".join(f"127.0.0.1:{d}" for d, _ in self._ports if d != dht)
            options = ["--dp", str(dht), "--aph", str(api), "--bn", others, "-b", "127.0.0.1"]
            command, folder = [sys.executable, "-m", "twisted", "grape"], Path.cwd()
            if number == 2 and shutil.which("npm") and shutil.which("node"):
                folder = cache_folder()
                install(folder)
                command = ["node", "node_modules/grenache-grape/bin/grape.js"]
            else:
                options += ["--dc", "32"]
            with (self._directory / f"grape{number}.log").open("ab") as log:
                self._processes.append(
                    subprocess.Popen([*command, *options], cwd=folder, stdout=log, stderr=log)
                )
        deadline = time.monotonic() + 30
        for url in self.urls:
            while not _answers(url):
                if time.monotonic() > deadline:
                    raise SystemExit(f"the grape at {url} does not start")
                time.sleep(0.1)

    def stop(self) -> None:
        """End them."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(url: str) -> bool:
    request = urllib.request.Request(f"{url}/lookup", b'{"data":"soak"}')
    try:
        urllib.request.urlopen(request, timeout=3).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
