"""
What a neighbour may say once its key is proven, as bytes: the ground of the targets of messages.

A world of three peers is made anew for each input: a victim with orders of its own and of an
honest home, an honest neighbour that has traded with it, and a neighbour of whom every line of the
input comes. A line is a JSON-RPC message. So that mutated bytes get past the signatures, an object
``{"~": PAYLOAD}`` in it is replaced by that payload signed with the evil neighbour's key, and an
``id`` of ``"~"`` is the newest question the victim asked it. A line that is a number lets so many
seconds pass.

Whatever is said: no exception comes out, no line that the victim sends is longer than a line may
be, what it stores and sends stays in proportion, its own orders and the honest home's are as they
were except for trades with the evil home that the evil key signed for, and the two honest peers
still understand each other.
"""

from __future__ import annotations

from typing import Any

import msgspec

from grenache_py.exchange.effects.batch import Send
from grenache_py.exchange.peers.link import LinkState
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.merkle import Sealer
from grenache_py.wire import jsonrpc
from grenache_py.wire.jsonlines import LINE_BYTES_MAX
from tests.support.peers import Network, conserved

VICTIM, HONEST, EVIL = 0, 1, 2
VICTIM_KEY, HONEST_KEY, EVIL_KEY = (
    Identity.from_seed(bytes([number + 1]) * 32).key for number in (VICTIM, HONEST, EVIL)
)
LINES_MAX = 8
#: What one line of at most 2 kB may make the victim write down, and send to all its neighbours.
ROWS_MAX, SENT_MAX = 200, 40 * LINE_BYTES_MAX
#: Seconds that one line may let pass.
SECONDS_MAX = 60


class World:
    """
    Attributes:
        net: the three peers.
        link: the victim's number of the evil neighbour's link.
        said: what the evil neighbour said to the victim while it was still honest.
    """

    def __init__(self) -> None:
        self.net = net = Network(3)
        net.link(HONEST, VICTIM)
        self.said: list[dict[str, Any]] = []
        listen(net, VICTIM, EVIL, self.said)
        net.link(EVIL, VICTIM)
        victim = net[VICTIM]
        self.evil_key = net[EVIL].key
        self.link = victim.peering.by_key[self.evil_key].id
        net.place(VICTIM, "sell", 30, 100)
        net.place(VICTIM, "buy", 5, 80)
        net.place(HONEST, "sell", 10, 105)
        net.place(HONEST, "buy", 4, 100)  # trades with the victim
        net.place(EVIL, "buy", 3, 90)
        net.place(EVIL, "buy", 2, 100)  # the victim answers a fill
        net.place(EVIL, "sell", 7, 95)
        net.run(6, step_s=2.0)  # heartbeats, heads
        net.lost = {"fill.request", "fill.query"}
        net.place(VICTIM, "buy", 2, 95)  # a fill that is in doubt: the evil home has not answered
        identity = Identity.from_seed(bytes([EVIL + 1]) * 32)
        self._sealer = Sealer(identity, "test")

    def say(self, line: bytes) -> None:
        """The evil neighbour says one line, and the victim takes and sends what comes of it."""
        victim = self.net[VICTIM]
        try:
            message = jsonrpc.decode_message(line)
        except jsonrpc.Malformed:
            return
        link = victim.peering.links.get(self.link)
        if message.get("id") == "~":
            message["id"] = max(link.pending, default=0) if link is not None else 0
        try:
            message = self._signed(message)
        except (RecursionError, UnicodeEncodeError):
            return
        victim.link_message(self.link, message, self.net.now)
        self.deliver()

    def _signed(self, value: Any) -> Any:
        if isinstance(value, dict):
            if set(value) == {"~"}:
                text = value["~"]
                payload = text if isinstance(text, str) else msgspec.json.encode(text).decode()
                if not payload or len(payload) > 14_000:
                    return payload
                draft = self._sealer.add(payload)
                self._sealer.seal()
                return msgspec.to_builtins(draft.proof.wire())
            return {name: self._signed(member) for name, member in value.items()}
        if isinstance(value, list):
            return [self._signed(member) for member in value]
        return value

    def pass_time(self, seconds: float) -> None:
        """Seconds pass; the evil neighbour says nothing of its own."""
        while seconds > 0:
            step = min(5.0, seconds)
            seconds -= step
            self.net.now += step
            for peer in (VICTIM, HONEST):
                self.net[peer].tick(self.net.now)
                self.deliver()

    def deliver(self) -> None:
        """The victim and the honest peer talk until they are done; the evil one only hears."""
        net, busy, rows, sent = self.net, True, 0, 0
        while busy:
            busy = False
            for number in (VICTIM, HONEST):
                peer = net.peers[number]
                batch = peer.node.take_batch(net.now)
                if batch.rows:
                    peer.database.commit(batch.rows)
                net.read(peer, batch)
                busy = busy or bool(batch.reads)
                if number == VICTIM:
                    rows += len(batch.rows)
                for send in batch.sends:
                    busy = True
                    if isinstance(send, Send):
                        assert len(send.line) <= LINE_BYTES_MAX, f"a line of {len(send.line)} bytes"
                        sent += len(send.line)
                        if self._to_honest(number, send.link):
                            net._deliver(peer, send)
                    elif self._to_honest(number, getattr(send, "link", -1)):
                        raise AssertionError("an honest link was closed")
                    elif hasattr(send, "link"):
                        peer.node.link_closed(send.link, net.now)
                    else:
                        net._dial(peer, send)
        assert rows <= ROWS_MAX, f"{rows} rows for one line"
        assert sent <= SENT_MAX, f"{sent} bytes for one line"

    def _to_honest(self, number: int, link: int) -> bool:
        ends = self.net._ends.get((number, link))
        return ends is not None and ends[0] in (VICTIM, HONEST)

    def check(self, before: dict[str, Any]) -> None:
        """The victim and the honest home are as they were, and go on."""
        net = self.net
        assert facts(net) == before, (facts(net), before)
        victim = net[VICTIM]
        conserved(victim)
        msgspec.json.encode(victim.status(net.now))
        msgspec.json.encode(victim.peers(net.now))
        live = net.place_only(VICTIM, "buy", 1, 7)
        other = net.place_only(HONEST, "buy", 1, 8)
        self.deliver()
        assert victim.key in net[HONEST].peering.by_key, "the honest link is gone"
        heard = {order.order_id for order in net[HONEST].books["BTC-USD"].orders()}
        assert live.order_id in heard, "the honest peer does not hear the victim"
        heard = {order.order_id for order in victim.books["BTC-USD"].orders()}
        assert other.order_id in heard, "the victim does not hear the honest peer"


