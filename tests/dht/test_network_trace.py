"""
The sniffed traffic of three Node grapes, replayed with our node in the place of each.

Our node gets what the others sent to that grape, and must say what that grape said: the
same questions to the same neighbours when it is asked for something over HTTP, the same
answers to theirs. Transaction ids and tokens are translated, since they are random.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grenache_py.dht.config import DHTConfig
from grenache_py.dht.items import GetResult, PutItem
from grenache_py.dht.node import DHTNode
from grenache_py.dht.traversals import Operation
from grenache_py.grape import answers, api
from grenache_py.wire import bencode
from grenache_py.wire.krpc import Address
from tests.support.dht_nodes import NOW, make_node

TRACE = json.loads((Path(__file__).parents[1] / "vectors" / "krpc_network_trace.json").read_text())[
    "steps"
]
ADDRESSES: dict[str, Address] = {
    name: ("127.0.0.1", 20001 + number) for number, name in enumerate("ABC")
}
NAMES = {address: name for name, address in ADDRESSES.items()}
IDS: dict[str, bytes] = {}
for _step in TRACE:
    for _sent in _step["udp"]:
        _message: Any = bencode.decode(bytes.fromhex(_sent["hex"]))
        IDS[_sent["frm"]] = (_message.get(b"a") or _message[b"r"])[b"id"]

Message = dict[bytes, Any]


class Grape:
    """Our node as one of the three; the other two say what the trace has them say."""

    def __init__(self, name: str) -> None:
        self.name = name
        host = None if name == "B" else "127.0.0.1"  # B was started without -b
        self.node: DHTNode = make_node(DHTConfig(host=host), node_id=IDS[name])
        self.now = NOW
        self.asked: list[tuple[str, Message]] = []
        self.tokens: dict[bytes, bytes] = {}  # the trace's, of this grape -> ours

    def receive(self, sender: str, message: Message) -> Message | None:
        answer = self.node.receive_datagram(bencode.encode(message), ADDRESSES[sender], self.now)
        return None if answer is None else bencode.decode(answer)  # type: ignore[return-value]

    def take_questions(self) -> None:
        """Collect what the node asks; what the trace knows nothing of is answered at once."""
        while datagrams := self.node.take_effects().datagrams:
            for datagram, address in datagrams:
                query: Any = bencode.decode(datagram)
                other = NAMES[address]
                if query[b"q"] == b"ping" or query[b"a"].get(b"target") == IDS[self.name]:
                    said = {b"id": IDS[other], b"nodes": b""}
                    self.receive(other, {b"y": b"r", b"t": query[b"t"], b"r": said})
                else:
                    self.asked.append((other, query))

    def start(self, action: str) -> None:
        """Join through the addresses on the command line, as far as they are up."""
        for _ in range(2):
            self.now += 1
            self.node.tick(self.now)
            self.node.take_effects()
        listed = action.partition("--bn ")[2].split()[0].split(",")
        self.node.bootstrap([ADDRESSES["ABC"[int(each[-1]) - 1]] for each in listed], self.now)
        for datagram, address in self.node.take_effects().datagrams:
            query: Any = bencode.decode(datagram)
            assert query[b"q"] == b"find_node"
            assert query[b"a"] == {b"id": IDS[self.name], b"target": IDS[self.name]}
            self.asked.append((NAMES[address], query))

    def begin(self, request: str) -> Operation:
        """Do what the HTTP request of the trace asks for."""
        head, _, body = request.partition("\r\n\r\n")
        call = api.call(head.split()[1], body.encode())
        if isinstance(call, api.LookupCall):
            return self.node.lookup(call.name, self.now)
        if isinstance(call, api.AnnounceCall):
            return self.node.announce(call.name, call.port, self.now)
        if isinstance(call, PutItem):
            return self.node.put(call, self.now)
        assert isinstance(call, api.GetCall)
        return self.node.get(call.target, self.now, use_cache=call.use_cache)

    def answers(self, other: str, answer: Message) -> None:
        """The trace has ``other`` answer the oldest question to it."""
        place = next(n for n, (whom, _) in enumerate(self.asked) if whom == other)
        query = self.asked.pop(place)[1]
        self.receive(other, answer | {b"t": query[b"t"]})
        self.take_questions()

    def is_asked(self, other: str, query: Message) -> Message:
        token = query[b"a"].get(b"token")
        if token is not None:
            query = query | {b"a": query[b"a"] | {b"token": self.tokens[token]}}
        answer = self.receive(other, query)
        self.take_questions()
        assert answer is not None
        return answer


def comparable(answer: Message) -> Message:
    """Without its token, and what is in no order without one."""
    said = dict(answer[b"r"])
    said.pop(b"token", None)
    if b"nodes" in said:
        nodes = said[b"nodes"]
        said[b"nodes"] = {nodes[at : at + 26] for at in range(0, len(nodes), 26)}
    if b"values" in said:
        said[b"values"] = set(said[b"values"])
    return answer | {b"r": said}


def what_is_asked(query: Message) -> tuple[bytes, Message]:
    return query[b"q"], query[b"a"]


def check_result(operation: Operation, response: str) -> None:
    """What the operation came to is what the Node grape answered over HTTP."""
    assert operation.done
    expected = json.loads(response.partition("\r\n\r\n")[2])
    result = operation.result
    if isinstance(result, list):
        assert sorted(result) == sorted(expected)
    elif isinstance(result, GetResult):
        # Two had it; Node waits for both and keeps the last, here the first one suffices.
        found = json.loads(answers.get_body(result, b""))
        assert found["v"] == expected["v"]
        assert bytes.fromhex(found["id"]) in IDS.values()
    else:
        assert (result.hex() if isinstance(result, bytes) else result) == expected


@pytest.mark.parametrize("name", ["A", "B", "C"])
def test_our_node_in_the_place_of_a_node_grape_says_the_same(name: str) -> None:
    grape: Grape | None = None
    for step in TRACE:
        udp: list[tuple[str, str, Any]] = [
            (sent["frm"], sent["to"], bencode.decode(bytes.fromhex(sent["hex"])))
            for sent in step["udp"]
        ]
        operation: Operation | None = None
        starting = f"start grape {name}:" in step["action"]
        if starting:
            grape = Grape(name)
            grape.start(step["action"])
        elif grape is None:
            continue
        elif udp[0][0] == name and "http_request" in step:
            operation = grape.begin(step["http_request"])
            grape.take_questions()
        for sender, receiver, recorded in udp:
            if sender == name and recorded[b"y"] == b"q":
                asked = [(whom, *what_is_asked(query)) for whom, query in grape.asked]
                # Node asks a bootstrap address again once it knows the id that lives there.
                again = starting and receiver not in [whom for whom, _ in grape.asked]
                assert again or (receiver, *what_is_asked(recorded)) in asked
            elif receiver == name and recorded[b"y"] == b"q":
                answer = grape.is_asked(sender, recorded)
                theirs = next(
                    message
                    for frm, to, message in udp
                    if (frm, to, message[b"y"]) == (name, sender, b"r")
                    and message[b"t"] == recorded[b"t"]
                )
                if b"token" in answer[b"r"]:
                    grape.tokens[theirs[b"r"][b"token"]] = answer[b"r"][b"token"]
                assert comparable(answer) == comparable(theirs)
            elif receiver == name and any(sender == whom for whom, _ in grape.asked):
                grape.answers(sender, recorded)
        if operation is not None:
            check_result(operation, step["http_response"])
        if operation is not None or starting:
            silent = {"B"} if step is TRACE[0] else set()
            assert {whom for whom, _ in grape.asked} == silent, "nothing else was asked"
        grape.asked.clear()
