"""
A peer without manners: it proves a key like anybody, then says whatever a test wants.

One for each attack of docs/design/threat-model.rst#malicious-home. It speaks raw lines over the
virtual network, and has no node, no store and no shame.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from msgspec import to_builtins

from grenache_py.exchange.fills.messages import (
    FillRequest,
    decode_fill,
    encode,
    fill_id,
    trade_id,
)
from grenache_py.exchange.fills.query import FillQuery, encode_query
from grenache_py.exchange.node import ExchangeNode
from grenache_py.exchange.peers.handshake import PROTOCOL, Handshake, HandshakeError, PeerHello
from grenache_py.exchange.signed_log.entries import (
    GENESIS,
    Entry,
    HeartbeatBody,
    OrderBody,
    StateBody,
    TradeBody,
    order_id,
)
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.merkle import Sealer
from grenache_py.wire.jsonlines import LineSplitter
from tests.sim.exchange.network import EPOCH_S, MARKETS, Connection, End, Network, Peer, identity

__all__ = ["EvilPeer", "Nuisance"]


class EvilPeer:
    """
    Stands in for a ``Peer`` at one end of connections it dials.

    Attributes:
        received: every message that came.
        on_message: called with each; its result, if any, is sent back.
    """

    paused = False

    def __init__(self, name: str, network: Network, seed: int = 1) -> None:
        self.name = self.host = name
        self.network = network
        self.rng = random.Random(f"evil {seed}")
        self.identity: Identity = identity(self.rng, False)
        self.sealer = Sealer(self.identity, "sim")
        self.node: Any = True  # the network asks whether somebody is up
        self.life = 0
        self.ends: dict[int, tuple[Connection, End]] = {}
        self.received: list[dict[str, Any]] = []
        self.closed = self.asked = 0
        self.on_message: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda message: None
        self._handshakes: dict[int, Handshake] = {}
        self._links = 0

    # What the network expects of a peer.

    def new_link(self) -> int:
        self._links += 1
        return self._links

    def do(self, call: Callable[[ExchangeNode, float], Any]) -> None:
        """The network reports a link: nothing to tell, there is no node."""

    def bytes_came(self, end: End, data: bytes) -> None:
        for line in end.splitter.feed(data):
            message = json.loads(line)
            handshake = self._handshakes[end.link]
            if handshake.peer is None and "error" not in message:
                for answer in handshake.receive(message):
                    self.send(answer)
                continue
            self.received.append(message)
            answer = self.on_message(message)
            if answer is not None:
                self.send(answer)

    def connection_lost(self, end: End) -> None:
        self.closed += 1
        self.ends.pop(end.link, None)

    # What it does.

    def dial(self, target: Peer) -> None:
        """Connect and prove the key."""
        near = End(self, self.new_link(), 0, LineSplitter())  # type: ignore[arg-type]
        far = End(target, target.new_link(), target.life)
        connection = Connection(near, far)
        self.network.connections.append(connection)
        self.ends[near.link] = (connection, near)
        target.ends[far.link] = (connection, far)
        markets = {m.symbol: (m.format_price(1), m.format_quantity(1)) for m in MARKETS}
        hello = PeerHello(boot="0" * 32, network="sim", protocol=PROTOCOL, markets=markets)
        handshake = Handshake(hello, True, 1e12)
        self._handshakes[near.link] = handshake
        key, address = self.identity.key, f"{self.host}:1"
        target.do(lambda node, now: node.link_opened(far.link, False, address, key, now))
        for message in handshake.begin():
            self.send(message)

    def send(self, message: dict[str, Any]) -> None:
        """One object, over the newest link."""
        if self.ends:
            connection, end = self.ends[max(self.ends)]
            self.network.send(connection, end, json.dumps(message).encode() + b"\n")

    def notify(self, method: str, **params: Any) -> None:
        """A notification."""
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def entry(self, seq: int, prev: str, wall: float, **body: Any) -> tuple[dict[str, Any], str]:
        """A well-formed signed entry of its own log, and its hash."""
        return self.entry_at((int((EPOCH_S + wall) * 1000), seq), seq, prev, **body)

    def entry_at(
        self, time: tuple[int, int], seq: int, prev: str, **body: Any
    ) -> tuple[dict[str, Any], str]:
        """Likewise, with any time."""
        payload = Entry(self.identity.key, 1, seq, prev, time, **body).encode()
        return self.signed(payload), sha256(b"\0" + payload.encode()).hexdigest()

    def signed(self, payload: str) -> dict[str, Any]:
        """A payload with this peer's good signature."""
        draft = self.sealer.add(payload)
        self.sealer.seal()
        return to_builtins(draft.proof.wire())  # type: ignore[no-any-return]

    def order(
        self, time: tuple[int, int], market: str, side: Any, quantity: str, price: str
    ) -> dict[str, Any]:
        """Members of an entry, stamped ``time``, that publishes an order of this peer."""
        number = order_id(
            self.identity.key, market, side, "limit", quantity, time, price, None, "gtc", False,
            None,
        )  # fmt: skip
        return {
            "order": OrderBody(number, market, side, "limit", quantity, time, price),
            "states": (StateBody(number, 1, quantity, "0", "0", ""),),
        }

    def ask(
        self,
        order: dict[str, Any],
        maker_home: str,
        legs: list[tuple[str, str, str]],
        seq: int,
        committed: str,
    ) -> int:
        """Ask for a fill of the order that the signed entry ``order`` publishes; the id used."""
        body = json.loads(order["payload"])["order"]
        deadline = int((EPOCH_S + self.network.clock.now + 10.0) * 1000)
        fill = FillRequest(
            fill_id(body["id"], maker_home, self.identity.key, seq),
            self.identity.key, maker_home, body["market"], body["id"], seq, committed, deadline,
            1, tuple(legs), False,
        )  # fmt: skip
        params = {"fill": self.signed(encode(fill)), "order": order}
        self.asked += 1
        self.send({"jsonrpc": "2.0", "id": self.asked, "method": "fill.request", "params": params})
        return self.asked


