"""
The demo's daemons: real grapes and peers as processes on loopback, each with its log in a file.

Edge: starts processes and ends them, speaks HTTP and the line protocol to them as any program
would.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sysconfig
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

__all__ = ["SCRIPTS", "DaemonProcess", "DemoFailed", "GrapeProcess", "PeerProcess", "free_ports"]

#: Seconds in which what a daemon is to do has to happen.
DEADLINE_S = 30.0
#: The folder of the console scripts.
SCRIPTS = Path(sysconfig.get_path("scripts"))


class DemoFailed(Exception):
    """Something did not happen; the message is for whoever watches."""


class DaemonProcess:
    """A grape or a peer, as a process with its log in a file."""

    def __init__(self, name: str, folder: Path, *command: str | Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [SCRIPTS / command[0], *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=True,  # Ctrl-C is ours; we end it
            )

    def until(self, what: str, attempt: Callable[[], Any]) -> Any:
        """
        Try again and again until ``attempt`` returns something true, and return that.

        Raises:
            DemoFailed: it did not by the deadline, or the daemon has ended.
        """
        give_up = time.monotonic() + DEADLINE_S
        reason = "it did not"
        while time.monotonic() < give_up:
            if self.process.poll() is not None:
                reason = f"it ended with code {self.process.returncode}"
                break
            try:
                result = attempt()
            except (OSError, ValueError, LookupError) as error:
                reason = f"{type(error).__name__}: {error}"
            else:
                if result:
                    return result
                reason = "it did not"
            time.sleep(0.05)
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        raise DemoFailed(f"{self.name} was to {what}, but {reason}. The end of its log:\n{tail}")

    def stop(self) -> None:
        """Ask it to end, and see that it does."""
        self.process.terminate()
        try:
            self.process.wait(12)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class GrapeProcess(DaemonProcess):
    """A grape with its two ports."""

    def __init__(self, name: str, folder: Path, ports: tuple[int, int], others: list[int]) -> None:
        self.dht_port, self.api_port = ports
        bootstrap = ",".join(f"127.0.0.1:{port}" for port in others)
        super().__init__(
            *(name, folder, "grape", "-b", "127.0.0.1", "--dp", str(self.dht_port)),
            *("--aph", str(self.api_port), "--bn", bootstrap),
        )

    @property
    def url(self) -> str:
        """Where its HTTP API is."""
        return f"http://127.0.0.1:{self.api_port}"

    def post(self, path: str, data: object) -> Any:
        """Ask it as every Grenache client does."""
        body = json.dumps({"rid": "demo", "data": data}).encode()
        with urllib.request.urlopen(self.url + path, body, timeout=5) as answer:  # noqa: S310
            return json.load(answer)


class PeerProcess(DaemonProcess):
    """An exchange peer, and a client of it."""

    def __init__(
        self, name: str, folder: Path, market: str, ports: list[int], grapes: list[GrapeProcess]
    ) -> None:
        self.client_port, self.peer_port, self.http_port = ports
        here = "interface=127.0.0.1"
        super().__init__(
            *(name, folder, "twistd", "-n", "--pidfile=", "exchange"),
            *("--data", folder / name, "--network", "demo"),
            *("--market", f"{market}:tick=0.01,lot=0.0001"),
            *("--client", f"tcp:{self.client_port}:{here}"),
            *("--peer", f"tcp:{self.peer_port}:{here}"),
            *("--http", f"tcp:{self.http_port}:{here}"),
            *(word for grape in grapes for word in ("--grape", grape.url)),
        )
        self._market = market
        self._requests = 0
        self._stream: Any = None

    def call(self, method: str, **params: object) -> Any:
        """
        Send one JSON-RPC line and return the result.

        Raises:
            DemoFailed: the answer is an error.
        """
        if self._stream is None:
            connection = socket.create_connection(("127.0.0.1", self.client_port), timeout=10)
            self._stream = connection.makefile("rw", encoding="utf-8", newline="\n")
            connection.close()  # the stream keeps it open
        self._requests += 1
        request = {"jsonrpc": "2.0", "id": self._requests, "method": method, "params": params}
        self._stream.write(json.dumps(request) + "\n")
        self._stream.flush()
        answer = json.loads(self._stream.readline())
        if "error" in answer:
            raise DemoFailed(f"{self.name} refused {method} {params}: {answer['error']['message']}")
        return answer["result"]

    def book(self) -> dict[str, list[list[Any]]]:
        """Return bids and asks, best first, as [price, quantity, orders]."""
        book = self.call("book.get", market=self._market)
        return {side: book[side] for side in ("bids", "asks")}

    def trades(self) -> list[dict[str, Any]]:
        """Return the trades of the market, newest last."""
        answer = self.call("trades.list", market=self._market)
        trades: list[dict[str, Any]] = answer["trades"] if isinstance(answer, dict) else answer
        return trades

    def stop(self) -> None:
        if self._stream is not None:
            self._stream.close()
        super().stop()


@contextmanager
def free_ports(wanted: list[int], kind: int = socket.SOCK_STREAM) -> Iterator[list[int]]:
    """Yield the wanted ports, each replaced by a free one where it is taken."""
    with ExitStack() as held:
        found = []
        for port in wanted:
            holder = held.enter_context(socket.socket(socket.AF_INET, kind))
            if kind == socket.SOCK_STREAM:  # as the daemons do: connections just ended do not count
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                holder.bind(("127.0.0.1", port))
            except OSError:
                holder.bind(("127.0.0.1", 0))
            found.append(holder.getsockname()[1])
        yield found
