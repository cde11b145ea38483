"""
What somebody who has nothing but sockets can do to a daemon's ports.

    python -m tests.evil.attacks NAME --client PORT --http PORT --peer PORT

Runs until it is ended; prints a line with how often it did what it does, once a second. Each attack
keeps its sockets in one loop without threads and opens them anew when the daemon closes them. It
runs in a process of its own and at a low priority: an attacker has a machine of its own, so it is
to take the daemon's time and not this machine's. What needs a link with a proven key is in
``links.py``.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import selectors
import socket
import time
from collections.abc import Callable, Iterator

import attrs

from tests.evil.links import LINK_ATTACKS, LinkAttack, attack_links

#: Connections an attack holds at a time.
SOCKETS = 200
#: Bytes of requests an attack that does not read sends on one connection at most.
UNREAD_BYTES_MAX = 64_000_000
MARKER = "from-a-web-page"


@attrs.frozen
class Ports:
    """Where the daemon listens on loopback."""

    client: int
    http: int
    peer: int


@attrs.frozen
class Attack:
    """
    Attributes:
        about: one line for the table.
        port: which port is attacked, by its name in ``Ports``.
        opening: makes what is sent on each connection at once.
        more: makes what is sent after that, again and again, as fast as it is taken; "" for
            nothing.
        trickle: ``more`` is sent a byte a second.
        reads: whether answers are read.
        sockets: how many connections.
        renew_s: connections are given up after so many seconds and opened anew.
    """

    about: str
    port: str
    opening: Callable[[], bytes] = lambda: b""
    more: Callable[[], bytes] = lambda: b""
    trickle: bool = False
    reads: bool = True
    sockets: int = SOCKETS
    renew_s: float = 1e9


def request(method: str, **params: object) -> bytes:
    """One line for the client port."""
    return (
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"
    )


BOOK = request("book.get", market="BTC-USD", depth=500)
BATCH = b"[" + b",".join([BOOK.rstrip()] * 100) + b"]\n"
PLACE = request(
    "order.place",
    market="BTC-USD",
    side="buy",
    quantity="1",
    price="1",
    client_order_id=MARKER,
)
POST = (
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\n"
    b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(PLACE), PLACE)
)
GET = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n" % base64.b64encode(bytes(16))
)


FOREIGN_UPGRADE = UPGRADE.replace(b"\r\n\r\n", b"\r\nOrigin: http://evil.example\r\n\r\n")
#: A message of WebSocket that never ends, a byte a frame.
FRAGMENT, FRAGMENTS = b"\x01\x81\0\0\0\0{", b"\x00\x81\0\0\0\0x" * 500


def frame(text: bytes) -> bytes:
    """A masked WebSocket frame; the mask is 0."""
    size = len(text)
    head = bytes([0x81, 0x80 | size]) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
    return head + bytes(4) + text


def guess() -> bytes:
    """A token that nobody has."""
    return request("hello", client="guess", token=os.urandom(12).hex())


_OVER_SOCKETS = {
    "silent-peer": Attack("peer connections that never speak", "peer", renew_s=2.0),
    "silent-client": Attack("client connections that never speak", "client"),
    "half-peer": Attack(
        "half a message a byte a second, peers", "peer", more=lambda: b"{", trickle=True
    ),
    "half-http": Attack(
        "half a request a byte a second, HTTP",
        "http",
        lambda: b"GET /metrics HTTP/1.1\r\nX: ",
        lambda: b"a",
        trickle=True,
    ),
    "garbage-peer": Attack(
        "lines that are no JSON, peers", "peer", more=lambda: b"\xff{nonsense\n" * 100, sockets=20
    ),
    "garbage-client": Attack(
        "lines that are no JSON, clients", "client", more=lambda: b"{nonsense\n" * 100, sockets=4
    ),
    "unread-client": Attack(
        "pipelined requests, answers not read", "client", more=lambda: BOOK * 50, reads=False,
        sockets=8,
    ),
    "unread-http": Attack(
        "pipelined GETs, answers not read", "http", more=lambda: GET * 50, reads=False, sockets=8
    ),
    "unread-ws": Attack(
        "pipelined requests on /ws, answers not read",
        "http",
        lambda: UPGRADE,
        lambda: frame(BOOK.rstrip()) * 50,
        reads=False,
        sockets=8,
    ),
    "page-post": Attack("a web page's POST to the client port", "client", lambda: POST,
                        sockets=4, renew_s=0.05),
    "page-ws": Attack("a web page's order on /ws", "http",
                      lambda: FOREIGN_UPGRADE + frame(PLACE.rstrip()), sockets=4, renew_s=0.05),
    "rebound-host": Attack("pages asked for by a stranger's name", "http",
                           more=lambda: GET.replace(b"127.0.0.1", b"evil.example"), sockets=4),
    "guesses": Attack("guesses of tokens", "client", more=guess, sockets=4),
    "lookups": Attack("books without end, answers read", "client", more=lambda: BOOK * 50,
                      sockets=8),
    "lookup-batches": Attack("batches of 100 books, answers read", "client",
                             more=lambda: BATCH, sockets=8),
    "pages": Attack("pages without end, answers read", "http", more=lambda: GET * 50,
                    sockets=100),
    "fragments": Attack("a message in fragments without end", "http",
                        lambda: UPGRADE + FRAGMENT, lambda: FRAGMENTS, sockets=8),
}  # fmt: skip
#: All attacks, by name.
ATTACKS: dict[str, Attack | LinkAttack] = {**_OVER_SOCKETS, **LINK_ATTACKS}


class Connections:
    """The sockets of one attack."""

    def __init__(self, attack: Attack, port: int) -> None:
        self._attack = attack
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._pending: dict[socket.socket, bytes] = {}
        self._sent: dict[socket.socket, int] = {}
        self._opened: dict[socket.socket, float] = {}
        self._trickled = 0.0
        self.done = 0

    def turn(self, now: float) -> None:
        """Open what is missing; send and read what is possible."""
        attack = self._attack
        for old in [s for s, since in self._opened.items() if now - since > attack.renew_s]:
            self._close(old)
        for _ in range(attack.sockets - len(self._opened)):
            self._open(now)
        trickle = attack.trickle and now - self._trickled > 1
        if trickle:
            self._trickled = now
        for key, events in self._selector.select(0.02):
            each = key.fileobj
            assert isinstance(each, socket.socket)
            try:
                if events & selectors.EVENT_READ and attack.reads and not each.recv(65_536):
                    raise ConnectionResetError
                if events & selectors.EVENT_WRITE:
                    self._write(each, trickle)
            except BlockingIOError:
                pass
            except OSError:
                self._close(each)

    def _open(self, now: float) -> None:
        each = socket.socket()
        each.setblocking(False)
        if not self._attack.reads:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        if each.connect_ex(("127.0.0.1", self._port)) not in (0, 115):
            each.close()
            return
        events = selectors.EVENT_WRITE | (selectors.EVENT_READ if self._attack.reads else 0)
        self._selector.register(each, events)
        self._pending[each] = self._attack.opening()
        self._sent[each], self._opened[each] = 0, now

    def _write(self, each: socket.socket, trickle: bool) -> None:
        attack = self._attack
        pending = self._pending[each]
        if not pending and (trickle or not attack.trickle):
            pending = attack.more()
            self.done += bool(pending)
        if pending and (attack.reads or self._sent[each] < UNREAD_BYTES_MAX):
            count = each.send(pending)
            self._sent[each] += count
            self._pending[each] = pending[count:]
        elif not attack.more():
            self._selector.modify(each, selectors.EVENT_READ)

    def _close(self, each: socket.socket) -> None:
        self._selector.unregister(each)
        each.close()
        self.done += 1
        for table in (self._pending, self._sent, self._opened):
            del table[each]  # type: ignore[attr-defined]


def over_sockets(attack: Attack, port: int) -> Iterator[int]:
    """Attack for ever; how often it was done so far."""
    connections = Connections(attack, port)
    while True:
        connections.turn(time.monotonic())
        yield connections.done


def main() -> None:
    """Attack until ended."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("name", choices=sorted(ATTACKS))
    for port in ("client", "http", "peer"):
        options.add_argument(f"--{port}", type=int, required=True)
    chosen = options.parse_args()
    os.nice(10)
    attack = ATTACKS[chosen.name]
    port = getattr(chosen, attack.port)
    told = 0.0
    linked = isinstance(attack, LinkAttack)
    for done in attack_links(attack, port) if linked else over_sockets(attack, port):
        now = time.monotonic()
        if now - told > 1:
            told = now
            print(done, flush=True)


if __name__ == "__main__":
    main()
