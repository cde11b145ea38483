"""Node programs as a test sees them: started, asked, killed."""

from __future__ import annotations

import json
import random
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.support import rings

Processes = list["subprocess.Popen[str]"]


def free_port() -> int:
    """
    A port free for TCP and UDP a moment ago; Node takes 0 for a mistake.

    It lies below those that the system gives to whoever asks for any.
    """
    for _ in range(100):
        port = random.SystemRandom().randrange(11_000, 32_000)
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("0.0.0.0", port))
                udp.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


class NodeGrape:
    """A grenache-grape 1.0.0; made through its library, or by its command (``command=True``)."""

    def __init__(
        self,
        folder: Path,
        processes: Processes,
        *,
        bootstrap: list[str],
        command: bool = False,
        dht_port: int = 0,
        api_port: int = 0,
        **conf: object,
    ) -> None:
        self.dht_port, self.api_port = dht_port or free_port(), api_port or free_port()
        if command:
            ports = ["--dp", str(self.dht_port), "--aph", str(self.api_port)]
            options = [*ports, "--bn", ",".join(bootstrap), "-b", "127.0.0.1"]
            argv = ["node", "node_modules/grenache-grape/bin/grape.js", *options]
        else:
            conf |= {"host": "127.0.0.1", "dht_port": self.dht_port, "api_port": self.api_port}
            argv = ["node", "grape.js", json.dumps({**conf, "dht_bootstrap": bootstrap})]
        self._command = command
        self.process = subprocess.Popen(
            argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        processes.append(self.process)

    async def started(self) -> NodeGrape:
        """Wait until it answers."""
        for _ in range(500):
            try:
                client = await rings.connect(self.api_port)
            except Exception:  # not yet
                assert self.process.poll() is None, "the Node grape died"
                await rings.sleep(0.02)
            else:
                client.transport.abortConnection()
                return self
        raise AssertionError("the Node grape does not start")

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()


class NodeDHT:
    """A bittorrent-dht@11 node that answers one command at a time."""

    def __init__(self, folder: Path, processes: Processes, bootstrap: list[str]) -> None:
        self.process = subprocess.Popen(
            ["node", "dht.mjs", json.dumps(bootstrap), "0"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(self.process)

    async def _line(self) -> Any:
        from twisted.internet.threads import deferToThread

        assert self.process.stdout is not None
        answer = json.loads(await deferToThread(self.process.stdout.readline))
        assert "error" not in answer, answer["error"]
        return answer["ok"]

    async def started(self) -> NodeDHT:
        """Wait until it listens."""
        self.port = await self._line()
        return self

    async def ask(self, *command: object) -> Any:
        """Have it carry out a command of ``dht.mjs``."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return await self._line()
