"""
What somebody can do to a daemon over links with proven keys: keys are free.

Each attack is a function that says line after line, for ever; the link takes them as fast as the
daemon does. Whoever is thrown out comes back under a fresh key, twice a second and link. Pings
are answered, so that the link stands.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import attrs
import msgspec
from OpenSSL import SSL

from grenache_py.exchange.fills.messages import fill_id
from grenache_py.exchange.fills.query import FillQuery, encode_query
from grenache_py.exchange.peers.address_book import AddressRecord
from grenache_py.exchange.peers.certificate import identity_context, key_of
from grenache_py.exchange.peers.handshake import PROTOCOL
from grenache_py.exchange.replication.live_set_index import LiveSet
from grenache_py.exchange.replication.reconciliation import Reconciliation
from grenache_py.exchange.signed_log.entries import (
    EPOCH_MAX,
    GENESIS,
    SEQ_MAX,
    Entry,
    HeartbeatBody,
    OrderBody,
    StateBody,
    TradeBody,
    epoch_of_time,
    order_id,
)
from grenache_py.exchange.signed_log.hybrid_clock import COUNTER_MAX
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.merkle import Sealer, leaf_hash

__all__ = ["LINK_ATTACKS", "LinkAttack", "attack_links"]

NETWORK, MARKET, TICK, LOT = "main", "BTC-USD", "0.01", "0.0001"
READ_BYTES = 32_768
#: Bytes that are made ahead of what the daemon takes.
AHEAD_BYTES = 65_536
#: Seconds before a link that was thrown out is opened again.
AGAIN_S = 0.5


class Home:
    """A stranger's key, and the log that it signs."""

    def __init__(self) -> None:
        self.seed = os.urandom(32)
        self.identity = Identity.from_seed(self.seed)
        self.key = self.identity.key
        self._sealer = Sealer(self.identity, NETWORK)
        self._epoch = epoch_of_time(int(time.time() * 1000))
        self._seq, self._head = count(1), GENESIS

    def signed(self, *payloads: str) -> list[Any]:
        """Payloads as they travel, under one signature."""
        drafts = [self._sealer.add(payload) for payload in payloads]
        self._sealer.seal()
        return [msgspec.to_builtins(draft.proof.wire()) for draft in drafts]

    def entry(self, time_ms: int, counter: int = 0, **body: Any) -> str:
        """The next entry of its log."""
        stamp = time_ms, counter
        entry = Entry(self.key, self._epoch, next(self._seq), self._head, stamp, **body)
        payload = entry.encode()
        self._head = leaf_hash(payload).hex()
        return payload

    def order(self, time_ms: int, counter: int, side: Any, price: str) -> dict[str, Any]:
        """Members of an entry with this stamp that publishes an order."""
        stamp = time_ms, counter
        number = order_id(
            self.key, MARKET, side, "limit", "1", stamp, price, None, "gtc", False, None
        )
        order = OrderBody(number, MARKET, side, "limit", "1", stamp, price, tick=TICK, lot=LOT)
        return {"order": order, "states": (StateBody(number, 1, "1", "0", "0", ""),)}


Says = Callable[[Home, str], Iterator[bytes]]


@attrs.frozen
class LinkAttack:
    """
    Attributes:
        about: one line for the table.
        says: given the attacker's home and the daemon's key: the lines it says.
        links: how many.
        hello: whether it says hello after the proof of its key.
        reads: whether it reads what the daemon says, and answers pings.
        per_s: lines a second of a link; 0: as fast as they are taken.
    """

    about: str
    says: Says
    links: int = 4
    hello: bool = True
    reads: bool = True
    per_s: float = 0.0
    port: str = "peer"


def _now() -> int:
    return int(time.time() * 1000)


