"""
A relay between two peers passes bytes on, and then says something of its own.

Real daemons and a real relay; only ports and methods of the client port are used, so the same test
can be run on a link that is not bound to its proof, where it fails.
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.exchange.daemon.test_daemon import DEADLINE_S, Daemon

pytestmark = pytest.mark.network

TOOL = "from grenache_py.exchange.cli import main; main()"
#: Malformed, and worth ten points each.
BAD_LINE = b'{"jsonrpc":"2.0","id":1,"method":"peer.ping","params":7}\n'


class Relay:
    """
    Passes on what two sides say.

    Attributes:
        honest: otherwise it says ``BAD_LINE`` in the dialler's name, once, on the next bytes.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.honest = True
        self.injected = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(near,), daemon=True).start()

    def _pass_on(self, near: socket.socket) -> None:
        with near, socket.create_connection(self.target) as far:
            other = {near: far, far: near}
            while True:
                for ready in select.select([near, far], [], [], 0.05)[0]:
                    try:
                        data = ready.recv(65_536)
                        if not data:
                            return
                        other[ready].sendall(data)
                    except OSError:
                        return
                if not self.honest:
                    self.honest = True
                    far.sendall(BAD_LINE * 15)
                    self.injected.set()

    def close(self) -> None:
        self.listener.close()


def linked(daemon: Daemon) -> list[dict[str, Any]]:
    with daemon.client() as client:
        return [peer for peer in client.call("peers.list")["peers"] if peer["ready"]]


def until(what: Any) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (found := what()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)
    return found


def test_a_relay_that_speaks_in_a_peers_name_costs_that_peer_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with Daemon(tmp_path / "a") as a:
        relay = Relay(a.address("peer"))
        with Daemon(tmp_path / "b", "--connect", relay.address) as b:
            until(lambda: linked(a) and linked(b))
            relay.honest = False
            assert relay.injected.wait(DEADLINE_S)
            until(lambda: not linked(b))
            [back] = until(lambda: linked(a))
            assert back["score"] > -10
            relay.close()


def shell(where: tuple[str, int], *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TOOL, "peer-shell", *options,
         f"{where[0]}:{where[1]}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_the_peer_shell_says_who_answers_and_carries_lines(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        with daemon.client() as client:
            me = client.call("status")["peer"]
        with shell(daemon.address("peer")) as talk:
            assert talk.stdout and talk.stdin and talk.stderr
            assert '"network":"main"' in talk.stdout.readline()
            talk.stdin.write('{"jsonrpc":"2.0","id":"mine","method":"peer.ping","params":{}}\n')
            talk.stdin.flush()
            while '"mine"' not in (line := talk.stdout.readline()):
                assert line
            assert talk.stderr.readline() == f"peer {me}\n"
            talk.stdin.close()
            assert talk.wait(DEADLINE_S) == 0
        with shell(daemon.address("client")) as talk:
            _, said = talk.communicate(timeout=DEADLINE_S)
            assert talk.returncode == 1 and "does not speak TLS as peers do" in said
        with shell(daemon.address("peer"), "--network", "elsewhere") as talk:
            assert talk.stdout and "this is network" in talk.stdout.readline()
            assert talk.wait(DEADLINE_S) == 1
        with socket.create_connection(daemon.address("peer")) as browser:
            browser.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert b"speaks TLS" in browser.makefile("rb").readline()
        with daemon.client() as client:
            assert client.call("status")["door"]["refused"]["not_tls"] == 1