def facts(net: Network) -> dict[str, Any]:
    """What the evil neighbour has no say in."""
    victim = net[VICTIM]
    evil = net[EVIL].key
    origin = victim.replica.origins[net[HONEST].key]
    own_orders = [*victim.ledger.own.values(), *victim.ledger.closed.values()]
    with_others = [t for t in victim.tape("BTC-USD") if evil not in (t.maker_home, t.taker_home)]
    return {
        "frozen": origin.frozen,
        "alarms": victim.alarms(),
        "closed": {own.live.order_id: own.live.closed for own in own_orders},
        "trades": with_others,
        "honest": {order: record.live.open for order, record in origin.records.items()},
    }


def said(method: str, number: int | None = None, /, **params: Any) -> bytes:
    """One line of the evil neighbour; a request when it has a number."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
    return msgspec.json.encode(message if number is None else {**message, "id": number})


def reached(seeds_of: list[bytes]) -> set[str]:
    """The messages that these inputs have the victim carry out, past their decoders."""
    found: set[str] = set()
    for data in seeds_of:
        world = World()
        bound = world.net[VICTIM].peering.messages.bound
        for name, (row, call) in bound.items():

            def counted(*args: Any, name: str = name, call: Any = call) -> Any:
                found.add(name)
                return call(*args)

            bound[name] = row, counted
        run(data, world)
    return found


def run(data: bytes, world: World | None = None) -> None:
    """One input, in a world of its own."""
    world = world or World()
    before = facts(world.net)
    for line in data.split(b"\n")[:LINES_MAX]:
        if line.isdigit() and len(line) < 4:
            world.pass_time(min(int(line), SECONDS_MAX))
        else:
            world.say(line)
    world.check(before)


def listen(net: Network, at: int, to: int, said: list[dict[str, Any]]) -> None:
    """Note every message that one peer takes on a proven link of another."""
    node, key = net[at], net[to].key
    deliver = node.link_message

    def heard(link: int, message: dict[str, Any], now: float) -> None:
        known = node.peering.links.get(link)
        if known is not None and known.state is LinkState.READY and known.key == key:
            said.append(message)
        deliver(link, message, now)

    node.link_message = heard  # type: ignore[method-assign]


def seeds(family: str) -> list[bytes]:
    """
    What the evil neighbour says while it is honest, signed payloads opened, by the family of
    methods; with the answers to what it is asked.
    """
    world = World()
    world.net.lost = set()
    world.net.place(EVIL, "buy", 1, 60)
    world.net.place(EVIL, "buy", 1, 100)
    world.net.run(3)
    said = world.said + _catching_up(VICTIM, EVIL) + _catching_up(EVIL, VICTIM)
    found: dict[str, list[bytes]] = {}
    for message in said:
        if "method" not in message:
            message["id"] = "~"
        line = msgspec.json.encode(_opened(message))
        name = message.get("method") or "answer " + " ".join(message.get("result", {"error": 0}))
        if len(line) < 2_000 and line not in found.setdefault(name, []):
            found[name].append(line)
    chosen = [name for name in found if name.startswith((family + ".", "answer"))]
    return [b"\n".join(found[name][-3:]) + b"\n12" for name in chosen]


def _catching_up(has: int, lacks: int) -> list[dict[str, Any]]:
    """What a peer says to the victim when one of them lacks a few orders of the other's log."""
    net = Network(3)
    said: list[dict[str, Any]] = []
    listen(net, VICTIM, EVIL, said)
    for price in range(90, 95):
        net.place(has, "buy", 1, price)
    net.run(6)
    net.link(EVIL, VICTIM)
    net.run(6)
    net.lost = {"gossip.publish"}
    for price in range(200):
        net.place_only(has, "buy", 1, 80 - price % 7)
    net.run(12)
    net.lost = set()
    net.run(40)
    return said


def _opened(value: Any) -> Any:
    if isinstance(value, dict):
        if isinstance(value.get("payload"), str):
            return {"~": msgspec.json.decode(value["payload"])}
        return {name: _opened(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_opened(member) for member in value]
    return value