def _notice(method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode()


_numbers = count(1)


def _request(method: str, **params: Any) -> bytes:
    message = {"jsonrpc": "2.0", "id": next(_numbers), "method": method, "params": params}
    return json.dumps(message).encode()


def _stamps(home: Home, victim: str) -> Iterator[bytes]:
    for ahead_ms, counter in ((4_000, COUNTER_MAX), (4_000, 2**53), (3_600_000, 0)):
        stranger = Home()
        yield _notice("gossip.publish", entries=stranger.signed(
            stranger.entry(_now() + ahead_ms, counter, beat=HeartbeatBody(5_000, 0, "0" * 64))
        ))  # fmt: skip
    yield from _pings(home, victim)


def _pings(home: Home, victim: str) -> Iterator[bytes]:
    while True:
        yield _request("peer.ping")


def _records(home: Home, victim: str) -> Iterator[bytes]:
    while True:
        strangers = [Home() for _ in range(16)]
        records = [AddressRecord(s.key, "a" * 200 + ".example:1", _now()) for s in strangers]
        payloads = [msgspec.json.encode(record).decode() for record in records]
        padded = [payload[:-1] + " " * 2_000 + "}" for payload in payloads[:8]] + payloads[8:]
        signed = [s.signed(p)[0] for s, p in zip(strangers, padded, strict=True)]
        yield _notice("peer.addresses", records=signed)


def _heads(home: Home, victim: str) -> Iterator[bytes]:
    while True:
        heads = [[os.urandom(32).hex(), EPOCH_MAX, SEQ_MAX, "ab" * 32] for _ in range(200)]
        yield _notice("sync.heads", heads=heads)
        yield _notice("gossip.have", heads=[[victim, EPOCH_MAX, SEQ_MAX, "ab" * 32]])


def _proofs(home: Home, victim: str) -> Iterator[bytes]:
    while True:
        stranger, now = Home(), _now()
        number = "ab" * 16
        trade = TradeBody(
            number, MARKET, "1", "1", "buy", number, number, stranger.key, stranger.key, now
        )
        trades = (trade,) * 16
        first = stranger.entry(now, 1, trades=trades)
        second = first.replace(f"[{now},1]", f"[{now},2]", 1)
        one, two = stranger.signed(first)[0], stranger.signed(second)[0]
        yield _notice("gossip.proof", first=one, second=two)


def _queries(home: Home, victim: str) -> Iterator[bytes]:
    for number in count(1):
        order = os.urandom(16).hex()
        fill = fill_id(order, victim, home.key, number)
        query = FillQuery(fill, order, victim, home.key, number, _now() - 1_000)
        yield _request("fill.query", query=home.signed(encode_query(query))[0])


def _homes(home: Home, victim: str) -> Iterator[bytes]:
    while True:
        stranger, now = Home(), _now()
        order = stranger.order(now, 1, "buy", "1")
        beat = HeartbeatBody(600_000, 2**40, "ab" * 32)
        yield _notice("gossip.publish", entries=stranger.signed(
            stranger.entry(now, 1, **order), stranger.entry(now, 2, beat=beat)
        ))  # fmt: skip


def _orders(home: Home, victim: str) -> Iterator[bytes]:
    for number in count(1):
        now = _now()
        payloads = [
            home.entry(now, i, **home.order(now, i, "buy", f"{1 + (number + i) % 9_000 / 100:.2f}"))
            for i in range(16)
        ]
        yield _notice("gossip.publish", entries=home.signed(*payloads))
        time.sleep(0.002)  # a stamp is of a later millisecond


def _repeats(home: Home, victim: str) -> Iterator[bytes]:
    now = _now()
    payloads = [home.entry(now, i, **home.order(now, i, "buy", "1")) for i in range(32)]
    line = _notice("gossip.publish", entries=home.signed(*payloads))
    while True:
        yield line


def _reconcile(home: Home, victim: str) -> Iterator[bytes]:
    frame = b64encode(Reconciliation(LiveSet()).begin()).decode()
    while True:
        yield _request("sync.reconcile", frame=frame)


def _records_asked(home: Home, victim: str) -> Iterator[bytes]:
    while True:
        yield _request("sync.records", range=[[0, ""], None])


def _junk(home: Home, victim: str) -> Iterator[bytes]:
    while True:
        yield b"\xff{nonsense"


def _lists(home: Home, victim: str) -> Iterator[bytes]:
    line = b"[" + b",".join([b"[]"] * 20_000) + b"]"
    while True:
        yield line


def _silence(home: Home, victim: str) -> Iterator[bytes]:
    return iter(())


def _baits(home: Home, victim: str) -> Iterator[bytes]:
    """Shows the best price, and answers no fill."""
    for number in count(1):
        now = _now()
        bodies: list[dict[str, Any]] = [home.order(now, 1, "sell", "40")]
        if number % 4 == 0:
            bodies = [{"beat": HeartbeatBody(30_000, number, "ab" * 32)}]
        payloads = [home.entry(now, i, **body) for i, body in enumerate(bodies)]
        yield _notice("gossip.publish", entries=home.signed(*payloads))


#: All attacks over links, by name.
LINK_ATTACKS = {
    "stamps": LinkAttack("stamps from the future, then pings", _stamps),
    "addresses": LinkAttack("padded address records of made-up peers", _records),
    "false-heads": LinkAttack("heads of 16 digits, and no answer to who asks", _heads),
    "proofs": LinkAttack("homes with two histories, at full length", _proofs),
    "queries": LinkAttack("signed questions about fills that never were", _queries),
    "homes": LinkAttack("made-up homes with an order each", _homes),
    "orders": LinkAttack("orders without end", _orders, links=2),
    "repeats": LinkAttack("the same entries again and again", _repeats),
    "reconcile": LinkAttack("questions that are dear to answer", _reconcile),
    "unread-link": LinkAttack("live sets asked for, answers not read", _records_asked,
                              reads=False),
    "records": LinkAttack("live sets asked for, and read", _records_asked),
    "junk-link": LinkAttack("lines that are no JSON, under ever fresh keys", _junk, links=8),
    "lists": LinkAttack("lines that are dear to decode", _lists),
    "no-hello": LinkAttack("a proven key and no word", _silence, links=64, hello=False),
    "baits": LinkAttack("the best price, and no fill is answered", _baits, links=1, per_s=2.0),
}  # fmt: skip


class Link:
    """One link, which is opened again under a fresh key when it is gone."""

    def __init__(self, attack: LinkAttack, port: int) -> None:
        self._attack = attack
        self._port = port
        self._socket: socket.socket | None = None
        self._next_try = self._next_line = 0.0
        self.said = 0

    def turn(self, now: float) -> None:
        """Say and read what is possible."""
        try:
            if self._socket is None:
                if now >= self._next_try:
                    self._next_try = now + AGAIN_S
                    self._open()
            else:
                self._go_on(now)
        except (OSError, SSL.Error):
            self._close()

    def _open(self) -> None:
        self._home = home = Home()
        self._out = self._in = b""
        self._shaken = False
        self._socket = opened = socket.create_connection(("127.0.0.1", self._port), 5.0)
        if not self._attack.reads:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        opened.setblocking(False)
        self._tls = SSL.Connection(identity_context(home.seed), None)
        self._tls.set_connect_state()
        self._shake()

    def _shake(self) -> None:
        with suppress(SSL.WantReadError):
            self._tls.do_handshake()
            self._shaken = True
            self._lines = self._attack.says(self._home, key_of(self._tls))
            if self._attack.hello:
                hello = {"boot": os.urandom(16).hex(), "network": NETWORK, "protocol": PROTOCOL}
                markets = {MARKET: [TICK, LOT]}
                self._say(_request("peer.hello", **hello, software="evil", markets=markets))
            self._greeted = not self._attack.hello
        self._drain()

    def _go_on(self, now: float) -> None:
        assert self._socket is not None
        ready, _, _ = select.select([self._socket], [], [], 0)
        if ready and (self._attack.reads or not self._shaken or not self._greeted):
            data = self._socket.recv(READ_BYTES)
            if not data:
                raise ConnectionResetError
            self._tls.bio_write(data)
            if not self._shaken:
                self._shake()
            self._read()
        if self._shaken and self._greeted:
            self._speak(now)
        self._drain()

    def _speak(self, now: float) -> None:
        per_s = self._attack.per_s
        while len(self._out) < AHEAD_BYTES and now >= self._next_line:
            line = next(self._lines, None)
            if line is None:
                return
            self._say(line)
            self.said += 1
            if per_s:
                self._next_line = now + 1 / per_s
            self._drain()

    def _read(self) -> None:
        with suppress(SSL.WantReadError):
            while True:
                self._in += self._tls.recv(READ_BYTES)
        *lines, self._in = self._in.split(b"\n")
        for line in lines:
            if b'"result"' in line:
                self._greeted = True
            elif b'"peer.ping"' in line:
                number = json.loads(line)["id"]
                self._say(json.dumps({"jsonrpc": "2.0", "id": number, "result": {}}).encode())

    def _say(self, line: bytes) -> None:
        self._tls.sendall(line + b"\n")

    def _drain(self) -> None:
        """Hand the socket what TLS has made."""
        assert self._socket is not None
        with suppress(SSL.WantReadError):
            while True:
                self._out += self._tls.bio_read(READ_BYTES)
        if self._out:
            with suppress(BlockingIOError):
                self._out = self._out[self._socket.send(self._out) :]

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def attack_links(attack: LinkAttack, port: int) -> Iterator[int]:
    """Attack for ever; how many lines were said so far."""
    links = [Link(attack, port) for _ in range(attack.links)]
    while True:
        for link in links:
            link.turn(time.monotonic())
        select.select([], [], [], 0.001)
        yield sum(link.said for link in links)