class Nuisance(EvilPeer):
    """
    Does a little of everything for a whole run: says again what it overheard, alters it, tells
    of heads that do not exist, baits takers with orders it never honours, sells them twice as
    a taker itself, contradicts itself, talks nonsense. Banned, it comes back under a new name.

    Args:
        peers: whom it plagues.
        until: seconds; then it is gone.
        met: called with each key it uses.
        kinds: what it does; None lets the seed choose.
        ready: whether a seed may choose a kind.
    """

    OLD_KINDS = ("repeat", "alter", "heads", "bait", "overcommit", "contradict", "nonsense")
    #: One for each line of the attacks that need nothing but fresh keys.
    STRANGE_KINDS = (
        *("stamps", "numbers", "addresses", "queries", "homes", "promises", "hostage"),
        *("histories", "garbage", "padding", "trades"),
    )
    KINDS = (*OLD_KINDS, *STRANGE_KINDS)
    GARBAGE = (
        b"\xff\xfe\n",
        b"{\n",
        b"[" * 200 + b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0" * 99 + b"\n",
    )
    NONSENSE: tuple[dict[str, Any], ...] = (
        {"jsonrpc": "2.0", "method": "gossip.publish", "params": {"entries": [{}]}},
        {"jsonrpc": "2.0", "id": 1, "result": {"answer": {"payload": "{}"}}},
        {"jsonrpc": "2.0", "id": 7, "method": "fill.query", "params": {"fill": 3}},
        {"jsonrpc": "2.0", "id": [], "method": "sync.range", "params": None},
    )

    def __init__(
        self,
        network: Network,
        seed: int,
        peers: list[Peer],
        until: float,
        met: Callable[[str], None],
        kinds: tuple[str, ...] | None = None,
        ready: Callable[[str], bool] = lambda kind: True,
    ) -> None:
        super().__init__("evil", network, seed)
        self.peers = peers
        self.until = until
        self.met = met
        self.kinds = [kind for kind in self.OLD_KINDS if self.rng.random() < 0.5] or ["repeat"]
        strange = random.Random(f"strange {seed}")
        self.kinds += [k for k in self.STRANGE_KINDS if strange.random() < 0.4 and ready(k)]
        if kinds is not None:
            self.kinds = list(kinds)
        self.overheard: list[bytes] = []
        self.makers: list[tuple[str, str, str]] = []  # (home, order, price): BTC-USD for sale
        self.on_message = self._answer
        self._begin()
        network.tap = self._overhear
        network.clock.at(self.rng.uniform(1.0, 5.0), self._act)

    def _begin(self) -> None:
        """A new name, an empty log."""
        self.identity = identity(self.rng, False)
        self.sealer = Sealer(self.identity, "sim")
        self.seq, self.head = 0, GENESIS
        self.met(self.identity.key)

    def _overhear(self, source: Any, target: Any, line: bytes) -> None:
        if source is self or b'"sync.' in line or b'"peer.' in line or len(self.overheard) > 3000:
            return
        self.overheard.append(line)
        if b"gossip.publish" not in line:
            return
        for signed in json.loads(line)["params"]["entries"]:
            entry = json.loads(signed["payload"])
            body = entry.get("order", {})
            if (body.get("market"), body.get("side")) == ("BTC-USD", "sell") and "price" in body:
                self.makers.append((entry["home"], body["id"], body["price"]))

    def bytes_came(self, end: End, data: bytes) -> None:
        try:
            super().bytes_came(end, data)
        except (HandshakeError, ValueError):
            return  # the network garbles what evil peers get, too

    def _answer(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """A maker that says nothing, or anything."""
        self.received.clear()
        if message.get("method") == "peer.ping":
            return {"jsonrpc": "2.0", "id": message["id"], "result": {}}
        if "trades" in self.kinds and message.get("method") in ("fill.request", "fill.relay"):
            self._mistrade(message["params"])
        if message.get("method") != "fill.request" or self.rng.random() < 0.5:
            return None
        number = message["id"]
        if self.rng.random() < 0.5:
            return {"jsonrpc": "2.0", "id": number, "error": {"code": -32010, "message": "no"}}
        return {"jsonrpc": "2.0", "id": number, "result": {"answer": self.signed("{}")}}

    def _act(self) -> None:
        clock, rng = self.network.clock, self.rng
        if clock.now > self.until:
            for connection, end in list(self.ends.values()):
                self.network.close(connection, end)
            self.ends.clear()
            return
        clock.after(rng.expovariate(1 / 0.4), self._act)
        if not self.ends:
            up = [peer for peer in self.peers if peer.node is not None and not peer.paused]
            if up:
                if self.closed and rng.random() < 0.3:
                    self._begin()
                self.dial(rng.choice(up))
            return
        kind = rng.choice(self.kinds)
        self.network.count(f"evil: {kind}")
        getattr(self, f"_{kind}")()

    def _say(self, line: bytes) -> None:
        connection, end = self.ends[max(self.ends)]
        self.network.send(connection, end, line)

    def _repeat(self) -> None:
        for line in self.rng.choices(self.overheard, k=5) if self.overheard else ():
            self._say(line)

    def _alter(self) -> None:
        if self.overheard:
            line = bytearray(self.rng.choice(self.overheard))
            line[self.rng.randrange(len(line) - 1)] = self.rng.choice(b"0123456789abcdef")
            self._say(bytes(line))

    def _heads(self) -> None:
        home = self.rng.choice(self.peers).identity.key
        self.notify("sync.heads", heads=[[home, 1, self.rng.randrange(1, 9000), "ab" * 32]])

    def _now_ms(self) -> int:
        return int((EPOCH_S + self.network.clock.now) * 1000)

    def _time(self) -> tuple[int, int]:
        return self._now_ms(), self.seq + 1

    def _publish(self, **body: Any) -> dict[str, Any]:
        """The next entry of its log."""
        entry, head = self.entry_at(self._time(), self.seq + 1, self.head, **body)
        self.seq, self.head = self.seq + 1, head
        self.notify("gossip.publish", entries=[entry])
        return entry

    def _bait(self) -> None:
        side = self.rng.choice(("buy", "sell"))
        price = "10.05" if side == "buy" else "9.95"
        self._publish(**self.order(self._time(), "BTC-USD", side, "0.0007", price))

    def _overcommit(self) -> None:
        """One order of one lot, to be filled by everybody who sells."""
        if self.makers:
            order = self._publish(**self.order(self._time(), "BTC-USD", "buy", "0.0001", "11"))
            makers = self.rng.choices(self.makers[-60:], k=3)
            for seq, (home, number, price) in enumerate(makers, 1):
                self.ask(order, home, [(number, "0.0001", price)], seq, "0.0001")

    def _contradict(self) -> None:
        if self.seq:
            for lease_ms in (1, 2):
                beat = HeartbeatBody(lease_ms, 0, "0" * 64)
                entry, _ = self.entry_at(self._time(), self.seq, self.head, beat=beat)
                self.notify("gossip.publish", entries=[entry])

    def _nonsense(self) -> None:
        self.send(self.rng.choice(self.NONSENSE))

    # With nothing but fresh keys.

    def _stranger(self) -> EvilPeer:
        """A home that nobody ever heard of; what it signs goes over this peer's link."""
        stranger = EvilPeer("stranger", self.network)
        stranger.identity = identity(self.rng, False)
        stranger.sealer = Sealer(stranger.identity, "sim")
        self.met(stranger.identity.key)
        return stranger

    def _beat(self, lease_ms: int = 20_000) -> HeartbeatBody:
        return HeartbeatBody(lease_ms, 0, "0" * 64)

    def _stamps(self) -> None:
        """The last stamp that the clock of whoever hears it can follow."""
        time = (self._now_ms() + self.rng.choice((0, 4_000)), 2**53)
        entry, _ = self._stranger().entry_at(time, 1, GENESIS, beat=self._beat())
        self.notify("gossip.publish", entries=[entry])

    def _numbers(self) -> None:
        """Well-formed, and far out of the range of any use."""
        stranger, rng = self._stranger(), self.rng
        epoch, seq = rng.choice((1, 2**53)), rng.choice((1, 2**53))
        lease_ms = rng.choice((0, 2**52, 2**53))
        time = (rng.choice((0, self._now_ms())), rng.choice((0, 2**20)))
        payload = Entry(
            stranger.identity.key, epoch, seq, GENESIS, time, beat=self._beat(lease_ms)
        ).encode()
        self.notify("gossip.publish", entries=[stranger.signed(payload)])
        self.notify("sync.heads", heads=[[stranger.identity.key, epoch, seq, "ab" * 32]])

    def _addresses(self) -> None:
        """Address records as large as a payload may be."""
        for _ in range(4):
            stranger = self._stranger()
            host = f"h{self.rng.getrandbits(40):x}"
            record = {
                "peer": stranger.identity.key, "address": f"{host}:7071", "time": self._now_ms(),
            }  # fmt: skip
            padded = json.dumps(record)[:-1] + " " * 13_500 + "}"
            self.notify("peer.addresses", records=[stranger.signed(padded)])

    def _queries(self) -> None:
        """Asks about fills of its own that never were; each becomes a refusal to be kept."""
        for _ in range(20):
            order, seq = f"{self.rng.getrandbits(128):032x}", 1
            for peer in self.peers:
                homes = peer.identity.key, self.identity.key
                number = fill_id(order, *homes, seq)
                query = FillQuery(number, order, *homes, seq, self._now_ms() + 30_000)
                params = {"query": self.signed(encode_query(query))}
                self.asked += 1
                message = {"jsonrpc": "2.0", "id": self.asked, "params": params}
                self.send({**message, "method": "fill.query"})

    def _homes(self) -> None:
        """Homes that say one thing and are never heard of again."""
        for _ in range(2):
            entry, _ = self._stranger().entry_at((self._now_ms(), 1), 1, GENESIS, beat=self._beat())
            self.notify("gossip.publish", entries=[entry])

    def _promises(self) -> None:
        """More of every log than there is, which it never shows."""
        keys = [peer.identity.key for peer in self.peers]
        heads = [[key, 1, self.rng.randrange(1, 9000), "cd" * 32] for key in keys]
        self.notify("sync.heads", heads=heads)
        self.notify("gossip.have", heads=heads)

    def _hostage(self) -> None:
        """The best price of a home that answers everything but fills."""
        self._bait()

    def _histories(self) -> None:
        """New keys with two histories each, in the largest entries there may be."""
        for _ in range(2):
            stranger = self._stranger()
            entries = []
            for lease_ms in (1, 2):
                beat = self._beat(lease_ms)
                text = Entry(
                    stranger.identity.key, 1, 1, GENESIS, (self._now_ms(), 1), beat=beat
                ).encode()
                entries.append(stranger.signed(text[:-1] + " " * 13_000 + "}"))
            self.notify("gossip.publish", entries=entries)

    def _padding(self) -> None:
        """Orders in payloads many times as long as they need to be."""
        for _ in range(3):
            stranger, time = self._stranger(), (self._now_ms(), 1)
            body = stranger.order(time, "BTC-USD", "sell", "0.0001", "99")
            text = Entry(stranger.identity.key, 1, 1, GENESIS, time, **body).encode()
            self.notify("gossip.publish", entries=[stranger.signed(text[:-1] + " " * 13_000 + "}")])

    def _trades(self) -> None:
        """Trades that never were, far from every price, made just now or at some other time."""
        rng = self.rng
        number, maker, taker = (f"{rng.getrandbits(128):032x}" for _ in range(3))
        time_ms = self._now_ms() + rng.choice((-50_000, -4_000, 0, 4_000, 50_000))
        trade = TradeBody(
            number, "BTC-USD", rng.choice(("1", "99")), "0.0001", rng.choice(("buy", "sell")),
            maker, taker, self.identity.key, "f" * 64, time_ms,
        )  # fmt: skip
        self._publish(trades=(trade,))

    def _mistrade(self, params: dict[str, Any]) -> None:
        """Its log shows a trade of a fill that it was asked for, at a price that nobody gave."""
        params = params.get("params", params)
        fill = decode_fill(params["fill"]["payload"]) if "fill" in params else None
        if fill is None or fill.maker_home != self.identity.key:
            return
        [maker, lots, _], *_ = fill.legs
        side = json.loads(params["order"]["payload"])["order"]["side"]
        trade = TradeBody(
            trade_id(fill.id, maker), fill.market, "77", lots, side,
            maker, fill.order, fill.maker_home, fill.taker_home, self._now_ms(),
        )  # fmt: skip
        self._publish(trades=(trade,))

    def _garbage(self) -> None:
        self._say(self.rng.choice(self.GARBAGE) * 20)
